// SPDX-License-Identifier: MIT
// Updates on top of updates: a second one replaces what the first put in place, uses what the first brought, and comes off
// before it.
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class StackingTests(Guest guest)
{
    private const string First = """
        --- a/fs/proc/task_mmu.c
        +++ b/fs/proc/task_mmu.c
        @@ -849,5 +849,12 @@
         	seq_puts(m, " kB\n");
         }
         
        +static unsigned long shown;
        +
        +static noinline unsigned long count_shown(void)
        +{
        +	return ++shown;
        +}
        +
         static int show_smap(struct seq_file *m, void *v)
         {
        @@ -864,4 +871,5 @@
         	SEQ_PUT_DEC(" kB\nKernelPageSize: ", vma_kernel_pagesize(vma));
         	SEQ_PUT_DEC(" kB\nMMUPageSize:    ", vma_mmu_pagesize(vma));
         	seq_puts(m, " kB\n");
        +	seq_printf(m, "Shown:          %8lu\n", count_shown());
         

        """;

    private const string Second = """
        --- a/fs/proc/task_mmu.c
        +++ b/fs/proc/task_mmu.c
        @@ -871,5 +871,6 @@
         	SEQ_PUT_DEC(" kB\nKernelPageSize: ", vma_kernel_pagesize(vma));
         	SEQ_PUT_DEC(" kB\nMMUPageSize:    ", vma_mmu_pagesize(vma));
         	seq_puts(m, " kB\n");
         	seq_printf(m, "Shown:          %8lu\n", count_shown());
        +	seq_printf(m, "Second:         %8lu\n", shown);
         

        """;

    private const string Third = """
        --- a/fs/proc/task_mmu.c
        +++ b/fs/proc/task_mmu.c
        @@ -872,5 +872,6 @@
         	SEQ_PUT_DEC(" kB\nMMUPageSize:    ", vma_mmu_pagesize(vma));
         	seq_puts(m, " kB\n");
         	seq_printf(m, "Shown:          %8lu\n", count_shown());
         	seq_printf(m, "Second:         %8lu\n", shown);
        +	seq_printf(m, "Third:          %8lu\n", count_shown());
         

        """;

    private async Task<PatchProject> BuildAsync(string patch, params PatchProject[] below)
    {
        PatchProject project = new(guest.Release);
        project.OnTopOf(below);
        project.Write("update.patch", patch);
        project = await UpdateGuest.BuiltAsync(project);
        Assert.Equal(["show_smap"], UpdateGuest.Replaced(project));
        return project;
    }

    // K20: the array and the string of the lower update are in its data module, where the upper one finds them and holds on to them.
    [Fact]
    public async Task Constants_of_a_lower_update_are_used_where_they_are_and_stay()
    {
        const string Plain = "\tidle_nsec = 0;\n";
        using PatchProject lower = new(guest.Release),
            upper = new(guest.Release);
        lower.Write(
            "lower.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                (Plain, Plain + "\tstatic const char digits[] = \"3141\";\n\tseq_printf(m, \"lower %s\\n\", digits);\n")
            )
        );
        (await lower.BuildAsync()).MustSucceed();
        upper.OnTopOf(lower);
        // Against the source with the lower patch: the same place, the new lines behind the lower ones.
        upper.Write(
            "upper.patch",
            """
            --- a/fs/proc/uptime.c
            +++ b/fs/proc/uptime.c
            @@ -20,4 +20,5 @@
             	idle_nsec = 0;
             	static const char digits[] = "3141";
             	seq_printf(m, "lower %s\n", digits);
            +	seq_printf(m, "upper %s\n", digits + 1);
             	for_each_possible_cpu(i) {

            """
        );
        (await upper.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            data() { for id in {{lower.Id}} {{upper.Id}}; do cat /sys/module/ksplice_${id}_data/refcnt 2>/dev/null || echo none; done; }
            primaries() { ls -d /sys/module/*_primary 2>/dev/null | wc -l; }
            see() { echo "$1: $(grep -v '\.' /proc/uptime | tr '\n' ' ')references $(data | tr '\n' ' ')$(primaries)"; }
            ksplice apply {{UpdateGuest.Place(lower)}} || exit 1
            see lower
            ksplice apply {{UpdateGuest.Place(upper)}} || exit 1
            see upper
            ksplice undo {{upper.Id}} || exit 1
            ksplice undo {{lower.Id}} || exit 1
            see none
            ksplice apply {{UpdateGuest.Place(lower)}} || exit 1
            ksplice apply {{UpdateGuest.Place(upper)}} || exit 1
            see again
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(lower),
            UpdateGuest.Package(upper)
        );
        result.MustEndWith(0);
        // The core's for good, the lower primary's, the upper update's.
        Assert.Equal(
            [
                "lower: lower 3141 references 2 none 1",
                "upper: lower 3141 upper 141 references 3 2 2",
                "none: references 1 1 0",
                "again: lower 3141 upper 141 references 3 2 2",
            ],
            result.Lines.Where(line => line.Contains("references", StringComparison.Ordinal))
        );
    }

    [Fact]
    public async Task Come_off_in_an_order_that_leaves_none_without_what_it_stands_on()
    {
        using var first = await BuildAsync(First);
        using var second = await BuildAsync(Second, first);
        using var third = await BuildAsync(Third, second);
        Assert.Equal(3, new[] { first.Id, second.Id, third.Id }.Distinct().Count());
        var result = await guest.RunAsync(
            $$"""
            lines() { echo "$1 $(sed -n 's/^\(Shown\|Second\|Third\):.*/\1/p' /proc/1/smaps | sort -u | tr '\n' ' ')"; }
            values() { sed -n "s/^$1: *//p" /proc/1/smaps | head -1; }
            apply() { ksplice apply $1; echo "apply $2 $?"; }
            undo() { ksplice undo $1; echo "undo $2 $?"; }
            one={{UpdateGuest.Place(first)}} two={{UpdateGuest.Place(second)}} three={{UpdateGuest.Place(third)}}
            apply $two early
            for round in 1 2; do
                apply $one one
                lines one
                cat /proc/1/smaps >/dev/null
                before=$(values Shown)
                apply $two two
                lines two
                after=$(values Second)
                [ $after -gt $before ]; echo "goes on counting $?"
                apply $three three
                lines three
                undo {{first.Id}} one
                undo {{second.Id}} two
                cat /sys/kernel/ksplice/{{second.Id}}/reason
                rmmod ksplice_{{first.Id}}_0_primary && exit 1
                lines three
                undo {{third.Id}} three
                lines two
                undo {{second.Id}} two
                lines one
                apply $three three
                undo {{first.Id}} one
                lines none
                apply $two two
            done
            lines none
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(first),
            UpdateGuest.Package(second),
            UpdateGuest.Package(third)
        );
        result.MustEndWith(0);
        string[] round =
        [
            "apply one 0",
            "one Shown",
            "apply two 0",
            "two Second Shown",
            "goes on counting 0",
            "apply three 0",
            "three Second Shown Third",
            "undo one 2",
            "undo two 2",
            $"update {third.Id} stands on it: undo that first",
            "three Second Shown Third",
            "undo three 0",
            "two Second Shown",
            "undo two 0",
            "one Shown",
            "apply three 2",
            "undo one 0",
            "none",
            "apply two 2",
        ];
        Assert.Equal(
            ["apply early 2", .. round, .. round, "none"],
            result.Lines.Where(line => !Regex.IsMatch(line, "^(update [0-9a-f]{8} (applied|undone)|  )")).Select(line => line.TrimEnd())
        );
        Assert.Contains("in_use", result.Errors, StringComparison.Ordinal);
        Assert.Contains($"the update was built on update {second.Id}, which is not applied", result.Errors, StringComparison.Ordinal);
        Assert.Contains($"the update was built on update {first.Id}, which is not applied", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_the_lower_one_brought_under_a_global_name_is_called_from_another_file()
    {
        string brings = First.Replace(
            "static noinline unsigned long count_shown",
            "noinline unsigned long count_shown",
            StringComparison.Ordinal
        );
        using var first = await BuildAsync(brings);
        using PatchProject second = new(guest.Release);
        second.OnTopOf(first);
        second.Write(
            "update.patch",
            """
            --- a/fs/proc/uptime.c
            +++ b/fs/proc/uptime.c
            @@ -9,6 +9,8 @@
             #include <linux/kernel_stat.h>
             #include "internal.h"
             
            +unsigned long count_shown(void);
            +
             static int uptime_proc_show(struct seq_file *m, void *v)
             {
             	struct timespec64 uptime;
            @@ -35,5 +37,6 @@
             			(uptime.tv_nsec / (NSEC_PER_SEC / 100)),
             			(unsigned long) idle.tv_sec,
             			(idle.tv_nsec / (NSEC_PER_SEC / 100)));
            +	seq_printf(m, "shown %lu\n", count_shown());
             	return 0;
             }

            """
        );
        (await second.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            one={{UpdateGuest.Place(first)}} two={{UpdateGuest.Place(second)}}
            ksplice apply $two 2>/dev/null; echo "apply early $?"
            ksplice apply $one >/dev/null && ksplice apply $two >/dev/null || exit 1
            before=$(sed -n 's/^shown //p' /proc/uptime)
            cat /proc/1/smaps >/dev/null
            after=$(sed -n 's/^shown //p' /proc/uptime)
            [ $after -gt $((before + 3)) ]; echo "one counter $?"
            ksplice undo {{first.Id}} 2>/dev/null; echo "undo the lower one $?"
            ksplice undo {{second.Id}} >/dev/null && ksplice undo {{first.Id}} >/dev/null; echo "undo both $?"
            grep -c shown /proc/uptime || true
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(first),
            UpdateGuest.Package(second)
        );
        result.MustEndWith(0);
        Assert.Equal(["apply early 2", "one counter 0", "undo the lower one 2", "undo both 0", "0"], result.Lines);
    }

    // K24: where a per-CPU variable is does not tell whose it is, and nothing else of the lower update is referred to.
    [Fact]
    public async Task A_per_cpu_variable_of_another_update_stays_as_long_as_it_is_referred_to()
    {
        using var first = await BuildAsync(
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/task_mmu.c",
                ("static int show_smap(", "DEFINE_PER_CPU(unsigned long, maps_shown);\n\nstatic int show_smap("),
                (
                    "\tsmap_gather_stats(vma, &mss, 0);\n\n\tshow_map_vma(m, vma);\n",
                    "\tsmap_gather_stats(vma, &mss, 0);\n\tthis_cpu_inc(maps_shown);\n\n\tshow_map_vma(m, vma);\n"
                )
            )
        );
        using PatchProject second = new(guest.Release);
        second.OnTopOf(first);
        second.Write(
            "update.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                ("static int uptime_proc_show(", "DECLARE_PER_CPU(unsigned long, maps_shown);\n\nstatic int uptime_proc_show("),
                (
                    "\treturn 0;\n",
                    "\tseq_put_decimal_ull(m, NULL, per_cpu(maps_shown, 0) + per_cpu(maps_shown, 1));\n\tseq_putc(m, '\\n');\n\treturn 0;\n"
                )
            )
        );
        (await second.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            load() { insmod $1/ksplice_$2_0_helper.ko && insmod $1/ksplice_$2_0_primary.ko || exit 1; }
            ask() {
                echo $2 >/sys/kernel/ksplice/$1/stage
                while [ "$(cat /sys/kernel/ksplice/$1/busy)" = 1 ]; do sleep 0.1; done
                echo "$2 $(cat /sys/kernel/ksplice/$1/abort_cause)"
            }
            one={{first.Id}} two={{second.Id}}
            insmod {{UpdateGuest.Place(first)}}/ksplice.ko
            load {{UpdateGuest.Place(first)}} $one; ask $one applied
            load {{UpdateGuest.Place(second)}} $two; ask $two applied
            cat /proc/1/smaps >/dev/null; [ $(sed 1d /proc/uptime) -gt 3 ]; echo "one variable $?"
            ask $one reversed
            ask $two reversed
            ask $one reversed
            rmmod ksplice_${one}_0_primary 2>/dev/null; echo "unload $?"
            ask $two applied
            rmmod ksplice_${two}_0_primary ksplice_${two}_0_helper || exit 1
            rmmod ksplice_${one}_0_primary; echo "unload $?"
            """,
            UpdateGuest.Package(first),
            UpdateGuest.Package(second)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "applied ok",
                "applied ok",
                "one variable 0",
                "reversed in_use",
                "reversed ok",
                "reversed ok",
                "unload 1",
                "applied base_missing",
                "unload 0",
            ],
            result.Lines
        );
    }

    // K25: nothing in memory tells that one of these needs the other.
    [Fact]
    public async Task One_that_touches_no_code_of_the_other_stands_on_it_all_the_same()
    {
        using var first = await BuildAsync(First);
        using PatchProject second = new(guest.Release);
        second.OnTopOf(first);
        second.Write(
            "update.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                ("\treturn 0;\n", "\tseq_puts(m, \"second\\n\");\n\treturn 0;\n")
            )
        );
        (await second.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            one={{UpdateGuest.Place(first)}} two={{UpdateGuest.Place(second)}}
            apply() { ksplice apply $1 >/dev/null; echo "apply $2 $?"; }
            undo() { ksplice undo $1 >/dev/null; echo "undo $2 $?"; }
            apply $two early
            grep -q second /proc/uptime; echo "second $?"
            apply $one one
            apply $two two
            undo {{first.Id}} one
            grep -q Shown /proc/1/smaps; echo "shown $?"
            undo {{second.Id}} two
            undo {{first.Id}} one
            apply $two alone
            grep -q second /proc/uptime; echo "second $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(first),
            UpdateGuest.Package(second)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "apply early 2",
                "second 1",
                "apply one 0",
                "apply two 0",
                "undo one 2",
                "shown 0",
                "undo two 0",
                "undo one 0",
                "apply alone 2",
                "second 1",
            ],
            result.Lines
        );
        Assert.Contains(first.Id, result.Errors, StringComparison.Ordinal);
        Assert.Contains("in_use", result.Errors, StringComparison.Ordinal);
    }
}
