// SPDX-License-Identifier: MIT
// What new code has in sections that are the kernel's own: what is new goes where a module's loader knows it, and what the
// kernel keeps lists of is the one that those lists know.
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class SectionTests(Guest guest)
{
    [Fact]
    public async Task A_new_variable_per_cpu_counts_and_a_tracepoint_is_the_one_that_was_enabled()
    {
        using PatchProject project = new(guest.Release);
        // K6: outside of .data..percpu the loader gives it no area of its own.
        project.Write(
            "percpu.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                (
                    "static int uptime_proc_show(",
                    "static DEFINE_PER_CPU_SHARED_ALIGNED(unsigned long, shown);\n\nstatic int uptime_proc_show("
                ),
                (
                    "\tint i;\n\n",
                    "\tunsigned long sum = 0;\n\tint i;\n\n\tthis_cpu_inc(shown);\n\tfor_each_possible_cpu(i)\n"
                        + "\t\tsum += per_cpu(shown, i);\n"
                ),
                ("\treturn 0;\n", "\tseq_printf(m, \"%lu\\n\", sum);\n\treturn 0;\n")
            )
        );
        // K7: printk.c is where this tracepoint is defined.
        project.Write(
            "printk.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "kernel/printk/printk.c",
                (
                    "\ttrace_console_rcuidle(text, text_len);\n",
                    "\tif (text_len > 4 && !memcmp(text, \"old: \", 4))\n\t\tmemcpy(text, \"new\", 3);\n"
                        + "\ttrace_console_rcuidle(text, text_len);\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            cd /sys/kernel/tracing
            echo 1 >events/printk/console/enable
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            for cpu in 0 1; do taskset $((cpu + 1)) cat /proc/uptime >/dev/null; done
            echo "shown $(tail -1 /proc/uptime)"
            echo 'old: told' >/dev/kmsg
            grep -q 'console: new: told' trace; echo "traced $?"
            echo 0 >events/printk/console/enable
            echo 'old: untold' >/dev/kmsg
            grep -q 'untold' trace; echo "traced $?"
            ksplice undo {{project.Id}}
            echo "undo $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(["shown 3", "traced 0", "traced 1", "undo 0"], result.Lines.Where(line => Regex.IsMatch(line, @"^\w+ \d$")));
    }
}
