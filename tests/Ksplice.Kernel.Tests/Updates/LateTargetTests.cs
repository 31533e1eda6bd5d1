// SPDX-License-Identifier: MIT
// Modules that are loaded after the update that changes them (K21): the change is in force before anything of them runs,
// goes when they go, and a module that cannot be changed is kept out.
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class LateTargetTests(Guest guest) : IDisposable
{
    // What the module's init function calls: the name of a device tells which code ran.
    internal const string Loop = """
        --- a/drivers/block/loop.c
        +++ b/drivers/block/loop.c
        @@ -2089,5 +2089,6 @@
         	disk->events		= DISK_EVENT_MEDIA_CHANGE;
         	disk->event_flags	= DISK_EVENT_FLAG_UEVENT;
         	sprintf(disk->disk_name, "loop%d", i);
        +	disk->disk_name[0] = 'w';
         	/* Make this loop device reachable from pathname. */
         	err = add_disk(disk);

        """;

    private const string Look = """
        look() {
            loaded=$(lsmod | grep -c '^loop ')
            echo "$1: module $loaded, loop $(ls /sys/block | grep -c loop), woop $(ls /sys/block | grep -c woop), $(
                awk '$1 == "loop" { print $2 }' $sys/targets 2>/dev/null)"
        }
        """;

    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-late-");

    public void Dispose() => _work.Delete(recursive: true);

    private Task<PatchProject> LoopAsync() => KernelAndLoopAsync(guest.Release);

    /// <summary>The update of the kernel itself and of loop.</summary>
    internal static async Task<PatchProject> KernelAndLoopAsync(string release)
    {
        PatchProject project = new(release);
        project.Write("1-maps.patch", File.ReadAllText(Repository.At("samples/b-kernel-pages/kernel-pages.patch")));
        project.Write("2-loop.patch", Loop);
        return await UpdateGuest.BuiltAsync(project);
    }

    // The shipped module with another byte in a function, and without the signature that would tell.
    private GuestFile Changed(string path, string function)
    {
        var shipped = UpdateGuest.Module(guest.Release, path);
        var module = ModuleFile.Read(File.ReadAllBytes(shipped.HostPath), shipped.HostPath);
        var symbol = module.Elf.Symbols.Single(symbol => symbol.Name == function);
        byte[] bytes = File.ReadAllBytes(shipped.HostPath);
        int end = bytes.AsSpan().IndexOf("~Module signature appended~\n"u8);
        var section = module.Elf.Sections[symbol.SectionIndex];
        int at = bytes.AsSpan().IndexOf(section.Data.Span);
        Assert.True(at > 0 && bytes.AsSpan(at + 1).IndexOf(section.Data.Span) < 0, section.Name);
        bytes[at + (int)symbol.Value + 5] ^= 1; // behind the fentry site
        if (end > 0)
            bytes = bytes[..(end - 12 - System.Buffers.Binary.BinaryPrimitives.ReadInt32BigEndian(bytes.AsSpan(end - 4)))];
        string changed = Path.Combine(_work.FullName, "changed.ko");
        File.WriteAllBytes(changed, bytes);
        return new GuestFile(changed, "/changed.ko");
    }

    // K20: one module with the strings of both targets, for a target whose module is not there yet too.
    [Fact]
    public async Task Strings_of_all_targets_are_in_one_module_that_stays()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "1-uptime.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                ("\tidle_nsec = 0;\n", "\tidle_nsec = 0;\n\tpr_info(\"kernel: uptime is read\\n\");\n")
            )
        );
        project.Write(
            "2-loop.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "drivers/block/loop.c",
                (
                    "\tsprintf(disk->disk_name, \"loop%d\", i);\n",
                    "\tsprintf(disk->disk_name, \"loop%d\", i);\n\tpr_info(\"module: %s is made\\n\", disk->disk_name);\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            insmod /loop.ko max_loop=2 || exit 1
            cat /proc/uptime >/dev/null
            dmesg | grep -o 'kernel: uptime is read\|module: loop. is made'
            ksplice undo {{project.Id}} || exit 1
            ls /sys/module | grep ksplice
            rmmod loop || exit 1
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "drivers/block/loop")
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["module: loop0 is made", "module: loop1 is made", "kernel: uptime is read", $"ksplice_{project.Id}_data"],
            result.Lines.Where(line =>
                line.EndsWith(" made", StringComparison.Ordinal)
                || line.EndsWith(" read", StringComparison.Ordinal)
                || line.StartsWith("ksplice_", StringComparison.Ordinal)
            )
        );
    }

    [Fact]
    public async Task A_module_is_changed_before_it_runs_whenever_it_comes()
    {
        using var project = await LoopAsync();
        var result = await guest.RunAsync(
            $$"""
            sys=/sys/kernel/ksplice/{{project.Id}}
            {{Look}}
            insmod /loop.ko || exit 1
            look before
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            look "applied to what is there"
            rmmod loop || exit 1
            look gone
            insmod /loop.ko || exit 1
            look "come again"
            awk '{ print "function", $1, $4 }' $sys/functions
            ksplice undo {{project.Id}} || exit 1
            look undone
            rmmod loop || exit 1

            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            ksplice view {{project.Id}} | grep '^target'
            ksplice status | grep waits
            look "applied to what is not there"
            for round in 1 2 3; do
                insmod /loop.ko || exit 1
                look came
                dd if=/dev/zero of=/tmp/file bs=1024 count=64 2>/dev/null
                mknod /tmp/woop0 b 7 0 2>/dev/null
                losetup /tmp/woop0 /tmp/file || exit 1
                rmmod loop 2>/dev/null && echo "gone while it is in use"
                losetup -d /tmp/woop0
                rmmod loop || exit 1
            done
            look gone
            ksplice undo {{project.Id}} || exit 1
            echo "$(lsmod | grep -c ^ksplice) modules of ours"
            insmod /loop.ko || exit 1
            look after
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "drivers/block/loop")
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "before: module 1, loop 8, woop 0, ",
                "applied to what is there: module 1, loop 8, woop 0, ready",
                "gone: module 0, loop 0, woop 0, waiting",
                "come again: module 1, loop 0, woop 8, ready",
                "function m_next vmlinux",
                "function m_start vmlinux",
                "function loop_add loop",
                "undone: module 1, loop 0, woop 8, ",
                "target:    vmlinux ready",
                "target:    loop waiting",
                "            waits for module loop",
                "applied to what is not there: module 0, loop 0, woop 0, waiting",
                .. Enumerable.Repeat("came: module 1, loop 0, woop 8, ready", 3),
                "gone: module 0, loop 0, woop 0, waiting",
                "0 modules of ours",
                "after: module 1, loop 8, woop 0, ",
            ],
            result.Lines.Where(line =>
                System.Text.RegularExpressions.Regex.IsMatch(
                    line,
                    "^[a-z ]+: .*module|^(function|target:) |modules of ours$|waits for|in use"
                ) && !line.StartsWith("update ", StringComparison.Ordinal)
            )
        );
        Assert.Contains("  loop is not loaded, and will be changed when it is", result.Lines);
    }

    [Fact]
    public async Task A_module_that_does_not_match_is_kept_out()
    {
        using var project = await LoopAsync();
        var result = await guest.RunAsync(
            $$"""
            sys=/sys/kernel/ksplice/{{project.Id}} modules={{UpdateGuest.Place(project)}}/ksplice_{{project.Id}}
            {{Look}}
            ask() {
                echo $1 >$sys/stage; while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done
                echo "$1: $(cat $sys/stage) $(cat $sys/abort_cause)"
            }
            insmod {{UpdateGuest.Place(project)}}/ksplice.ko
            for part in 0_helper 1_helper 0_primary 1_primary; do insmod ${modules}_$part.ko || exit 1; done
            look loaded
            insmod /changed.ko && echo "let in, nothing is in force"
            ask applied
            cat $sys/reason
            rmmod loop || exit 1
            ask applied
            insmod /changed.ko 2>/dev/null && echo "let in"
            cat $sys/abort_cause $sys/reason
            look "kept out"
            insmod /loop.ko || exit 1
            look came
            rmmod loop
            ask reversed
            insmod /changed.ko && echo "let in, nothing is in force"
            look reversed
            rmmod loop ${modules}_1_primary ${modules}_0_primary ${modules}_1_helper ${modules}_0_helper ksplice || exit 1
            dmesg | grep -o 'module loop is not loaded: this update, which is applied, cannot change it' | sort -u
            """,
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "drivers/block/loop"),
            Changed("drivers/block/loop", "loop_add")
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "loaded: module 0, loop 0, woop 0, waiting",
                "let in, nothing is in force",
                "applied: preparing no_match",
                "module loop did not match when it was loaded; the kernel's log says why",
                "applied: applied ok",
                "no_match",
                "kept out: module 0, loop 0, woop 0, waiting",
                "came: module 1, loop 0, woop 8, ready",
                "reversed: reversed ok",
                "let in, nothing is in force",
                "reversed: module 1, loop 8, woop 0, waiting",
                "module loop is not loaded: this update, which is applied, cannot change it",
            ],
            result.Lines.Where(line => !line.StartsWith("loop: ", StringComparison.Ordinal))
        );
        Assert.Contains(result.Lines, line => line.StartsWith("loop: loop_add: its code differs", StringComparison.Ordinal));
    }

    // The first thing in bfq_cpd_init, which the module's init function has called for each cgroup, is a jump label of the kernel's (K18).
    internal const string Bfq = """
        --- a/block/bfq-cgroup.c
        +++ b/block/bfq-cgroup.c
        @@ -505,5 +505,5 @@
         	struct bfq_group_data *d = cpd_to_bfqgd(cpd);
         
         	d->weight = cgroup_subsys_on_dfl(io_cgrp_subsys) ?
        -		CGROUP_WEIGHT_DFL : BFQ_WEIGHT_LEGACY_DFL;
        +		CGROUP_WEIGHT_DFL + 7 : BFQ_WEIGHT_LEGACY_DFL;
         }

        """;

    // A module's table of static calls names a trampoline where the kernel does not export the key, until the kernel has looked that up.
    [Fact]
    public async Task A_coming_module_is_matched_when_its_static_calls_are_what_they_will_be()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "loop.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "drivers/block/loop.c",
                ("\tssize_t len;\n\n\trq_for_each_segment(", "\tssize_t len;\n\n\tpos += 512;\n\trq_for_each_segment(")
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            for sector in first second $(seq 3 1000); do printf "%-512s" $sector; done >/tmp/file
            show() { losetup /dev/loop0 /tmp/file && echo "sector $(dd if=/dev/loop0 bs=512 count=1 2>/dev/null)"; losetup -d /dev/loop0; }
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            insmod /loop.ko || exit 1
            show
            ksplice undo {{project.Id}} || exit 1
            show
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "drivers/block/loop")
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["sector second", "sector first"],
            result.Lines.Where(line => line.StartsWith("sector ", StringComparison.Ordinal)).Select(line => line.Trim())
        );
    }

    [Fact]
    public async Task A_function_without_room_for_a_jump_is_reached_through_the_tracer()
    {
        using PatchProject project = new(guest.Release);
        project.Write("bfq.patch", Bfq);
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            mkdir /tmp/groups && mount -t cgroup2 none /tmp/groups &&
                echo +io >/tmp/groups/cgroup.subtree_control && mkdir /tmp/groups/one || exit 1
            weight() { insmod /bfq.ko && echo "$1: $(cat /tmp/groups/one/io.bfq.weight)"; rmmod bfq || exit 1; }
            weight before
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            weight applied
            echo bfq_cpd_init >/sys/kernel/tracing/set_ftrace_filter 2>/dev/null || echo ':mod:bfq' >/sys/kernel/tracing/set_ftrace_filter
            echo function >/sys/kernel/tracing/current_tracer
            weight traced
            grep -q 'bfq_cpd_init <-' /sys/kernel/tracing/trace && echo "seen by the tracer"
            echo nop >/sys/kernel/tracing/current_tracer
            weight applied
            insmod /bfq.ko || exit 1
            ksplice undo {{project.Id}} || exit 1
            rmmod bfq || exit 1
            weight undone
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "block/bfq")
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "before: default 100",
                "applied: default 107",
                "traced: default 107",
                "seen by the tracer",
                "applied: default 107",
                "undone: default 100",
            ],
            result.Lines.Where(line =>
                line.Contains(": default", StringComparison.Ordinal) || line.StartsWith("seen", StringComparison.Ordinal)
            )
        );
    }

    [Fact]
    public async Task An_update_on_top_of_another_finds_what_that_has_just_put_in_place()
    {
        using var first = await LoopAsync();
        using PatchProject second = new(guest.Release);
        second.OnTopOf(first);
        second.Write(
            "upper.patch",
            """
            --- a/drivers/block/loop.c
            +++ b/drivers/block/loop.c
            @@ -2090,5 +2090,6 @@
             	disk->event_flags	= DISK_EVENT_FLAG_UEVENT;
             	sprintf(disk->disk_name, "loop%d", i);
             	disk->disk_name[0] = 'w';
            +	disk->disk_name[3] = 'f';
             	/* Make this loop device reachable from pathname. */
             	err = add_disk(disk);

            """
        );
        (await second.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            look() { insmod /loop.ko; echo "$1: $(cd /sys/block && echo *oo*0)"; rmmod loop 2>/dev/null; }
            ksplice apply {{UpdateGuest.Place(first)}} || exit 1
            ksplice apply {{UpdateGuest.Place(second)}} || exit 1
            look both
            insmod /loop.ko || exit 1
            ksplice undo {{first.Id}} && exit 1
            rmmod loop || exit 1
            look both
            ksplice undo {{second.Id}} || exit 1
            look "the first"
            ksplice apply {{UpdateGuest.Place(second)}} || exit 1
            ksplice undo {{first.Id}} && exit 1
            look "both, though no module is there"
            ksplice undo {{second.Id}} && ksplice undo {{first.Id}} || exit 1
            look none

            # A kprobe on the upper one's jump in the lower one's code, while the module goes.
            ksplice apply {{UpdateGuest.Place(first)}} && ksplice apply {{UpdateGuest.Place(second)}} && insmod /loop.ko || exit 1
            code=$(sed -n 's/ t loop_add.\[ksplice_{{first.Id}}_1_primary\]$//p' /proc/kallsyms)
            echo "p:jump $(printf '0x%x' $((0x$code + 5)))" >/sys/kernel/tracing/kprobe_events &&
                echo 1 >/sys/kernel/tracing/events/kprobes/jump/enable || exit 1
            rmmod loop || exit 1
            look "kept out"
            cat /sys/kernel/ksplice/{{first.Id}}/reason
            echo 0 >/sys/kernel/tracing/events/kprobes/jump/enable; echo >/sys/kernel/tracing/kprobe_events
            look "come again"
            ksplice undo {{second.Id}} || exit 1
            look "the first again"

            ksplice undo {{first.Id}} || exit 1
            cd {{UpdateGuest.Place(second)}}
            insmod ksplice.ko; insmod ksplice_{{second.Id}}_0_helper.ko 2>/dev/null && exit 1
            ksplice apply {{UpdateGuest.Place(first)}} && ksplice apply {{UpdateGuest.Place(second)}} || exit 1
            look "applied last"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(first),
            UpdateGuest.Package(second),
            UpdateGuest.Module(guest.Release, "drivers/block/loop")
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "both: woof0",
                "both: woof0",
                "the first: woop0",
                "both, though no module is there: woof0",
                "none: loop0",
                "kept out: *oo*0",
                "come again: woof0",
                "the first again: woop0",
                "applied last: woof0",
            ],
            result.Lines.Where(line => line.EndsWith("0", StringComparison.Ordinal) && line.Contains(": ", StringComparison.Ordinal))
        );
        Assert.Matches(
            "(?m)^a kprobe at [0-9a-f]+ in the new code of loop keeps a jump there that has to go; "
                + "take the kprobe off, and load loop again$",
            result.Output
        );
        Assert.Contains("stands on it: undo that first", result.Errors, StringComparison.Ordinal);
    }

    // The core waits for threads and for hooks, and a module waits for neither.
    [Fact]
    public async Task A_module_comes_while_an_update_of_it_is_being_applied_or_undone()
    {
        using PatchProject project = new(guest.Release);
        await EventReader.WritePatchAsync(project, guest.Release);
        project.Write("2-loop.patch", Loop);
        project.Write(
            "3-panic.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "kernel/panic.c",
                (
                    "int test_taint(unsigned flag)\n{\n",
                    """
                    #include <linux/delay.h>
                    #include <ksplice/hooks.h>
                    static int take_time(void)
                    {
                    	pr_info("hook: asleep\n");
                    	msleep(panic_timeout == 101 ? 20000 : 0);
                    	return 0;
                    }
                    ksplice_pre_apply(take_time);

                    int test_taint(unsigned flag)
                    {
                    	if (flag == 31)
                    		return 1;

                    """
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            sys=/sys/kernel/ksplice/{{project.Id}} modules={{UpdateGuest.Place(project)}}/ksplice_{{project.Id}}
            request() { echo $1 >$sys/stage; }
            await() { while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done; echo "$(cat $sys/stage) $(cat $sys/abort_cause)"; }
            look() { echo "$1: busy $(cat $sys/busy), $(cd /sys/block && echo *oo*0)"; }
            park() {
                {{EventReader.Park}}
            }
            leave() { kill $parked; wait $parked 2>/dev/null; }
            insmod {{UpdateGuest.Place(project)}}/ksplice.ko hold_ms=0
            for part in 0_helper 1_helper data 0_primary 1_primary; do insmod ${modules}_$part.ko || exit 1; done
            echo 1000 >$sys/max_tries; echo 2000 >$sys/retry_ms

            echo 101 >/proc/sys/kernel/panic
            request applied
            until dmesg | grep -q 'hook: asleep'; do sleep 0.1; done
            insmod /loop.ko || exit 1
            look "a hook sleeps"
            await
            echo -1 >/proc/sys/kernel/panic
            look "after the hook"
            rmmod loop && insmod /loop.ko || exit 1
            look "come again"
            request reversed; await
            rmmod loop || exit 1

            park
            request applied
            while [ "$(cat $sys/tries)" = 0 ]; do sleep 0.1; done
            insmod /loop.ko || exit 1
            look "a thread is in the way"
            leave; await
            awk '{ print "function", $1, $4 }' $sys/functions
            rmmod loop || exit 1

            park
            request reversed
            while [ "$(cat $sys/tries)" = 0 ]; do sleep 0.1; done
            insmod /loop.ko || exit 1
            look "a thread is in the way of the undo"
            leave; await
            rmmod loop && insmod /loop.ko || exit 1
            look undone
            """,
            await EventReader.ProgramAsync(),
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "drivers/block/loop")
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "a hook sleeps: busy 1, loop0",
                "applied ok",
                "after the hook: busy 0, loop0",
                "come again: busy 0, woop0",
                "reversed ok",
                "a thread is in the way: busy 1, loop0",
                "applied ok",
                "function eventfd_read vmlinux",
                "function loop_add loop",
                "a thread is in the way of the undo: busy 1, woop0",
                "reversed ok",
                "undone: busy 0, loop0",
            ],
            result.Lines.Where(line =>
                !line.StartsWith("function ", StringComparison.Ordinal)
                || line.Contains("eventfd_read ", StringComparison.Ordinal)
                || line.EndsWith(" loop", StringComparison.Ordinal)
            )
        );
    }

    [Fact]
    [Trait("Run", "long")]
    public async Task Modules_come_and_go_while_updates_do()
    {
        using var project = await LoopAsync();
        var result = await guest.RunAsync(
            $$"""
            sys=/sys/kernel/ksplice/{{project.Id}} modules={{UpdateGuest.Place(project)}}/ksplice_{{project.Id}}
            ask() { echo $1 >$sys/stage; while [ "$(cat $sys/busy)" = 1 ]; do usleep 10000; done; }
            insmod {{UpdateGuest.Place(project)}}/ksplice.ko
            for part in 0_helper 1_helper 0_primary 1_primary; do insmod ${modules}_$part.ko || exit 1; done
            echo 20 >$sys/retry_ms; echo 500 >$sys/max_tries
            (
                while [ ! -e /tmp/stop ]; do
                    insmod /loop.ko || { dmesg | tail -5; exit 1; }
                    set -- /sys/block/loop? /sys/block/woop?
                    echo "$#" >>/tmp/devices
                    rmmod loop || exit 1
                done
                echo "module came and went"
            ) &
            cycles=0 wrong=0
            while [ $cycles -lt 60 ]; do
                ask applied
                [ "$(cat $sys/stage)" = applied ] || echo "apply: $(cat $sys/abort_cause)" >>/tmp/answers
                ask reversed
                [ "$(cat $sys/stage)" != applied ] || wrong=$((wrong + 1))
                cycles=$((cycles + 1))
            done
            touch /tmp/stop
            wait
            sort /tmp/answers 2>/dev/null | uniq -c >&2
            echo "$cycles cycles, $wrong wrong, modules seen by $(wc -l </tmp/devices)"
            """,
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "drivers/block/loop")
        );
        result.MustEndWith(0);
        Assert.Contains("module came and went", result.Lines);
        Assert.Contains(result.Lines, line => line.StartsWith("60 cycles, 0 wrong, modules seen by ", StringComparison.Ordinal));
    }
}
