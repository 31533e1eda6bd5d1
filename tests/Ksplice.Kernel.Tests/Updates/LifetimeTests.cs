// What is left of an update when it is undone: pointers that the kernel keeps, work that it waits for, threads that no list has.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class LifetimeTests(Guest guest)
{
    // K8: loop_add writes the address of the other into each new device, which calls it for all that is read.
    [Fact]
    public async Task What_new_code_writes_down_is_the_address_of_the_kernels_own_function()
    {
        using PatchProject project = new(guest.Release);
        project.Write("loop.patch", await KernelTree.ChangeAsync(guest.Release, "drivers/block/loop.c",
            ("\tloop_process_work(NULL, ", "\tif (lo->lo_number != 0x7fffffff)\n\t\tloop_process_work(NULL, "),
            ("\tsprintf(disk->disk_name, \"loop%d\", i);\n", "\tsprintf(disk->disk_name, \"loop%d\", i);\n\tdisk->disk_name[0] = 'w';\n")));
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
            UpdateGuest.Command, UpdateGuest.Package(project), UpdateGuest.Module(guest.Release, "drivers/block/loop"));
        result.MustEndWith(0);
        Assert.Equal(["ours", "0 primaries", "ours"], result.Lines.Where(line => line is "ours" || line.EndsWith(" primaries", StringComparison.Ordinal)));
    }

    // K20: a timer of the kernel's knows a function that only the primary has.
    [Fact]
    public async Task A_primary_whose_own_function_the_kernel_may_call_stays_when_its_update_is_undone()
    {
        using PatchProject project = new(guest.Release);
        project.Write("uptime.patch", await KernelTree.ChangeAsync(guest.Release, "fs/proc/uptime.c",
            ("static int uptime_proc_show(", "static void say_so(struct work_struct *work)\n{\n\tpr_info(\"uptime was read\\n\");\n}\nstatic DECLARE_DELAYED_WORK(later, say_so);\n\nstatic int uptime_proc_show("),
            ("\tidle_nsec = 0;\n", "\tidle_nsec = 0;\n\tschedule_delayed_work(&later, 5 * HZ);\n")));
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
            UpdateGuest.Command, UpdateGuest.Package(project));
        result.MustEndWith(0);
        Assert.Equal(["undo 0, 0 said, 1 primaries", "stays", "undo 0"], result.Lines.Where(line => line is "stays" || line.StartsWith("undo ", StringComparison.Ordinal)));
    }

    // K20: from exit_notify() on, a task that nobody waits for is on no list, and the stack check does not see it.
    [Fact]
    public async Task A_primary_is_not_unloaded_under_a_task_that_is_past_the_list()
    {
        using PatchProject project = new(guest.Release);
        project.Write("exit.patch", await KernelTree.ChangeAsync(guest.Release, "block/blk-ioc.c",
            ("void exit_io_context(struct task_struct *task)\n{\n\tstruct io_context *ioc;\n", "#include <linux/delay.h>\n#include <linux/panic.h>\n\nvoid exit_io_context(struct task_struct *task)\n{\n\tstruct io_context *ioc;\n\n\tmsleep(3000);\n\tpanic_timeout = 77;\n")));
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
            UpdateGuest.Command, UpdateGuest.Package(project));
        result.MustEndWith(0);
        Assert.Contains("seen -1", result.Lines);
        Assert.Contains("undo 0, 77, 0 primaries", result.Lines);
    }
}
