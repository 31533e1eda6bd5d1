// SPDX-License-Identifier: MIT
// Each point of the core that can fail (src/Ksplice.Kernel/core/fault.h) fails once: while an update of the kernel and of three
// modules is applied, while it is undone, while a module that it waits for comes, and while its code runs. After each, everything does
// what it did before, nothing has warned, and the same request works, is undone and leaves no reference.
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class FaultTests(Guest guest)
{
    // On top of sample b: without memory for its field, a map is shown as before.
    private const string Shadow = """
        --- a/fs/proc/task_mmu.c
        +++ b/fs/proc/task_mmu.c
        @@ -127,10 +127,18 @@
          * Pages that the kernel lends to user space say something about the kernel and
          * nothing about the process: nobody but the process itself is shown them.
          */
        +#include <ksplice/hooks.h>
        +#include <ksplice/shadow.h>
         static noinline bool proc_shows_kernel_pages(struct mm_struct *mm)
         {
        -	return mm == current->mm;
        +	return mm == current->mm || !ksplice_shadow_get_or_attach(mm, 0x20260003, 8, GFP_KERNEL, NULL, NULL);
         }
        +static int agree(void) { return 0; }
        +static void forget(void) { ksplice_shadow_free_all(0x20260003, NULL); }
        +ksplice_pre_apply(agree);
        +ksplice_check_apply(agree);
        +ksplice_check_reverse(agree);
        +ksplice_post_reverse(forget);
         
         static struct vm_area_struct *proc_get_vma(struct proc_maps_private *priv,
         						loff_t *ppos)

        """;

    private const string Script = """
        sys=/sys/kernel/ksplice/$id switch=/sys/module/ksplice/parameters/fail_at
        # Busybox's tries a second time.
        insmod() { /kmod/insmod "$@"; }
        fail() { echo "wrong: $*"; dmesg | tail -20; grep ksplice /proc/modules; cat $sys/abort_cause $sys/reason $sys/targets; exit 1; }
        maps() { ! grep -q vvar /proc/1/maps; }
        compact() { echo 1 >/sys/block/zram0/compact; }
        new() { maps && compact 2>&1 | grep -q 'No such device'; }
        old() { ! maps && compact 2>&1 | grep -q 'Invalid argument'; }
        ask() { echo $1 >$sys/stage && while [ "$(cat $sys/busy)" = 1 ]; do usleep 10000; done; [ "$(cat $sys/stage)" = $1 ]; }
        apply() {
            for part in 0_helper 1_helper 2_helper 3_helper 0_primary 1_primary 2_primary 3_primary; do
                insmod $update/ksplice_${id}_$part.ko || return 1
            done
            # TAINT_LIVEPATCH, from the first update that is in force.
            ask applied && tainted=$((tainted | 1 << 15))
        }
        unload() {
            for part in 0_primary 1_primary 2_primary 3_primary 0_helper 1_helper 2_helper 3_helper; do
                [ ! -e /sys/module/ksplice_${id}_$part ] || rmmod ksplice_${id}_$part || fail "$part stays after $point"
            done
            [ "$(cat /sys/module/ksplice/refcnt)" = 0 ] || fail "references of the core after $point"
            for module in bfq loop zram; do
                [ ! -e /sys/module/$module ] || [ "$(cat /sys/module/$module/refcnt)" = 0 ] || fail "references of $module after $point"
            done
        }
        undo() { ask reversed || fail "not undone after $point"; old || fail "still new after $point"; unload; }
        sane() {
            [ "$(cat /proc/sys/kernel/tainted)" = "$tainted" ] || fail "tainted after $point"
            ! dmesg | grep -q 'WARNING:\|BUG:\|Oops' || fail "warned after $point"
        }
        # The command, with another question answered with yes each time until none is left; $name is that question's point. In the
        # quick run it is the next of the points in /tmp/points, each once.
        fault() {
            n=$((n + 1)) wanted=$n
            [ "$quick" = 0 ] || wanted=$(sed -n ${n}p /tmp/points)
            [ -n "$wanted" ] || wanted=0
            echo "$wanted" >$switch; "$@" 2>/dev/null; worked=$?; read left name <$switch; echo 0 >$switch
            [ "$left" = 0 ] && [ -n "$name" ]
        }
        row() { echo "row \"$1, question $n: $name\",fails once,yes"; }

        mkdir /tmp/groups && mount -t cgroup2 none /tmp/groups &&
            echo +io >/tmp/groups/cgroup.subtree_control && mkdir /tmp/groups/one || exit 1
        insmod /zsmalloc.ko && insmod /zram.ko && insmod /loop.ko && insmod /bfq.ko || exit 1
        for point in 'memory for the command line' 'memory for tasks on their way out' \
            'probe on tasks that are gone' 'probe on tasks on their way out'; do
            insmod /ksplice.ko fail_at="\"$point\"" 2>/dev/null && fail "loaded in spite of $point"
            name=$point n=1; row "the core comes"
        done
        insmod /ksplice.ko || exit 1
        tainted=$(cat /proc/sys/kernel/tainted) point="the start"
        old || fail "the start"

        n=0
        while fault apply; do
            point="apply: $name ($n)"
            [ $worked != 0 ] || fail "applied in spite of $point"
            old || fail "new after $point"
            [ ! -e $sys ] || [ "$(cat $sys/stage)" = preparing ] || fail "stage after $point"
            sane; unload; row apply
            [ "$quick" = 0 ] || continue
            apply && new || fail "not applied after $point"
            undo; sane
        done
        [ $worked = 0 ] && new || fail "no further fault, and not applied"

        # Another update in its place, which has a function of the kernel and one with a handler in common with it. Each question in turn.
        take() { echo replacing >$1/stage && while [ "$(cat $1/busy)" = 1 ]; do usleep 10000; done; [ "$(cat $1/stage)" = applied ]; }
        taken=/sys/kernel/ksplice/$other
        for part in 0_helper 1_helper; do insmod $next/ksplice_${other}_$part.ko replace=1 || fail "$part"; done
        for part in 0_primary 1_primary; do insmod $next/ksplice_${other}_$part.ko || fail "$part"; done
        point="the other" was=$quick quick=0 n=0
        while fault take $taken; do
            point="replace: $name ($n)"
            [ $worked != 0 ] || fail "replaced in spite of $point"
            new && [ "$(cat $sys/stage)" = applied ] && [ "$(cat $taken/stage)" = preparing ] || fail "not as before after $point"
            ! grep -q next /proc/uptime || fail "new after $point"
            sane; row replace
        done
        quick=$was
        [ $worked = 0 ] && grep -q next /proc/uptime && maps && ! new && [ "$(cat $sys/stage)" = reversed ] ||
            fail "no further fault, and not replaced"
        take $sys && new && ! grep -q next /proc/uptime || fail "not taken back"
        for part in 0_primary 1_primary 0_helper 1_helper; do rmmod ksplice_${other}_$part || fail "$part stays"; done
        sane

        # Shown as before without memory for the field of this process; the next reader gets one.
        sleep 100 & reader=$!
        echo 1 >$switch; grep -q vvar /proc/$reader/maps || fail "a field without memory"
        read left name <$switch; n=1; row "new code runs"
        ! grep -q vvar /proc/$reader/maps || fail "no field"
        kill $reader

        come() { insmod /$module.ko; }
        seen() {
            [ -e /sys/block/woop0 ]; [ $? = 0 -o $module = bfq ] &&
                [ "$(cat /tmp/groups/one/io.bfq.weight)" = "default 107" -o $module = loop ]
        }
        printf '%s\n' 'memory for a target' 'registering a handler' >/tmp/points
        for module in bfq loop; do
            rmmod $module || fail "$module stays"
            n=0
            while fault come; do
                point="$module comes: $name ($n)"
                [ $worked != 0 ] && [ ! -e /sys/module/$module ] || fail "loaded in spite of $point"
                [ "$(cat $sys/stage)" = applied ] && new || fail "not applied after $point"
                sane; row "a module comes"
                come && seen || fail "not changed after $point"
                rmmod $module || fail "$module stays after $point"
            done
            [ $worked = 0 ] && seen || fail "no further fault, and $module is not changed"
        done

        # The last one: a handler that ftrace does not let go keeps what it leads to.
        printf '%s\n' 'stop of the machine' 'taking off a handler' >/tmp/points
        n=0
        while fault ask reversed; do
            point="undo: $name ($n)"
            [ "$name" != "taking off a handler" ] || break
            [ $worked != 0 ] && new || fail "undone in spite of $point"
            sane; undo; sane; row undo
            apply && new || fail "not applied after $point"
        done
        [ "$left" = 0 ] && [ $worked = 0 ] && old || fail "a handler that stays: $name"
        for part in 0_primary 1_primary 2_primary 3_primary; do rmmod ksplice_${id}_$part 2>/dev/null && fail "$part goes"; done
        rmmod ksplice 2>/dev/null && fail "the core goes"
        dmesg | grep -q 'the handler of bfq_cpd_init does not go' || fail "nothing is told"
        sane; row undo
        """;

    // Asked while another takes the update's place, while it is undone, while its code runs, and when the core comes.
    private static readonly string[] s_notAtApply =
    [
        "place of a redirect",
        "taking off a handler",
        "memory for a shadow field",
        "memory for the command line",
        "memory for tasks on their way out",
        "probe on tasks that are gone",
        "probe on tasks on their way out",
    ];

    [Fact]
    public async Task Each_point_fails_once_and_leaves_no_trace()
    {
        // tests/long/faults asks for the rows, and then tries the next apply after each point.
        string? rows = Environment.GetEnvironmentVariable("KSPLICE_FAULT_ROWS");
        using PatchProject project = new(guest.Release),
            next = new(guest.Release);
        string maps = await File.ReadAllTextAsync(
            Repository.At("samples/b-kernel-pages/kernel-pages.patch"),
            TestContext.Current.CancellationToken
        );
        project.Write("1-maps.patch", maps);
        project.Write("2-shadow.patch", Shadow);
        project.Write("3-zram.patch", TargetTests.Zram);
        project.Write("4-loop.patch", LateTargetTests.Loop);
        project.Write("5-bfq.patch", LateTargetTests.Bfq);
        (await project.BuildAsync()).MustSucceed();
        next.Write("1-maps.patch", maps);
        next.Write("2-bfq.patch", LateTargetTests.Bfq);
        next.Write(
            "3-uptime.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                ("\treturn 0;\n", "\tseq_putc(m, 'n');\n\tseq_putc(m, 'e');\n\tseq_putc(m, 'x');\n\tseq_putc(m, 't');\n\treturn 0;\n")
            )
        );
        (await next.BuildAsync()).MustSucceed();
        string[] points =
        [
            .. Directory
                .GetFiles(Repository.At("src/Ksplice.Kernel/core"), "*.c")
                .SelectMany(File.ReadLines)
                .Select(line => System.Text.RegularExpressions.Regex.Match(line, "ksplice_fails\\(\"(.*?)\"\\)").Groups[1].Value)
                .Where(point => point.Length != 0)
                .Distinct(),
        ];
        Assert.True(points.Length > 20);
        var result = await guest.RunAsync(
            $"id={project.Id} update={UpdateGuest.Place(project)} other={next.Id} next={UpdateGuest.Place(next)}\n"
                + $"quick={(rows is null ? 1 : 0)}\ncat >/tmp/points <<POINTS\n"
                + $"{string.Join('\n', points.Except(s_notAtApply))}\nPOINTS\n{Script}",
            ["--timeout", "1500"],
            UpdateGuest.Package(project),
            UpdateGuest.Package(next),
            await TestModule.BuildCoreAsync(guest.Release, "KSPLICE_FAULTS=y"),
            new GuestFile("/usr/bin/kmod", "/kmod/insmod"),
            UpdateGuest.Module(guest.Release, "drivers/block/loop"),
            UpdateGuest.Module(guest.Release, "mm/zsmalloc"),
            UpdateGuest.Module(guest.Release, "drivers/block/zram/zram"),
            UpdateGuest.Module(guest.Release, "block/bfq")
        );
        result.MustEndWith(0);
        string[] told =
        [
            .. result.Lines.Where(line => line.StartsWith("row ", StringComparison.Ordinal)).Select(line => line["row ".Length..]),
        ];
        Assert.All(points, point => Assert.Contains(told, row => row.Contains($": {point}\"", StringComparison.Ordinal)));
        if (rows is not null)
            await File.WriteAllLinesAsync(rows, told, TestContext.Current.CancellationToken);
    }

    // K23: one that has left the kernel's list is found nowhere, so nothing changes until it is gone.
    [Fact]
    public async Task A_task_on_its_way_out_that_there_was_no_room_for_is_waited_for()
    {
        using var project = await LifetimeTests.SleepOnTheWayOutAsync(guest.Release);
        var result = await guest.RunAsync(
            $$"""
            insmod /ksplice.ko && ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            switch=/sys/module/ksplice/parameters/fail_at
            (
                trap '' CHLD
                echo 'room for a task on its way out' >$switch
                ionice -c 2 -n 3 sh -c 'echo $$ >/tmp/pid'
                exec sleep 1000
            ) &
            # No other task may leave before it: the shell waits by itself.
            until [ -s /tmp/pid ] && read pid </tmp/pid && [ ! -e /proc/$pid ]; do :; done
            cat $switch
            ksplice undo {{project.Id}}
            echo "undo $?"
            echo -2 >/proc/sys/kernel/panic
            sleep 3
            ksplice undo {{project.Id}}
            echo "undo $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildCoreAsync(guest.Release, "KSPLICE_FAULTS=y")
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["0 room for a task on its way out", "undo 3", "undo 0"],
            result.Lines.Where(line => line[0] == '0' || line.StartsWith("undo ", StringComparison.Ordinal))
        );
        Assert.Contains(
            "more tasks are on their way out than there was room to keep track of: 1 ",
            result.Errors,
            StringComparison.Ordinal
        );
    }
}
