// SPDX-License-Identifier: MIT
// apply --replace: one update takes the place of all that are applied, in one stop (K34).
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class ReplaceTests(Guest guest)
{
    private const string Uptime = "fs/proc/uptime.c",
        Kmsg = "kernel/printk/printk.c";

    // A request to the core, which ends with its cause; and an update's modules, matched to take the place of others.
    private const string Ask = """
        ask() {
            echo $2 >/sys/kernel/ksplice/$1/stage
            while [ "$(cat /sys/kernel/ksplice/$1/busy)" = 1 ]; do usleep 10000; done
            echo "$2 $(cat /sys/kernel/ksplice/$1/stage) $(cat /sys/kernel/ksplice/$1/abort_cause)"
        }
        load() {
            for part in helper data primary; do
                for file in $1/ksplice_*_$part.ko; do
                    [ ! -e $file ] || insmod $file $([ $part != helper ] || echo $2) || exit 1
                done
            done
        }
        """;

    private static string[] Ends(GuestResult result) => [.. result.Lines.Where(line => Regex.IsMatch(line, @"^\w+( \w+)* \d+$"))];

    private static string[] Requests(GuestResult result) =>
        [.. result.Lines.Where(line => Regex.IsMatch(line, "^(applied|replacing|reversed) "))];

    private static async Task<PatchProject> BuildAsync(string release, params (string File, string Old, string New)[] changes)
    {
        PatchProject project = new(release);
        foreach (var (file, old, changed) in changes)
            project.Write(Path.GetFileName(file) + ".patch", await KernelTree.ChangeAsync(release, file, (old, changed)));
        return await UpdateGuest.BuiltAsync(project);
    }

    // What /proc/uptime says behind its numbers.
    private static (string File, string Old, string New) Says(string word) =>
        (Uptime, "\treturn 0;\n", $"\tseq_puts(m, \"{word}\\n\");\n\treturn 0;\n");

    private static (string File, string Old, string New) Answers(string error) =>
        (Kmsg, "/* LMM(devkmsg_read:A) */\n", $"/* LMM(devkmsg_read:A) */\n\t\tif (count == 0x76543210)\n\t\t\tret = -{error};\n");

    // The first thing in the function is a jump label: a handler leads calls on.
    private static (string File, string Old, string New) IsSeeded(string condition) =>
        (
            "drivers/char/random.c",
            "\treturn crng_ready();\n}\nEXPORT_SYMBOL(rng_is_initialized);",
            $"\treturn crng_ready() && {condition};\n}}\nEXPORT_SYMBOL(rng_is_initialized);"
        );

    // Two updates, one on top of the other, and one function through the tracer. An apply of the old ones behind the undo compares each
    // byte of the functions with what was built: the kernel is as it was.
    [Fact]
    public async Task One_takes_the_place_of_all_and_its_undo_leads_to_the_plain_kernel()
    {
        using var lower = await BuildAsync(guest.Release, Says("lower"), IsSeeded("task_pid_nr(current) == 1"), Answers("EFBIG"));
        using PatchProject upper = new(guest.Release);
        upper.OnTopOf(lower);
        var (file, before, says) = Says("lower");
        upper.Write("upper.patch", OnTop(await KernelTree.ChangeAsync(guest.Release, file, (before, says))));
        (await upper.BuildAsync()).MustSucceed();
        using var all = await BuildAsync(
            guest.Release,
            Says("all"),
            IsSeeded("task_pid_nr(current) == 2"),
            ("fs/proc/loadavg.c", "\treturn 0;\n", "\tseq_puts(m, \"all\\n\");\n\treturn 0;\n")
        );
        var result = await guest.RunAsync(
            $$"""
            say() { echo "$1: $(grep -v '\.' /proc/uptime | tr '\n' ' ')$(grep -c all /proc/loadavg) $(
                insmod /asker.ko 2>/dev/null; echo $?; rmmod asker 2>/dev/null)"; }
            modules() { ls /sys/module | grep -c 'ksplice_.*_[hp]'; }
            one={{UpdateGuest.Place(lower)}} two={{UpdateGuest.Place(upper)}} three={{UpdateGuest.Place(all)}}
            say plain
            for round in 1 2; do
                ksplice apply $one >/dev/null && ksplice apply $two >/dev/null || exit 1
                say old
                ksplice apply --replace $three; echo "replace $?"
                say new
                echo "modules $(modules)"
                awk '{ print "way", $1, $5 }' /sys/kernel/ksplice/{{all.Id}}/functions | sort
                ksplice apply --replace $three; echo "again $?"
                ksplice status >/dev/null; echo "status $?"
                ksplice undo {{all.Id}} >/dev/null; echo "undo $?"
                say undone
                echo "modules $(modules)"
            done
            ksplice apply --replace $three >/dev/null; echo "replace nothing $?"
            ksplice apply --replace $one; echo "replace back $?"
            ksplice apply --replace $two; echo "replace with what stands on it $?"
            say back
            ksplice apply $two >/dev/null; echo "upper $?"
            ksplice apply --replace $one; echo "replace by what is applied $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(lower),
            UpdateGuest.Package(upper),
            UpdateGuest.Package(all),
            await TestModule.BuildAsync("asker", guest.Release)
        );
        result.MustEndWith(0);
        string[] round =
        [
            "old: lower upper 0 11",
            "replace 0",
            "new: all 1 11",
            "modules 2",
            "way loadavg_proc_show jump",
            "way rng_is_initialized tracer",
            "way uptime_proc_show jump",
            "again 0",
            "status 0",
            "undo 0",
            "undone: 0 0",
            "modules 0",
        ];
        Assert.Equal(
            [
                "plain: 0 0",
                .. round,
                .. round,
                "replace nothing 0",
                "replace back 0",
                "replace with what stands on it 2",
                "back: lower 0 11",
                "upper 0",
                "replace by what is applied 7",
            ],
            result.Lines.Where(line => Regex.IsMatch(line, "^(plain|old|new|undone|back|way|[a-z ]+ [0-9]+$)"))
        );
        Assert.Contains($"applied in the place of ", result.Output, StringComparison.Ordinal);
        Assert.Contains(
            $"the update was built on update {lower.Id}, and so cannot take its place",
            result.Errors,
            StringComparison.Ordinal
        );
        Assert.Contains($"ksplice undo {upper.Id}", result.Errors, StringComparison.Ordinal);
    }

    // The same place with one more line, against the source with the lower patch.
    private static string OnTop(string lower)
    {
        string added = "+\tseq_puts(m, \"lower\\n\");";
        Assert.Contains(added, lower, StringComparison.Ordinal);
        string[] lines = lower.Split('\n');
        int at = Array.IndexOf(lines, added);
        lines[at] = " " + added[1..] + "\n+\tseq_puts(m, \"upper\\n\");";
        string header = lines.Last(line => line.StartsWith("@@", StringComparison.Ordinal));
        var numbers = Regex.Match(header, @"@@ -(\d+),(\d+) \+(\d+),(\d+) @@");
        int count = int.Parse(numbers.Groups[4].Value, System.Globalization.CultureInfo.InvariantCulture);
        lines[Array.IndexOf(lines, header)] = $"@@ -{numbers.Groups[3]},{count} +{numbers.Groups[3]},{count + 1} @@";
        return string.Join('\n', lines);
    }

    [Fact]
    public async Task No_reader_ever_sees_the_original_between()
    {
        using var one = await BuildAsync(guest.Release, Says("one"), IsSeeded("task_pid_nr(current) == 1"));
        using var two = await BuildAsync(guest.Release, Says("two"), IsSeeded("task_pid_nr(current) == 2"));
        var result = await guest.RunAsync(
            $$"""
            {{Ask}}
            insmod {{UpdateGuest.Place(one)}}/ksplice.ko || exit 1
            load {{UpdateGuest.Place(one)}} replace=1
            load {{UpdateGuest.Place(two)}} replace=1
            for id in {{one.Id}} {{two.Id}}; do echo 50 >/sys/kernel/ksplice/$id/max_tries; echo 20 >/sys/kernel/ksplice/$id/retry_ms; done
            ask {{one.Id}} applied
            read_on() {
                n=0
                while [ ! -e /tmp/stop ]; do
                    n=$((n + 1))
                    case "$(sed 1d /proc/uptime)" in one|two) ;; *) echo "wrong: '$(cat /proc/uptime)'"; exit 1 ;; esac
                    cat /proc/uptime >/dev/null; cat /proc/uptime >/dev/null
                done
                echo "read $n" >>/tmp/reads
            }
            read_on & first=$!
            read_on & second=$!
            round=0
            while [ $round -lt 15 ]; do
                ask {{two.Id}} replacing; ask {{one.Id}} replacing
                round=$((round + 1))
            done
            touch /tmp/stop
            wait $first && wait $second || exit 1
            awk '{ n += $2 } END { print "reads", (n > 20) }' /tmp/reads
            ask {{one.Id}} reversed
            sed 1d /proc/uptime
            insmod /asker.ko; echo "asker $?"
            rmmod ksplice_{{two.Id}}_0_primary ksplice_{{one.Id}}_0_primary &&
                rmmod ksplice_{{two.Id}}_0_helper ksplice_{{one.Id}}_0_helper && rmmod ksplice; echo "unload $?"
            """,
            UpdateGuest.Package(one),
            UpdateGuest.Package(two),
            await TestModule.BuildAsync("asker", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(["applied applied ok", .. Enumerable.Repeat("replacing applied ok", 30), "reversed reversed ok"], Requests(result));
        Assert.DoesNotContain("wrong", result.Output, StringComparison.Ordinal);
        Assert.Equal(["reads 1", "asker 0", "unload 0"], Ends(result));
    }

    [Fact]
    public async Task A_thread_in_the_new_code_of_what_goes_is_waited_for_and_the_old_update_stays()
    {
        using var old = await BuildAsync(guest.Release, EventReader.Change, Says("old"));
        using var next = await BuildAsync(guest.Release, Says("next"));
        var result = await guest.RunAsync(
            $$"""
            insmod {{UpdateGuest.Place(old)}}/ksplice.ko hold_ms=0 || exit 1
            ksplice apply {{UpdateGuest.Place(old)}} || exit 1
            {{EventReader.Park}}
            ksplice apply --replace {{UpdateGuest.Place(next)}}; echo "replace $?"
            sed 1d /proc/uptime
            ksplice view {{old.Id}} | grep stage
            ls -d /sys/kernel/ksplice/{{next.Id}} 2>/dev/null
            kill $parked; wait $parked 2>/dev/null
            ksplice apply --replace {{UpdateGuest.Place(next)}}; echo "replace $?"
            sed 1d /proc/uptime
            ls -d /sys/module/ksplice_{{old.Id}}_0_primary 2>/dev/null
            ksplice undo {{next.Id}}; echo "undo $?"
            [ "$(sed 1d /proc/uptime)" = "" ]; echo "plain $?"
            """,
            UpdateGuest.Command,
            await EventReader.ProgramAsync(),
            UpdateGuest.Package(old),
            UpdateGuest.Package(next)
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["replace 3", "old", "stage:     applied", "replace 0", "next", "undo 0", "plain 0"],
            result.Lines.Where(line => Regex.IsMatch(line, "^(old|next|stage.*|/.*|[a-z]+ [0-9]+)$"))
        );
        Assert.Matches(@"held\W+\d+\W+new code", result.Errors);
    }

    // The hooks of both, in their order; kernel.panic names the one that is to refuse: of the old update 101 to 104, of the new 201 on.
    [Fact]
    public async Task Hooks_of_all_are_called_in_order_and_one_that_refuses_leaves_all_as_it_was()
    {
        using PatchProject old = new(guest.Release),
            next = new(guest.Release);
        old.Write("hooks.patch", HookTests.Patch.Replace("hook: %s", "hook: old %s", StringComparison.Ordinal));
        next.Write(
            "hooks.patch",
            Regex.Replace(HookTests.Patch.Replace("hook: %s", "hook: new %s", StringComparison.Ordinal), @"\b10([1-4])\b", "20$1")
        );
        (await old.BuildAsync()).MustSucceed();
        (await next.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            {{Ask}}
            try() { # what is said since, and how it ended
                echo "-- $3" >/dev/kmsg
                echo $3 >/proc/sys/kernel/panic
                end=$(ask $1 $2)
                echo -1 >/proc/sys/kernel/panic
                echo "$(dmesg | sed "1,/-- $3\$/d" | sed -n 's/.*hook: //p' | tr '\n' ',') $end"
                cat /sys/kernel/ksplice/$1/reason >&2
            }
            insmod {{UpdateGuest.Place(old)}}/ksplice.ko || exit 1
            load {{UpdateGuest.Place(old)}}
            ask {{old.Id}} applied
            load {{UpdateGuest.Place(next)}} replace=1
            for refuse in 103 201 104 202 1; do try {{next.Id}} replacing $refuse; cat /sys/kernel/ksplice/{{old.Id}}/stage; done
            try {{next.Id}} reversed 2
            """,
            UpdateGuest.Package(old),
            UpdateGuest.Package(next)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "applied applied ok",
                "old pre_reverse 1,old fail_reverse 1, replacing preparing call_failed",
                "applied",
                "old pre_reverse 1,new pre_apply 1,new fail_apply 1,old fail_reverse 1, replacing preparing call_failed",
                "applied",
                "old pre_reverse 1,new pre_apply 1,old check_reverse 1,new fail_apply 1,old fail_reverse 1, "
                    + "replacing preparing call_failed",
                "applied",
                "old pre_reverse 1,new pre_apply 1,old check_reverse 1,new check_apply 1,new fail_apply 1,old fail_reverse 1, "
                    + "replacing preparing call_failed",
                "applied",
                "old pre_reverse 1,new pre_apply 1,old check_reverse 1,new check_apply 1,old reverse 1,new apply 1,"
                    + "old post_reverse 1,new post_apply 1, replacing applied ok",
                "reversed",
                "new pre_reverse 1,new check_reverse 1,new reverse 1,new post_reverse 0, reversed reversed ok",
            ],
            result.Lines
        );
        Assert.Contains($"pre hook 1 of update {old.Id}, which is to be replaced, refused", result.Errors, StringComparison.Ordinal);
        Assert.Contains($"check hook 1 of the patch refused", result.Errors, StringComparison.Ordinal);
    }

    // Each module: there, not there, and come in between.
    [Fact]
    public async Task Objects_that_are_not_loaded_change_hands_with_the_others()
    {
        using var old = await LateTargetTests.KernelAndLoopAsync(guest.Release);
        using PatchProject next = new(guest.Release);
        next.Write("loop.patch", LateTargetTests.Loop.Replace("'w'", "'x'", StringComparison.Ordinal));
        (await next.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            look() { echo "$1: $(ls /sys/block | grep -o '.oop0') $(grep -c vvar /proc/1/maps)"; }
            for round in absent there; do
                [ $round = absent ] || insmod /loop.ko || exit 1
                ksplice apply {{UpdateGuest.Place(old)}} >/dev/null || exit 1
                ksplice apply --replace {{UpdateGuest.Place(next)}} || exit 1
                lsmod | grep -c ksplice_{{old.Id}}
                [ $round = absent ] || rmmod loop || exit 1
                insmod /loop.ko || exit 1
                look $round
                ksplice undo {{next.Id}} >/dev/null || exit 1
                rmmod loop && insmod /loop.ko || exit 1
                look undone
                rmmod loop || exit 1
            done
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(old),
            UpdateGuest.Package(next),
            UpdateGuest.Module(guest.Release, "drivers/block/loop")
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["0", "absent: xoop0 1", "undone: loop0 1", "0", "there: xoop0 1", "undone: loop0 1"],
            result.Lines.Where(line => Regex.IsMatch(line, "^(0|absent: .*|there: .*|undone: .*)$"))
        );
    }

    // Matching saw the code of what was in place: nothing else can be put there.
    [Fact]
    public async Task An_update_that_was_matched_together_with_others_cannot_take_their_place()
    {
        using var old = await BuildAsync(guest.Release, Says("old"));
        using var next = await BuildAsync(
            guest.Release,
            ("fs/proc/loadavg.c", "\treturn 0;\n", "\tseq_puts(m, \"next\\n\");\n\treturn 0;\n")
        );
        var result = await guest.RunAsync(
            $$"""
            {{Ask}}
            insmod {{UpdateGuest.Place(old)}}/ksplice.ko || exit 1
            load {{UpdateGuest.Place(old)}}
            ask {{old.Id}} applied
            load {{UpdateGuest.Place(next)}}
            ask {{next.Id}} replacing
            cat /sys/kernel/ksplice/{{next.Id}}/reason
            ask {{next.Id}} applied
            sed 1d /proc/uptime; sed 1d /proc/loadavg
            """,
            UpdateGuest.Package(old),
            UpdateGuest.Package(next)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "applied applied ok",
                "replacing preparing no_match",
                "the update was matched together with what it would replace; load its modules anew to replace",
                "applied applied ok",
                "old",
                "next",
            ],
            result.Lines
        );
    }
}
