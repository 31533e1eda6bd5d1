// SPDX-License-Identifier: MIT
// A patch that adds a file to the kernel: the file's code runs, keeps its state, and is gone after the undo.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class NewFileTests(Guest guest)
{
    private const string Makefile = "proc-y\t+= version.o\n";

    // It calls what version.c brings, exported and other functions of the kernel, and has variables of several kinds.
    private const string Extra = """
        // SPDX-License-Identifier: GPL-2.0
        #include <linux/percpu.h>
        #include <linux/seq_file.h>
        #include <linux/spinlock.h>
        #include "internal.h"

        void extra_show(struct seq_file *m);
        void extra_end(struct seq_file *m);

        static DEFINE_SPINLOCK(extra_lock);
        static unsigned long extra_reads;
        static DEFINE_PER_CPU(unsigned long, extra_reads_of_cpu);

        void extra_show(struct seq_file *m)
        {
        	unsigned long sum = 0, reads;
        	int cpu;

        	this_cpu_inc(extra_reads_of_cpu);
        	for_each_possible_cpu(cpu)
        		sum += per_cpu(extra_reads_of_cpu, cpu);
        	spin_lock(&extra_lock);
        	reads = ++extra_reads;
        	spin_unlock(&extra_lock);
        	seq_printf(m, "extra: read %lu, %lu of all processors", reads, sum);
        	extra_end(m);
        }
        """;

    [Fact]
    public async Task The_code_of_a_new_file_runs_and_is_undone()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "fix.patch",
            await KernelTree.ChangeAsync(guest.Release, "fs/proc/Makefile", (Makefile, Makefile + "proc-y\t+= extra.o\n"))
                + KernelTree.Added("fs/proc/extra.c", Extra)
                + await KernelTree.ChangeAsync(
                    guest.Release,
                    "fs/proc/version.c",
                    (
                        "static int version_proc_show(",
                        "void extra_show(struct seq_file *m);\nvoid extra_end(struct seq_file *m);\n\n"
                            + "void extra_end(struct seq_file *m)\n{\n\tseq_puts(m, \", says version.c\\n\");\n}\n\n"
                            + "static int version_proc_show("
                    ),
                    ("\treturn 0;\n", "\textra_show(m);\n\treturn 0;\n")
                )
        );
        (await project.BuildAsync()).MustSucceed();
        Assert.Equal(["version_proc_show"], UpdateGuest.Replaced(project));
        var result = await guest.RunAsync(
            $$"""
            echo "before $(grep -c extra: /proc/version)"
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            for cpu in 0 1; do taskset $((cpu + 1)) cat /proc/version >/dev/null; done
            grep extra: /proc/version
            grep -c ' extra_show.*ksplice' /proc/kallsyms
            ksplice undo {{project.Id}} || exit 1
            echo "after $(grep -c extra: /proc/version)"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Contains("before 0", result.Lines);
        Assert.Contains("extra: read 3, 3 of all processors, says version.c", result.Lines);
        Assert.Contains("1", result.Lines);
        Assert.Contains("after 0", result.Lines);
    }
}
