// SPDX-License-Identifier: MIT
// Others who have to do with a replaced function: tracers and probes on it go on working, and what cannot be is refused by name.
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class CoexistenceTests(Guest guest)
{
    private static Task<PatchProject> SampleAsync(Guest guest) => UpdateGuest.SampleAsync("a-smaps-pages", guest.Release);

    private static string[] Ends(GuestResult result) => [.. result.Lines.Where(line => Regex.IsMatch(line, @"^\w+ \d+$"))];

    [Fact]
    public async Task A_probe_on_the_entry_is_hit_as_before_and_one_on_the_redirect_keeps_it_where_it_is()
    {
        using var project = await SampleAsync(guest);
        var result = await guest.RunAsync(
            $$"""
            cd /sys/kernel/tracing
            hits() { echo >trace; cat /proc/self/smaps >/dev/null; [ "$(grep -c entry: trace)" -gt 3 ]; echo "$1 $?"; }
            echo 'p:entry show_smap' >kprobe_events
            echo 1 >events/kprobes/entry/enable
            hits before
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            hits applied
            start=$(sed -n 's/ t show_smap$//p' /proc/kallsyms)
            echo "p:jump $(printf '0x%x' $((0x$start + 5)))" >>kprobe_events
            echo 1 >events/kprobes/jump/enable
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            ksplice undo {{project.Id}}
            echo "undo $?"
            echo 0 >events/kprobes/jump/enable
            echo '-:jump' >>kprobe_events
            ksplice undo {{project.Id}}
            echo "undo $?"
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            hits undone
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(["before 0", "apply 0", "pages 0", "applied 0", "pages 0", "undo 2", "undo 0", "pages 1", "undone 0"], Ends(result));
        Assert.Contains("probed", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_function_that_a_livepatch_redirects_is_refused_until_it_is_gone()
    {
        using var project = await SampleAsync(guest);
        var result = await guest.RunAsync(
            $$"""
            insmod /livepatch.ko || exit 1
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            echo 0 >/sys/kernel/livepatch/livepatch/enabled
            while [ -e /sys/kernel/livepatch/livepatch ]; do sleep 0.2; done
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            overridden() { echo "overridden: $(cat /sys/kernel/ksplice/{{project.Id}}/overridden)"; }
            overridden
            rmmod livepatch && insmod /livepatch.ko || exit 1
            while [ "$(cat /sys/kernel/livepatch/livepatch/transition)" = 1 ]; do sleep 0.2; done
            overridden
            echo 0 >/sys/kernel/livepatch/livepatch/enabled
            while [ -e /sys/kernel/livepatch/livepatch ]; do sleep 0.2; done
            overridden
            """,
            ["--allow", "livepatch", "--allow", "TAINT_LIVEPATCH"],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("livepatch", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(["apply 2", "apply 0", "pages 0"], Ends(result));
        Assert.Equal(
            ["overridden: ", "overridden: show_smap", "overridden: "],
            result.Lines.Where(line => line.StartsWith("overridden", StringComparison.Ordinal))
        );
        Assert.Matches(@"redirected\s+show_smap is redirected by a livepatch", result.Errors);
    }

    [Fact]
    public async Task A_livepatch_of_another_function_stays_in_force_beside_an_update()
    {
        var project = await UpdateGuest.SampleAsync("b-kernel-pages", guest.Release);
        var result = await guest.RunAsync(
            $$"""
            look() { echo "$1: livepatch $(cat /sys/kernel/livepatch/livepatch/enabled 2>/dev/null), vvar $(grep -c vvar /proc/1/maps)"; }
            insmod /livepatch.ko || exit 1
            while [ "$(cat /sys/kernel/livepatch/livepatch/transition)" = 1 ]; do sleep 0.2; done
            look before
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            look applied
            echo 0 >/sys/kernel/livepatch/livepatch/enabled
            while [ -e /sys/kernel/livepatch/livepatch ]; do sleep 0.2; done
            look "livepatch gone"
            rmmod livepatch && insmod /livepatch.ko || exit 1
            look "livepatch again"
            ksplice undo {{project.Id}} >/dev/null || exit 1
            look undone
            """,
            ["--allow", "livepatch", "--allow", "TAINT_LIVEPATCH"],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("livepatch", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "before: livepatch 1, vvar 1",
                "applied: livepatch 1, vvar 0",
                "livepatch gone: livepatch , vvar 0",
                "livepatch again: livepatch 1, vvar 0",
                "undone: livepatch 1, vvar 1",
            ],
            result.Lines
        );
    }

    [Fact]
    public async Task A_static_key_of_the_kernel_that_is_switched_switches_the_new_code_too()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "debug.patch",
            """
            --- a/kernel/sched/debug.c
            +++ b/kernel/sched/debug.c
            @@ -964,6 +964,7 @@
             	nr_switches = p->nvcsw + p->nivcsw;
             
             	P(se.nr_migrations);
            +	SEQ_printf(m, "new, statistics %d\n", schedstat_enabled());
             
             	if (schedstat_enabled()) {
             		u64 avg_atom, avg_per_cpu;

            """
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            look() {
                echo $2 >/proc/sys/kernel/sched_schedstats
                echo "$1: new $(sed -n 's/^new, statistics //p' /proc/1/sched), lines $(grep -c wait_max /proc/1/sched)"
            }
            look before 1
            look before 0
            for round in 1 2; do
                ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
                for again in 1 2 3; do look applied 1; look applied 0; done
                look applied 1
                ksplice undo {{project.Id}} >/dev/null
                look undone 0
                look undone 1
            done
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        string[] round =
        [
            "applied: new 1, lines 1",
            "applied: new 0, lines 0",
            "applied: new 1, lines 1",
            "applied: new 0, lines 0",
            "applied: new 1, lines 1",
            "applied: new 0, lines 0",
            "applied: new 1, lines 1",
            "undone: new , lines 0",
            "undone: new , lines 1",
        ];
        Assert.Equal(["before: new , lines 1", "before: new , lines 0", .. round, .. round], result.Lines);
    }

    // K10: no instruction refers to a key, only the table of the site does. What an update has put in place is
    // not in the image that a build looks at.
    [Fact]
    public async Task Static_keys_of_one_name_are_found_by_where_they_are_used()
    {
        using PatchProject lower = new(guest.Release),
            upper = new(guest.Release);
        foreach (var (file, value, branch) in new[] { ("uptime", "FALSE", "unlikely"), ("version", "TRUE", "likely") })
        {
            string path = $"fs/proc/{file}.c",
                function = $"static int {file}_proc_show(";
            string gate = await KernelTree.ChangeAsync(
                guest.Release,
                path,
                (function, $"#include <linux/jump_label.h>\nstatic DEFINE_STATIC_KEY_{value}(gate);\n\n{function}"),
                ("\tseq_printf(", $"\tif (static_branch_{branch}(&gate))\n\t\tseq_puts(m, \"open in {file}\\n\");\n\tseq_printf(")
            );
            lower.Write(file + ".patch", gate);
            upper.Write(
                file + ".patch",
                await KernelTree.ChangeAsync(guest.Release, path, ("\treturn 0;\n", $"\tseq_puts(m, \"end of {file}\\n\");\n\treturn 0;\n"))
            );
        }

        (await lower.BuildAsync()).MustSucceed();
        upper.OnTopOf(lower);
        (await upper.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ksplice apply {{UpdateGuest.Place(lower)}} || exit 1
            ksplice apply {{UpdateGuest.Place(upper)}} || exit 1
            cat /proc/uptime /proc/version
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(lower),
            UpdateGuest.Package(upper)
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["end of uptime", "open in version", "end of version"],
            result.Lines.Where(line =>
                line.StartsWith("open in", StringComparison.Ordinal) || line.StartsWith("end of", StringComparison.Ordinal)
            )
        );
    }

    // A BPF trampoline is called directly from the fentry site, and one for the exit calls the function behind it.
    [Fact]
    public async Task Bpf_programs_on_entry_and_exit_run_with_the_old_code_and_with_the_new()
    {
        using var project = await SampleAsync(guest);
        var program = await UpdateGuest.ProgramAsync("bpf/attach.c");
        var result = await guest.RunAsync(
            $$"""
            echo 1 >/proc/sys/kernel/bpf_stats_enabled
            mkfifo /tmp/ask /tmp/tell
            start() {
                attach show_smap </tmp/ask >/tmp/tell & exec 3>/tmp/ask 4</tmp/tell
                read word <&4; [ "$word" = attached ] || exit 1
            }
            stop() { exec 3>&- 4<&-; wait; }
            runs() { echo >&3; read entry exit <&4; }
            # Programs on entry and exit run once for each mapping that is shown.
            look() {
                runs; entries=$entry exits=$exit
                maps=$(grep -c '^Rss:' /proc/1/smaps); pages=$(grep -c '^Pages:' /proc/1/smaps)
                runs
                echo "$1: entry $((entry - entries == 2 * maps)), exit $((exit - exits == 2 * maps)), new $((pages == maps))"
            }
            start
            look before
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            look applied
            stop
            start
            look "attached later"
            ksplice undo {{project.Id}} >/dev/null || exit 1
            look undone
            stop
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            program
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "before: entry 1, exit 1, new 0",
                "applied: entry 1, exit 1, new 1",
                "attached later: entry 1, exit 1, new 1",
                "undone: entry 1, exit 1, new 0",
            ],
            result.Lines
        );
    }

    [Fact]
    public async Task Perf_samples_new_code_and_walks_through_it()
    {
        using var project = await SampleAsync(guest);
        var program = await UpdateGuest.ProgramAsync("perf/sample.c");
        var result = await guest.RunAsync(
            $$"""
            # Behind the redirect: the old code's first bytes still run.
            look() { echo "$1 $(sample $(printf '%x %x' $((0x$2 + 16)) $((0x$2 + 0x300))))"; }
            look old $(sed -n 's/ t show_smap$//p' /proc/kallsyms)
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            look new $(sed -n 's/ t show_smap.\[ksplice_.*//p' /proc/kallsyms)
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            program
        );
        result.MustEndWith(0);
        Assert.Equal(["old 1 1 1", "new 1 1 1"], result.Lines);
    }

    [Fact]
    public async Task A_warning_and_a_fault_in_new_code_are_told_and_mended_as_in_the_kernels_own()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "uptime.patch",
            """
            --- a/fs/proc/uptime.c
            +++ b/fs/proc/uptime.c
            @@ -7,6 +7,7 @@
             #include <linux/time.h>
             #include <linux/time_namespace.h>
             #include <linux/kernel_stat.h>
            +#include <linux/uaccess.h>
             #include "internal.h"
             
             static int uptime_proc_show(struct seq_file *m, void *v)
            @@ -35,5 +36,14 @@
             			(uptime.tv_nsec / (NSEC_PER_SEC / 100)),
             			(unsigned long) idle.tv_sec,
             			(idle.tv_nsec / (NSEC_PER_SEC / 100)));
            +	WARN(1, "said by new code\n");
            +	if (user_access_begin((void __user *)8, sizeof(i))) {
            +		unsafe_get_user(i, (int __user *)8, fault);
            +		user_access_end();
            +	}
            +	return 0;
            +fault:
            +	user_access_end();
            +	seq_puts(m, "a fault\n");
             	return 0;
             }

            """
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            echo 0 >/proc/sys/kernel/panic_on_warn
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            grep -o ' uptime_proc_show.*' /proc/kallsyms
            tail -1 /proc/uptime
            dmesg | sed -n '/cut here/,/---.*end trace/s/^\[[^]]*\] //p'
            ksplice undo {{project.Id}} >/dev/null || exit 1
            """,
            ["--allow", "."],
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        string primary = $"ksplice_{project.Id}_0_primary";
        Assert.Contains(" uptime_proc_show", result.Lines);
        Assert.Contains($" uptime_proc_show\t[{primary}]", result.Lines);
        Assert.Contains("a fault", result.Lines);
        Assert.Contains(result.Lines, line =>
            Regex.IsMatch(line, $@"^WARNING: .* at fs/proc/uptime\.c:\d+ uptime_proc_show\+.*\[{primary}\]")
        );
        Assert.Contains("said by new code", result.Lines);
        // Unwound through the new code to who called the old: behind a frame that it cannot pass every line is a guess ("? ").
        var way = result
            .Lines.SkipWhile(line => !line.Contains("<TASK>", StringComparison.Ordinal))
            .Skip(1)
            .TakeWhile(line => !line.Contains("do_syscall_64", StringComparison.Ordinal))
            .Where(line => !line.Contains("? ", StringComparison.Ordinal))
            .ToList();
        Assert.Contains(way, line => line.Contains("seq_read_iter", StringComparison.Ordinal));
        Assert.Contains(way, line => line.Contains("vfs_read", StringComparison.Ordinal));
    }
}
