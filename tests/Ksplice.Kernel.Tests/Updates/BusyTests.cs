// SPDX-License-Identifier: MIT
// A thread inside of a replaced function: nothing may change until it has left. The update is sample c, which has hooks and replaces
// devkmsg_read, with a change of eventfd_read, where the thread sleeps.
using System.Text.RegularExpressions;
using Ksplice.Build.Elf;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class BusyTests(Guest guest)
{
    // Such a thread would be held at its return to user mode (K32).
    private const string NotHeld = "insmod $package/ksplice.ko hold_ms=0 || exit 1";

    private async Task<PatchProject> BuildAsync()
    {
        PatchProject project = new(guest.Release);
        project.Write(
            "kmsg.patch",
            await File.ReadAllTextAsync(
                Repository.At("samples/c-kmsg-permission/kmsg-permission.patch"),
                TestContext.Current.CancellationToken
            )
        );
        await EventReader.WritePatchAsync(project, guest.Release);
        return await UpdateGuest.BuiltAsync(project);
    }

    private async Task<GuestResult> RunAsync(string script)
    {
        using var project = await BuildAsync();
        return await RunAsync(project, script);
    }

    private async Task<GuestResult> RunAsync(PatchProject project, string script, params GuestFile[] files) =>
        await UpdateGuest.RunAsync(
            guest,
            project,
            script,
            [await EventReader.ProgramAsync(), await TestModule.BuildAsync("parked", guest.Release), .. files]
        );

    [Fact]
    public async Task A_parked_thread_is_named_after_five_tries_and_nothing_has_changed()
    {
        var result = await RunAsync(
            $"""
            echo 0 >/proc/sys/kernel/dmesg_restrict
            {NotHeld}
            {EventReader.Park}
            ksplice apply $package
            echo "apply $?, restrict $(cat /proc/sys/kernel/dmesg_restrict)"
            echo "parked $parked"
            ls /sys/kernel/ksplice 2>/dev/null
            kill $parked
            wait $parked 2>/dev/null
            ksplice apply $package
            echo "apply $?, restrict $(cat /proc/sys/kernel/dmesg_restrict)"
            ksplice undo $id
            echo "undo $?, restrict $(cat /proc/sys/kernel/dmesg_restrict)"
            """
        );
        result.MustEndWith(0);
        Assert.Contains("apply 3, restrict 0", result.Lines);
        Assert.Contains("code_busy, after 5 tries", result.Errors, StringComparison.Ordinal);
        string pid = Assert.Single(result.Lines, line => line.StartsWith("parked ", StringComparison.Ordinal))["parked ".Length..];
        Assert.Matches($@"held\W+{pid}\W+eventfd_read", result.Errors);
        Assert.Matches(@"eventfd_read\+0x[^\n]*\n\s+vfs_read\+0x", result.Errors);
        Assert.Contains("apply 0, restrict 1", result.Lines);
        Assert.Contains("undo 0, restrict 0", result.Lines);
    }

    [Fact]
    public async Task Undo_waits_for_a_thread_in_the_new_code()
    {
        var result = await RunAsync(
            $"""
            {NotHeld}
            ksplice apply $package || exit 1
            {EventReader.Park}
            ksplice undo $id
            echo "undo $?, $(ksplice view $id | grep stage)"
            kill $parked
            wait $parked 2>/dev/null
            ksplice undo $id
            echo "undo $?"
            """
        );
        result.MustEndWith(0);
        Assert.Contains("undo 3, stage:     applied", result.Lines);
        Assert.Contains("undo 0", result.Lines);
    }

    // K13: the return address into eventfd_read is not on the stack while a tracer has put its own there.
    [Theory]
    [InlineData(
        "echo 'r:parked schedule' >kprobe_events; echo 1 >events/kprobes/parked/enable",
        "echo 0 >events/kprobes/parked/enable; echo >kprobe_events"
    )]
    [InlineData(
        "echo schedule >set_graph_function; echo schedule >set_ftrace_filter; echo function_graph >current_tracer",
        "echo nop >current_tracer; echo >set_ftrace_filter"
    )]
    public async Task A_return_address_that_a_tracer_keeps_counts_as_one_on_the_stack(string trace, string stop)
    {
        var result = await RunAsync(
            $"""
            {NotHeld}
            cd /sys/kernel/tracing
            {trace}
            {EventReader.Park}
            cat /proc/$parked/stack >&2
            ksplice apply $package
            echo "apply $?"
            kill $parked
            wait $parked 2>/dev/null
            {stop}
            ksplice apply $package
            echo "apply $?"
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["apply 3", "apply 0"], result.Lines.Where(line => line.StartsWith("apply ", StringComparison.Ordinal)));
        Assert.Contains("code_busy", result.Errors, StringComparison.Ordinal);
    }

    // K13: behind a last call, one that does not return, stands the function's end; its start is a mere pointer, and so
    // is the end of one that ends otherwise.
    [Fact]
    public async Task A_word_on_a_stack_counts_from_behind_the_start_of_a_function_and_at_its_end_if_that_is_behind_a_call()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "kmsg.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "kernel/printk/printk.c",
                ("\tif (!user)\n\t\treturn -EBADF;\n", "\tif (!user || count == 12345)\n\t\treturn -EBADF;\n"),
                (
                    "\tif (devkmsg_log & DEVKMSG_LOG_MASK_OFF)\n\t\treturn -EPERM;\n\n\t/* write-only",
                    "\tif (devkmsg_log & DEVKMSG_LOG_MASK_OFF || file->f_pos == 12345)\n\t\treturn -EPERM;\n\n\t/* write-only"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        Assert.Equal(["devkmsg_open", "devkmsg_read"], UpdateGuest.Replaced(project));
        string pre = Assert.Single(Directory.GetFiles(project.At("obj"), "printk.pre.o", SearchOption.AllDirectories));
        var elf = ElfObject.Read(await File.ReadAllBytesAsync(pre, TestContext.Current.CancellationToken), pre);
        var (read, readsLast) = Function("devkmsg_read");
        var (open, opensLast) = Function("devkmsg_open");
        // A call that does not return, and a jump. With KASAN devkmsg_read ends in other code.
        Assert.SkipWhen(guest.Release.EndsWith("-ksplice-debug", StringComparison.Ordinal), "devkmsg_read ends in no call with KASAN");
        Assert.Equal(((byte)0xe8, (byte)0xeb), (readsLast[0], opensLast[3]));
        var result = await RunAsync(
            project,
            $$"""
            try() {
                start=$((0x$(sed -n "s/ t $1$//p" /proc/kallsyms)))
                insmod /parked.ko word=$(printf 0x%x $((start + $2)))
                ksplice apply $package
                echo "apply $?"
                rmmod parked
                [ ! -e /sys/kernel/ksplice/$id ] || ksplice undo $id
            }
            for at in 0 1 {{read}} {{read + 1}}; do try devkmsg_read $at; done
            for at in {{open - 1}} {{open}}; do try devkmsg_open $at; done
            """
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["apply 0", "apply 3", "apply 3", "apply 0", "apply 3", "apply 0"],
            result.Lines.Where(line => line.StartsWith("apply ", StringComparison.Ordinal))
        );
        Assert.Equal(2, Regex.Count(result.Errors, @"parked\W+\d+\W+devkmsg_read"));
        Assert.Equal(1, Regex.Count(result.Errors, @"parked\W+\d+\W+devkmsg_open"));

        (ulong Size, byte[] Last) Function(string name)
        {
            var symbol = elf.Symbols.Single(symbol => symbol.Name == name);
            return (symbol.Size, elf.Sections[symbol.SectionIndex].Data.Span.Slice((int)(symbol.Value + symbol.Size) - 5, 5).ToArray());
        }
    }

    // K14: the idle tasks are on no list; a process that nobody has asked for has no stack any more.
    [Fact]
    public async Task Idle_tasks_count_and_a_zombie_does_not()
    {
        using PatchProject idle = new(guest.Release);
        idle.Write(
            "idle.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "kernel/sched/idle.c",
                (
                    "static void do_idle(void)\n{\n",
                    "#include <ksplice/hooks.h>\nksplice_acknowledge(KSP5013, \"do_idle\", \"it is never to be applied\");\n\n"
                        + "static void do_idle(void)\n{\n"
                ),
                ("bool got_tick = false;", "bool got_tick = smp_processor_id() > 4096;")
            )
        );
        (await idle.BuildAsync()).MustSucceed();
        using var project = await BuildAsync();
        var result = await RunAsync(
            project,
            $$"""
            sh -c 'true & exec sleep 1000' &
            until grep -q 'State:.*zombie' /proc/[0-9]*/status 2>/dev/null; do sleep 0.1; done
            ksplice apply {{UpdateGuest.Place(idle)}}
            echo "apply $?"
            ksplice apply $package
            echo "apply $?"
            ksplice undo $id
            echo "undo $?"
            """,
            UpdateGuest.Package(idle)
        );
        result.MustEndWith(0);
        Assert.Equal(["apply 3", "apply 0"], result.Lines.Where(line => line.StartsWith("apply ", StringComparison.Ordinal)));
        Assert.Contains("undo 0", result.Lines);
        Assert.Contains("2 threads are in the code", result.Errors, StringComparison.Ordinal);
        Assert.Matches(@"swapper/1\W+0\W+do_idle", result.Errors);
    }

    // K19: the thread comes back to that function when its system call is restarted.
    [Fact]
    public async Task Undo_waits_for_a_system_call_that_is_restarted_through_new_code()
    {
        using var project = await BuildAsync();
        var result = await RunAsync(
            project,
            """
            ksplice apply $package || exit 1
            insmod /parked.ko restart=0x$(sed -n "s/ t devkmsg_read\t\[ksplice_.*//p" /proc/kallsyms) || exit 1
            ksplice undo $id
            echo "undo $?"
            rmmod parked
            ksplice undo $id
            echo "undo $?"
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["undo 3", "undo 0"], result.Lines.Where(line => line.StartsWith("undo ", StringComparison.Ordinal)));
        Assert.Matches(@"parked\W+\d+\W+new code", result.Errors);
    }

    [Fact]
    public async Task A_thread_that_runs_though_the_machine_is_stopped_is_a_cause_of_its_own()
    {
        var result = await RunAsync(
            """
            insmod /parked.ko running=1 || exit 1
            ksplice apply $package
            echo "apply $?"
            rmmod parked
            ksplice apply $package
            echo "apply $?"
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["apply 2", "apply 0"], result.Lines.Where(line => line.StartsWith("apply ", StringComparison.Ordinal)));
        Assert.Matches(@"running_task\W.*parked \(\d+\) runs though the machine is stopped", result.Errors);
    }

    // A thread that rests in the function is seen without a stop.
    [Fact]
    public async Task The_machine_is_not_stopped_while_a_resting_thread_is_in_the_way()
    {
        var result = await RunAsync(
            $$"""
            sys=/sys/kernel/ksplice/$id
            {{NotHeld}}
            for module in $package/*_helper.ko $package/*_data.ko $package/*_primary.ko; do
                [ ! -e $module ] || insmod $module || exit 1
            done
            ask() { echo $1 >$sys/stage; while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done; }
            echo 2 >$sys/max_tries
            {{EventReader.Park}}
            ask applied
            echo "apply $(cat $sys/abort_cause) tries $(cat $sys/tries) stops $(cat $sys/stops) pause $(cat $sys/pause_ns)"
            echo 30 >$sys/max_tries
            (sleep 3; kill $parked) &
            ask applied
            echo "apply $(cat $sys/abort_cause) stops $(cat $sys/stops)"
            ask reversed
            echo "undo $(cat $sys/abort_cause) stops $(cat $sys/stops)"
            """
        );
        result.MustEndWith(0);
        Assert.Contains("apply code_busy tries 2 stops 0 pause 0", result.Lines);
        Assert.Contains("apply ok stops 1", result.Lines);
        Assert.Contains("undo ok stops 1", result.Lines);
    }
}
