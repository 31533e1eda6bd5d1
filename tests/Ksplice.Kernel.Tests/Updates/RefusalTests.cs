// SPDX-License-Identifier: MIT
// What the kernel refuses, by which cause, and that it is as before.
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class RefusalTests(Guest guest)
{
    private static Task<PatchProject> BuildAsync(Guest guest, string sample = "a-smaps-pages") =>
        UpdateGuest.SampleAsync(sample, guest.Release);

    private const string Pages = "grep -c ^Pages: /proc/self/smaps";

    [Fact]
    public async Task A_kernel_whose_function_differs_in_one_byte()
    {
        using var project = await BuildAsync(guest);
        int offset = UpdateGuest.Body(guest.Release) + 1;
        var result = await guest.RunAsync(
            $"""
            insmod /poke.ko function=show_smap offset={offset} || exit 1
            ksplice apply {UpdateGuest.Place(project)}
            echo "apply $?"
            echo "$(lsmod | grep -c ksplice) modules"
            rmmod poke
            ksplice apply {UpdateGuest.Place(project)}
            echo "apply $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("poke", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Contains("apply 2", result.Lines);
        Assert.Contains("0 modules", result.Lines);
        var told = Regex.Match(
            result.Errors,
            $@"no_match\s+show_smap: its code differs, at [0-9a-f]+ \(offset {offset}\), expected ([0-9a-f]+)[0-9a-f ]*, found ([0-9a-f]+)"
        );
        Assert.True(told.Success, result.Errors);
        Assert.Equal(Convert.ToByte(told.Groups[1].Value, 16) ^ 1, Convert.ToByte(told.Groups[2].Value, 16));
        Assert.Equal("apply 0", result.Lines[^1]);
    }

    [Fact]
    public async Task A_kprobe_in_the_function()
    {
        using var project = await BuildAsync(guest);
        var result = await guest.RunAsync(
            $"""
            cd /sys/kernel/tracing
            echo 'p:inside show_smap+{UpdateGuest.Body(guest.Release)}' >kprobe_events
            echo 1 >events/kprobes/inside/enable
            ksplice apply {UpdateGuest.Place(project)}
            echo "apply $?"
            echo 0 >events/kprobes/inside/enable
            echo >kprobe_events
            ksplice apply {UpdateGuest.Place(project)}
            echo "apply $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(["apply 2", "apply 0"], result.Lines.Where(line => line.StartsWith("apply ", StringComparison.Ordinal)));
        Assert.Contains("probed", result.Errors, StringComparison.Ordinal);
        Assert.Contains("show_smap", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_second_update_of_a_function_that_one_replaces_and_two_that_do_not_meet()
    {
        using var first = await BuildAsync(guest);
        using var other = await BuildAsync(guest, "b-kernel-pages");
        using PatchProject second = new(guest.Release);
        second.Write(
            "second.patch",
            File.ReadAllText(first.At("smaps-pages.patch")).Replace("Pages: ", "Sheets:", StringComparison.Ordinal)
        );
        (await second.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $"""
            ksplice apply {UpdateGuest.Place(first)} || exit 1
            ksplice apply {UpdateGuest.Place(first)}
            echo "again $?"
            ksplice apply {UpdateGuest.Place(second)}
            echo "second $?"
            ksplice apply {UpdateGuest.Place(other)}
            echo "other $?"
            ksplice undo {first.Id} && ksplice undo {other.Id}
            echo "undo $?"
            ksplice apply {UpdateGuest.Place(second)} && grep -c ^Sheets: /proc/self/smaps >/dev/null
            echo "second $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(first),
            UpdateGuest.Package(second),
            UpdateGuest.Package(other)
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["again 0", "second 2", "other 0", "undo 0", "second 0"],
            result.Lines.Where(line => Regex.IsMatch(line, @"^\w+ \d$"))
        );
        Assert.Contains("no_match", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Two_commands_at_once_end_as_one_after_the_other()
    {
        using var first = await BuildAsync(guest);
        using var other = await BuildAsync(guest, "b-kernel-pages");
        var result = await guest.RunAsync(
            $"""
            ksplice apply {UpdateGuest.Place(first)} & one=$!
            ksplice apply {UpdateGuest.Place(other)} & two=$!
            wait $one; echo "one $?"
            wait $two; echo "two $?"
            ksplice view | grep -c applied
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(first),
            UpdateGuest.Package(other)
        );
        result.MustEndWith(0);
        Assert.Contains("one 0", result.Lines);
        Assert.Contains("two 0", result.Lines);
        Assert.Equal("2", result.Lines[^1]);
    }

    [Fact]
    public async Task A_damaged_package_and_modules_in_use()
    {
        using var project = await BuildAsync(guest);
        var result = await guest.RunAsync(
            $"""
            cp -r {UpdateGuest.Place(project)} /root/damaged
            printf x | dd of=/root/damaged/ksplice_{project.Id}_0_primary.ko bs=1 seek=1000 conv=notrunc 2>/dev/null
            ksplice apply /root/damaged
            echo "damaged $?, $(lsmod | grep -c ksplice) modules"
            ksplice apply {UpdateGuest.Place(project)} || exit 1
            for module in ksplice_{project.Id}_0_primary ksplice_{project.Id}_0_helper ksplice; do
                rmmod $module && exit 1
            done
            {Pages} >/dev/null; echo "pages $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Contains("damaged 6, 0 modules", result.Lines);
        Assert.Contains("pages 0", result.Lines);
    }

    // K16, K19: what has become of the text since it was matched, or of the jump, is looked at with the machine stopped.
    [Fact]
    public async Task A_function_that_changes_between_its_match_and_its_redirect_or_behind_that()
    {
        using var project = await BuildAsync(guest);
        var result = await guest.RunAsync(
            $$"""
            cd {{UpdateGuest.Place(project)}}
            sys=/sys/kernel/ksplice/{{project.Id}}
            ask() {
                echo $1 >$sys/stage; while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done
                echo "$(cat $sys/stage) $(cat $sys/abort_cause)"
            }
            insmod ksplice.ko && insmod *_helper.ko && insmod *_data.ko && insmod *_primary.ko || exit 1
            for stage in applied reversed; do
                insmod /poke.ko function=show_smap offset={{UpdateGuest.Body(guest.Release)}} || exit 1
                ask $stage
                cat $sys/reason
                rmmod poke
                ask $stage
            done
            """,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("poke", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["preparing unexpected", "applied ok", "applied unexpected", "reversed ok"],
            result.Lines.Where(line => line.Split(' ').Length == 2)
        );
        Assert.Equal(2, result.Lines.Count(line => Regex.IsMatch(line, "^the text of show_smap at [0-9a-f]+ is not what it was")));
    }

    // K12: whoever rewrites code holds text_mutex from the first step to the last.
    [Fact]
    public async Task A_function_that_is_being_rewritten_is_matched_when_that_is_done()
    {
        using var project = await BuildAsync(guest);
        var result = await guest.RunAsync(
            $"""
            insmod /poke.ko function=show_smap offset={UpdateGuest.Body(guest.Release) + 1} rewrite_ms=200 2>/dev/null & poke=$!
            until dmesg | grep -q 'show_smap is being rewritten'; do sleep 0.1; done
            ksplice apply --wait 60 {UpdateGuest.Place(project)} & apply=$!
            # The match is done once the helper is live. What is rewritten is on the stack of who rewrites it, so that has to end then.
            until grep -q '_helper .* Live' /proc/modules || ! kill -0 $apply; do sleep 0.1; done
            # Busybox loads a module that fails a second time.
            while kill -0 $poke; do echo 1 >/sys/module/poke/parameters/end; sleep 0.1; done 2>/dev/null
            wait $apply
            echo "apply $?"
            """,
            ["--allow", "poke: "],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("poke", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal("apply 0", result.Lines[^1]);
    }

    // K16: a probe that is being registered is in the kernel's table before anything of it is in the text; kprobe_mutex is held from
    // the first step to the last.
    [Fact]
    public async Task While_a_kprobe_is_being_registered_nothing_is_tried()
    {
        using var project = await BuildAsync(guest);
        var result = await guest.RunAsync(
            $$"""
            cd {{UpdateGuest.Place(project)}}
            sys=/sys/kernel/ksplice/{{project.Id}}
            look() { echo "$1: $(cat $sys/stage), busy $(cat $sys/busy), tries $(cat $sys/tries)"; }
            insmod ksplice.ko && insmod *_helper.ko && insmod *_data.ko && insmod *_primary.ko || exit 1
            insmod /poke.ko hold=kprobe_mutex hold_ms=8000 2>/dev/null &
            until dmesg | grep -q 'kprobe_mutex is held'; do sleep 0.1; done
            echo applied >$sys/stage
            sleep 4
            look held
            wait
            while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done
            look free
            """,
            ["--allow", "poke: "],
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("poke", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(["held: preparing, busy 1, tries 0", "free: applied, busy 0, tries 1"], result.Lines);
    }

    // K11: with page table isolation freed init memory is not even mapped. A build on top of another leaves the name to the guest.
    [Fact]
    public async Task A_name_of_freed_init_memory()
    {
        using var lower = await BuildAsync(guest);
        using PatchProject upper = new(guest.Release);
        upper.OnTopOf(lower);
        upper.Write(
            "uptime.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                ("static int uptime_proc_show(", "extern char boot_command_line[];\n\nstatic int uptime_proc_show("),
                ("\treturn 0;\n", "\tseq_printf(m, \"%c\\n\", boot_command_line[0]);\n\treturn 0;\n")
            )
        );
        (await upper.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $"""
            ksplice apply {UpdateGuest.Place(lower)} || exit 1
            ksplice apply {UpdateGuest.Place(upper)}
            echo "apply $?"
            cat /proc/uptime
            """,
            ["--append", "pti=on"],
            UpdateGuest.Command,
            UpdateGuest.Package(lower),
            UpdateGuest.Package(upper)
        );
        result.MustEndWith(0);
        Assert.Contains("apply 2", result.Lines);
        Assert.Contains("boot_command_line", result.Errors, StringComparison.Ordinal);
    }
}
