// SPDX-License-Identifier: MIT
// What is left of an update when it is undone: pointers that the kernel keeps, work that it waits for, threads that no list has.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class LifetimeTests(Guest guest)
{
    // K8: loop_add writes the address of the other into each new device, which calls it for all that is read.
    [Fact]
    public async Task What_new_code_writes_down_is_the_address_of_the_kernels_own_function()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "loop.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "drivers/block/loop.c",
                ("\tloop_process_work(NULL, ", "\tif (lo->lo_number != 0x7fffffff)\n\t\tloop_process_work(NULL, "),
                (
                    "\tsprintf(disk->disk_name, \"loop%d\", i);\n",
                    "\tsprintf(disk->disk_name, \"loop%d\", i);\n\tdisk->disk_name[0] = 'w';\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        Assert.Contains("loop_rootcg_workfn", UpdateGuest.Replaced(project));
        var result = await guest.RunAsync(
            $$"""
            insmod /loop.ko max_loop=1 || exit 1
            echo ours >/tmp/file; truncate -s 4096 /tmp/file
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            losetup /dev/loop0 /tmp/file
            losetup -f
            until [ -e /dev/woop1 ]; do sleep 0.1; done
            losetup /dev/woop1 /tmp/file
            read_it() { dd if=/dev/woop1 bs=4096 count=1 iflag=direct 2>/dev/null | head -1; }
            read_it
            ksplice undo {{project.Id}} || exit 1
            echo "$(ls -d /sys/module/*_primary 2>/dev/null | wc -l) primaries"
            read_it
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "drivers/block/loop")
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["ours", "0 primaries", "ours"],
            result.Lines.Where(line => line is "ours" || line.EndsWith(" primaries", StringComparison.Ordinal))
        );
    }

    // K20: a timer of the kernel's knows a function that only the primary has.
    [Fact]
    public async Task A_primary_whose_own_function_the_kernel_may_call_stays_when_its_update_is_undone()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "uptime.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                (
                    "static int uptime_proc_show(",
                    "static void say_so(struct work_struct *work)\n{\n\tpr_info(\"uptime was read\\n\");\n}\n"
                        + "static DECLARE_DELAYED_WORK(later, say_so);\n\nstatic int uptime_proc_show("
                ),
                ("\tidle_nsec = 0;\n", "\tidle_nsec = 0;\n\tschedule_delayed_work(&later, 5 * HZ);\n")
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            cat /proc/uptime
            ksplice undo {{project.Id}}
            echo "undo $?, $(dmesg | grep -c 'uptime was read') said, $(ls -d /sys/module/*_primary 2>/dev/null | wc -l) primaries"
            until dmesg | grep -q 'uptime was read'; do sleep 0.5; done
            rmmod ksplice_{{project.Id}}_0_primary || echo stays
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            ksplice undo {{project.Id}}
            echo "undo $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["undo 0, 0 said, 1 primaries", "stays", "undo 0"],
            result.Lines.Where(line => line is "stays" || line.StartsWith("undo ", StringComparison.Ordinal))
        );
    }

    // K20: the kernel's list of I/O ports keeps the address of a name, and shows the name as long as the range is taken.
    [Fact]
    public async Task A_string_that_the_kernel_keeps_is_read_after_the_undo_and_its_primary_is_gone()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "uptime.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                ("#include <linux/time.h>\n", "#include <linux/time.h>\n#include <linux/ioport.h>\n"),
                (
                    "\tidle_nsec = 0;\n",
                    "\tidle_nsec = 0;\n\tif (request_region(0x5ff0, 1, \"uptime was read here\"))\n"
                        + "\t\tpr_info(\"%s took a port\\n\", __func__);\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        string data = $"ksplice_{project.Id}_data";
        var result = await guest.RunAsync(
            $$"""
            see() {
                echo "$1: $(grep -c 'uptime was read here' /proc/ioports) kept, $(dmesg | grep -c 'uptime_proc_show took a port') said,"
                ls /sys/module | grep ^ksplice
            }
            # As an apply that was killed leaves it.
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko && insmod *_helper.ko && insmod *_data.ko || exit 1
            ksplice undo {{project.Id}} || exit 1
            see killed
            cd /sys/kernel/tracing
            echo 'p:inside uptime_proc_show+5' >kprobe_events || echo 'p:inside uptime_proc_show+9' >kprobe_events # behind ENDBR and fentry
            echo 1 >events/kprobes/inside/enable
            ksplice apply {{UpdateGuest.Place(project)}}
            see "apply $?"
            echo 0 >events/kprobes/inside/enable
            echo >kprobe_events
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            cat /proc/uptime >/dev/null
            see applied
            ksplice undo {{project.Id}} || exit 1
            see undone
            ksplice status | grep ^data
            rmmod {{data}} || echo "rmmod $?"
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            cat /proc/uptime >/dev/null
            see "applied again"
            ksplice undo {{project.Id}} || exit 1
            see "undone again"
            echo "references: $(cat /sys/module/{{data}}/refcnt)"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        string[] all = ["ksplice", $"ksplice_{project.Id}_0_helper", $"ksplice_{project.Id}_0_primary", data];
        Assert.Equal(
            [
                "killed: 0 kept, 0 said,",
                "apply 2: 0 kept, 0 said,",
                "applied: 1 kept, 1 said,",
                .. all,
                "undone: 1 kept, 1 said,",
                data,
                $"data:       {data}, strings and constants that stay loaded after an undo",
                "rmmod 1",
                "applied again: 1 kept, 1 said,",
                .. all,
                "undone again: 1 kept, 1 said,",
                data,
                "references: 1",
            ],
            result.Lines.Where(line =>
                line.StartsWith("ksplice", StringComparison.Ordinal)
                || line.StartsWith("data:", StringComparison.Ordinal)
                || line.StartsWith("rmmod", StringComparison.Ordinal)
                || line.EndsWith("said,", StringComparison.Ordinal)
                || line.StartsWith("references", StringComparison.Ordinal)
            )
        );
        Assert.Contains("probed", result.Errors, StringComparison.Ordinal);
    }

    /// <summary>Asked for an I/O priority, a task sleeps at the very end of its way out until kernel.panic is -2.</summary>
    internal static async Task<PatchProject> SleepOnTheWayOutAsync(string release)
    {
        PatchProject project = new(release);
        project.Write(
            "exit.patch",
            await KernelTree.ChangeAsync(
                release,
                "block/blk-ioc.c",
                (
                    "void exit_io_context(struct task_struct *task)\n{\n\tstruct io_context *ioc;\n",
                    "#include <linux/delay.h>\n#include <linux/panic.h>\n\nvoid exit_io_context(struct task_struct *task)\n{\n"
                        + "\tstruct io_context *ioc;\n\n\twhile (panic_timeout != -2)\n\t\tmsleep(1000);\n"
                )
            )
        );
        return await UpdateGuest.BuiltAsync(project);
    }

    // K23: a task that nobody waits for leaves the kernel's list before it sleeps, and so does a thread;
    // a zombie is taken off by its parent.
    [Fact]
    public async Task A_task_that_has_left_the_list_is_in_the_way_of_apply_and_undo_until_it_is_gone()
    {
        using var exit = await SleepOnTheWayOutAsync(guest.Release);
        using PatchProject sleep = new(guest.Release);
        sleep.Write(
            "sleep.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "kernel/time/timer.c",
                ("void msleep(unsigned int msecs)\n{\n", "void msleep(unsigned int msecs)\n{\n\tif (msecs == 0x76543210)\n\t\tmsecs = 1;\n")
            )
        );
        (await sleep.BuildAsync()).MustSucceed();
        Assert.Contains("msleep", UpdateGuest.Replaced(sleep));
        string program = Path.Combine(Path.GetDirectoryName(sleep.Package)!, "leave");
        await CliWrap
            .Cli.Wrap("gcc")
            .WithArguments(["-static", "-pthread", "-O1", Repository.At("tests/Ksplice.Kernel.Tests/exiting/leave.c"), "-o", program])
            .ExecuteAsync(TestContext.Current.CancellationToken);
        var result = await guest.RunAsync(
            $$"""
            ksplice apply {{UpdateGuest.Place(exit)}} || exit 1
            alone() { trap '' CHLD; ionice -c 2 -n 3 sh -c 'echo $$ >/tmp/pid'; exec sleep 1000; }
            reaped() { ionice -c 2 -n 3 sh -c 'echo $$ >/tmp/pid'; exec sleep 1000; }
            thread() { exec /leave >/tmp/pid; }
            for kind in alone reaped thread; do
                rm -f /tmp/pid
                $kind &
                until [ -s /tmp/pid ] && [ ! -e /proc/$(cat /tmp/pid) ]; do usleep 10000; done
                echo "$kind $(cat /tmp/pid)"
                ksplice apply {{UpdateGuest.Place(sleep)}}
                [ $? = 3 ] || exit 7
                ksplice undo {{exit.Id}}
                [ $? = 3 ] || exit 8
                echo -2 >/proc/sys/kernel/panic
                sleep 3
                ksplice apply {{UpdateGuest.Place(sleep)}} || exit 9
                ksplice undo {{sleep.Id}} || exit 10
                ksplice undo {{exit.Id}} || exit 11
                echo -1 >/proc/sys/kernel/panic
                ksplice apply {{UpdateGuest.Place(exit)}} || exit 12
            done
            """,
            ["--timeout", "240"],
            UpdateGuest.Command,
            UpdateGuest.Package(exit),
            UpdateGuest.Package(sleep),
            new GuestFile(program, "/leave")
        );
        result.MustEndWith(0);
        foreach (string kind in (string[])["alone", "reaped", "thread"])
        {
            string pid = Assert.Single(result.Lines, line => line.StartsWith(kind + " ", StringComparison.Ordinal))[(kind.Length + 1)..];
            Assert.Matches($@"\W{pid}\W+msleep", result.Errors);
            Assert.Matches($@"\W{pid}\W+new code", result.Errors);
        }
    }

    // K23: what has room for one task on its way out sees forty, who stay zombies.
    [Fact]
    public async Task Tasks_on_their_way_out_that_there_was_no_room_for_are_found_on_the_kernels_list()
    {
        var project = await UpdateGuest.SampleAsync("c-kmsg-permission", guest.Release);
        var result = await guest.RunAsync(
            $$"""
            insmod {{UpdateGuest.Place(project)}}/ksplice.ko exiting=1 || exit 1
            sh -c 'for i in $(seq 40); do true & done; exec sleep 1000' &
            until [ "$(grep -l 'State:.*zombie' /proc/[0-9]*/status 2>/dev/null | wc -l)" = 40 ]; do usleep 10000; done
            ksplice apply {{UpdateGuest.Place(project)}} || exit 2
            ksplice undo {{project.Id}} || exit 3
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
    }

    // K23: the probes are called by these two while an update changes them.
    [Fact]
    public async Task What_the_core_has_its_probes_in_can_be_changed()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "exit.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "kernel/exit.c",
                (
                    "\ttrace_sched_process_free(tsk);\n",
                    "\ttrace_sched_process_free(tsk);\n\tif (tsk->exit_code == 33 << 8)\n\t\tpr_info(\"one of 33 is gone\\n\");\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            sh -c 'exit 33'
            until dmesg | grep -q 'one of 33 is gone'; do usleep 10000; done
            ksplice undo {{project.Id}} || exit 2
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
    }

    // K20: from exit_notify() on, a task that nobody waits for is on no list, and the stack check does not see it.
    [Fact]
    public async Task A_primary_is_not_unloaded_under_a_task_that_is_past_the_list()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "exit.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "block/blk-ioc.c",
                (
                    "void exit_io_context(struct task_struct *task)\n{\n\tstruct io_context *ioc;\n",
                    "#include <linux/delay.h>\n#include <linux/panic.h>\n\nvoid exit_io_context(struct task_struct *task)\n{\n"
                        + "\tstruct io_context *ioc;\n\n\tmsleep(3000);\n\tpanic_timeout = 77;\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            (trap '' CHLD; ionice -c 2 -n 3 sh -c 'echo $$ >/tmp/pid'; sleep 1000) &
            until [ -s /tmp/pid ] && [ ! -e /proc/$(cat /tmp/pid) ]; do :; done
            echo "seen $(cat /proc/sys/kernel/panic)"
            ksplice undo {{project.Id}}
            echo "undo $?, $(cat /proc/sys/kernel/panic), $(ls -d /sys/module/*_primary 2>/dev/null | wc -l) primaries"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Contains("seen -1", result.Lines);
        Assert.Contains("undo 0, 77, 0 primaries", result.Lines);
    }
}
