// SPDX-License-Identifier: MIT
// A thread inside of a replaced function: nothing may change until it has left. Sample c replaces devkmsg_read, where a
// reader of /dev/kmsg sleeps once it has read everything.
using System.Text.RegularExpressions;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Elf;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class BusyTests(Guest guest)
{
    // Such a thread would be held at its return to user mode (K32).
    private const string NotHeld = "insmod $package/ksplice.ko hold_ms=0 || exit 1";

    private const string Park = """
        cat /dev/kmsg >/dev/null &
        parked=$!
        while ! grep -q devkmsg_read /proc/$parked/stack; do sleep 0.1; done
        """;

    private async Task<PatchProject> BuildAsync()
    {
        var project = PatchProject.Sample("c-kmsg-permission", guest.Release);
        (await project.BuildAsync()).MustSucceed();
        return project;
    }

    private async Task<GuestResult> RunAsync(string script)
    {
        using var project = await BuildAsync();
        return await RunAsync(project, script);
    }

    private async Task<GuestResult> RunAsync(PatchProject project, string script, params GuestFile[] files) =>
        await guest.RunAsync(
            $"package={UpdateGuest.Place(project)} id={project.Id}\n{script}",
            [UpdateGuest.Command, UpdateGuest.Package(project), await TestModule.BuildAsync("parked", guest.Release), .. files]
        );

    [Fact]
    public async Task A_parked_thread_is_named_after_five_tries_and_nothing_has_changed()
    {
        var result = await RunAsync(
            $"""
            echo 0 >/proc/sys/kernel/dmesg_restrict
            {NotHeld}
            {Park}
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
        Assert.Matches($@"cat\W+{pid}\W+devkmsg_read", result.Errors);
        Assert.Matches(@"devkmsg_read\+0x[^\n]*\n\s+vfs_read\+0x", result.Errors);
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
            {Park}
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

    // K13: the return address into devkmsg_read is not on the stack while a tracer has put its own there.
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
            cat /dev/kmsg >/dev/null &
            parked=$!
            sleep 1
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

    // Where the instructions of devkmsg_read begin that a probe can be put on, from its start, for the shell.
    private static async Task<string> InstructionsAsync(string file)
    {
        var listing = await Cli.Wrap("objdump")
            .WithArguments(["-d", "--no-show-raw-insn", "--disassemble=devkmsg_read", file])
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        ulong[] addresses =
        [
            .. Regex
                .Matches(listing.StandardOutput, @"^ *([0-9a-f]+):\t(?!call|j|nop|int3|ud2)", RegexOptions.Multiline)
                .Select(match => Convert.ToUInt64(match.Groups[1].Value, 16)),
        ];
        ulong start = Convert.ToUInt64(
            Regex.Match(listing.StandardOutput, @"^([0-9a-f]+) <devkmsg_read>:", RegexOptions.Multiline).Groups[1].Value,
            16
        );
        return string.Join(' ', addresses.Select(address => address - start).Where(offset => offset > 16));
    }

    // Sample c is for one kernel.
    private async Task<PatchProject> BuildForAnyKernelAsync()
    {
        PatchProject project = new(guest.Release);
        project.Write(
            "kmsg.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "kernel/printk/printk.c",
                ("/* LMM(devkmsg_read:A) */\n", "/* LMM(devkmsg_read:A) */\n\t\tif (count == 0x76543210)\n\t\t\tret = -EFBIG;\n")
            )
        );
        (await project.BuildAsync()).MustSucceed();
        return project;
    }

    // Puts a probe into the function at $1 that is optimised; a thread with the address of a probe's slot on its stack is parked.
    private const string Slots = """
        trace=/sys/kernel/tracing
        probe() {
            start=$1
            shift
            for at; do
                echo "p:slot $(printf 0x%x $((start + at)))" >$trace/kprobe_events && echo 1 >$trace/events/kprobes/slot/enable || exit 1
                for wait in 1 2 3 4 5 6 7 8; do
                    ! grep -q OPTIMIZED /sys/kernel/debug/kprobes/list || return 0
                    usleep 200000
                done
                forget
            done
            exit 1
        }
        forget() { echo 0 >$trace/events/kprobes/slot/enable; echo >$trace/kprobe_events; }
        park() { insmod /parked.ko word=$(printf 0x%x $((0x$(sed -n "s/ . kprobe_optinsn_page\t.*//p" /proc/kallsyms) + 1))) || exit 1; }

        """;

    // K27: the instructions that a probe has displaced run in a slot of its own, which is in no function. A thread may still be in
    // it when the probe is gone.
    [Fact]
    public async Task A_thread_in_the_slot_of_a_probe_in_the_function_counts_as_in_the_function()
    {
        using var project = await BuildForAnyKernelAsync();
        string pre = Assert.Single(Directory.GetFiles(project.At("obj"), "printk.pre.o", SearchOption.AllDirectories));
        var result = await RunAsync(
            project,
            $$"""
            {{Slots}}
            probe $((0x$(sed -n 's/ t devkmsg_read$//p' /proc/kallsyms))) {{await InstructionsAsync(pre)}}
            park
            forget
            ksplice apply $package
            echo "apply $?"
            rmmod parked
            ksplice apply $package
            echo "apply $?"
            ksplice undo $id || exit 1
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["apply 3", "apply 0"], result.Lines.Where(line => line.StartsWith("apply ", StringComparison.Ordinal)));
        Assert.Matches(@"parked\W+\d+\W+slot of a probe in devkmsg_read", result.Errors);
    }

    // K20, K27: a probe in code that goes keeps the code, and after it a thread in its slot.
    [Fact]
    public async Task Undo_is_refused_while_a_probe_stands_in_new_code_and_waits_for_a_thread_in_its_slot()
    {
        using var project = await BuildForAnyKernelAsync();
        string primary = Assert.Single(Directory.GetFiles(project.Package, "*_0_primary.ko"));
        var result = await RunAsync(
            project,
            $$"""
            {{Slots}}
            ksplice apply $package || exit 1
            probe $((0x$(sed -n 's/ t devkmsg_read\t\[ksplice_.*//p' /proc/kallsyms))) {{await InstructionsAsync(primary)}}
            park
            ksplice undo $id
            echo "undo $?"
            forget
            ksplice undo $id
            echo "undo $?"
            rmmod parked
            ksplice undo $id
            echo "undo $?"
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["undo 2", "undo 3", "undo 0"], result.Lines.Where(line => line.StartsWith("undo ", StringComparison.Ordinal)));
        Assert.Contains("a kprobe stands in the new code at devkmsg_read+0x", result.Errors, StringComparison.Ordinal);
        Assert.Matches(@"parked\W+\d+\W+slot of a probe in new code", result.Errors);
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

    // K17: who asks for the update stands in this function until the request is taken.
    [Fact]
    public async Task The_writer_of_a_request_is_not_in_its_own_way()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "kernfs.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/kernfs/file.c",
                (
                    "\t\tlen = min_t(size_t, len, PAGE_SIZE);\n",
                    "\t\tlen = min_t(size_t, len, PAGE_SIZE);\n\t\tif (len == 17)\n\t\t\treturn -EFBIG;\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        Assert.Contains("kernfs_fop_write_iter", UpdateGuest.Replaced(project));
        var result = await RunAsync(
            project,
            """
            write() { echo 0000000000000000 >/sys/kernel/rcu_expedited; echo "write $?"; }
            write
            ksplice apply $package || exit 1
            write
            ksplice undo $id || exit 1
            write
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["write 0", "write 1", "write 0"], result.Lines.Where(line => line.StartsWith("write ", StringComparison.Ordinal)));
    }

    // K30: the runtime's own threads sleep in these. No pipe around the command: its other end would sleep there too.
    [Theory]
    [InlineData(
        "fs/pipe.c",
        "\t/* Null read succeeds. */\n",
        "\tif (total_len == 4242)\n\t\treturn -EFBIG;\n",
        "pipe_read",
        "echo | dd bs=4242 count=1"
    )]
    [InlineData(
        "fs/read_write.c",
        "\tif (!(file->f_mode & FMODE_READ))\n",
        "\tif (count == 4242)\n\t\treturn -EFBIG;\n",
        "vfs_read",
        "dd if=/dev/zero bs=4242 count=1"
    )]
    [InlineData(
        "kernel/futex/waitwake.c",
        "\tto = futex_setup_timer(abs_time, &timeout, flags,\n",
        "\tif (val == 4242)\n\t\treturn -EFBIG;\n",
        "futex_wait",
        null
    )]
    public async Task The_command_is_not_in_its_own_way(string file, string before, string added, string function, string? use)
    {
        using PatchProject project = new(guest.Release);
        project.Write("own.patch", await KernelTree.ChangeAsync(guest.Release, file, (before, added + before)));
        (await project.BuildAsync()).MustSucceed();
        Assert.Contains(function, UpdateGuest.Replaced(project));
        var result = await RunAsync(
            project,
            $$"""
            use() { {{use ?? "true"}} >/dev/null 2>&1; echo "use $?"; }
            use
            ksplice apply $package; echo "apply $?"
            use
            ksplice undo $id; echo "undo $?"
            use
            mkdir -p /etc/systemd/system
            ksplice enable $package >/dev/null
            ksplice restore; echo "restore $?"
            ksplice undo $id; echo "undo $?"
            """
        );
        result.MustEndWith(0);
        string changed = use is null ? "use 0" : "use 1";
        Assert.Equal(
            ["use 0", "apply 0", changed, "undo 0", "use 0", "restore 0", "undo 0"],
            result.Lines.Where(line => Regex.IsMatch(line, "^(use|apply|undo|restore) [0-9]+$"))
        );
        Assert.Contains("update " + project.Id + " applied: ", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("warning", result.Errors, StringComparison.Ordinal);
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

    // K31: all threads are read before the machine stops, and in the stop those that ran since or are new. The core of this test waits
    // in between, and meanwhile each of a thousand threads runs.
    [Fact]
    public async Task A_thread_that_goes_into_the_function_between_scan_and_stop_is_found()
    {
        using var project = await BuildForAnyKernelAsync();
        var work = Directory.CreateTempSubdirectory("ksplice-scan-");
        try
        {
            var result = await guest.RunAsync(
                $$"""
                package={{UpdateGuest.Place(project)}} sys=/sys/kernel/ksplice/{{project.Id}}
                insmod /ksplice.ko || exit 1
                for module in $package/*_helper.ko $package/*_data.ko $package/*_primary.ko; do
                    [ ! -e $module ] || insmod $module || exit 1
                done
                echo 1 >$sys/max_tries; echo 0 >$sys/retry_ms
                crowd 1000 &
                crowd=$!
                until [ "$(ls /proc/$crowd/task | wc -l)" = 1001 ]; do sleep 0.1; done
                try() {
                    echo 'wait between scan and stop' >/sys/module/ksplice/parameters/fail_at
                    echo $1 >$sys/stage
                    sleep 0.5
                    [ -z "$2" ] || kill -$2 $crowd
                    while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done
                    echo "$1 $2 $(cat $sys/abort_cause) stops $(cat $sys/stops) $(cut -d' ' -f1,3 $sys/conflicts)"
                    sleep 2
                }
                try applied USR1
                try applied USR1
                try applied USR2
                try applied
                try reversed USR1
                try reversed USR2
                try reversed
                kill -9 $crowd
                """,
                ["--timeout", "300"],
                UpdateGuest.Package(project),
                await TestModule.BuildCoreAsync(work.FullName, guest.Release, "KSPLICE_FAULTS=y"),
                await UpdateGuest.ProgramAsync("crowd/crowd.c")
            );
            result.MustEndWith(0);
            Assert.Equal(
                [
                    "applied USR1 code_busy stops 1 crowd devkmsg_read",
                    "applied USR1 code_busy stops 1 crowd devkmsg_read",
                    "applied USR2 code_busy stops 1 crowd devkmsg_read",
                    "applied  ok stops 1",
                    "reversed USR1 code_busy stops 1 crowd new",
                    "reversed USR2 code_busy stops 1 crowd new",
                    "reversed  ok stops 1",
                ],
                result.Lines.Where(line => Regex.IsMatch(line, "^(applied|reversed) ")).Select(line => line.TrimEnd())
            );
        }
        finally
        {
            work.Delete(recursive: true);
        }
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
            {{Park}}
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
