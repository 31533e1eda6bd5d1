// SPDX-License-Identifier: MIT
// The same on a kernel of the other series: objtool at the link (K2), paravirt calls as alternatives, runtime constants (K5).
namespace Ksplice.Kernel.Tests.Updates;

public sealed class NewerKernelTests(Guest guest)
{
    [Fact]
    public async Task An_update_of_6_12_is_applied_and_undone()
    {
        var cancellation = TestContext.Current.CancellationToken;
        string release = await NewerSeries.ReleaseAsync();
        using PatchProject project = new(release);
        project.Write(
            "pages.patch",
            await File.ReadAllTextAsync(Repository.At("samples", "a-smaps-pages", "smaps-pages.patch"), cancellation)
        );
        // smaps_pte_range calls cond_resched, a static call, of which only objtool's tables tell; this
        // kernel runs objtool when it links (K2).
        project.Write(
            "range.patch",
            await KernelTree.ChangeAsync(
                release,
                "fs/proc/task_mmu.c",
                (
                    "\t\tsmaps_pte_entry(pte, addr, walk);\n",
                    "\t\tsmaps_pte_entry(pte, addr, walk);\n\tWRITE_ONCE(walk->action, ACTION_SUBTREE);\n"
                )
            )
        );
        // The hash table's address in this function is the kernel's to write; with what the compiler wrote it would fault at once.
        project.Write(
            "lookups.patch",
            await KernelTree.ChangeAsync(
                release,
                "fs/dcache.c",
                ("static int proc_nr_dentry(", "static unsigned long lookups;\n\nstatic int proc_nr_dentry("),
                (
                    "\tdentry_stat.nr_dentry = get_nr_dentry();\n",
                    "\tdentry_stat.nr_dentry = get_nr_dentry();\n\tdentry_stat.dummy = READ_ONCE(lookups);\n"
                ),
                (
                    "\tif (unlikely(parent->d_flags & DCACHE_OP_COMPARE))\n\t\treturn __d_lookup_rcu_op_compare(",
                    "\tWRITE_ONCE(lookups, lookups + 1);\n\tif (unlikely(parent->d_flags & DCACHE_OP_COMPARE))\n"
                        + "\t\treturn __d_lookup_rcu_op_compare("
                )
            )
        );
        // The first thing in rng_is_initialized is a jump label (K18).
        project.Write(
            "random.patch",
            await KernelTree.ChangeAsync(
                release,
                "drivers/char/random.c",
                ("\treturn crng_ready();\n", "\treturn crng_ready() && task_pid_nr(current) == 1;\n")
            )
        );
        // Assembly: one piece of code that is no function, by which functions with runtime constants in them end when they fault.
        project.Write(
            "getuser.patch",
            await KernelTree.ChangeAsync(release, "arch/x86/lib/getuser.S", ("mov $(-EFAULT),%_ASM_AX", "mov $(-EIO),%_ASM_AX"))
        );
        project.Write(
            "loop.patch",
            await KernelTree.ChangeAsync(
                release,
                "drivers/block/loop.c",
                (
                    "\tsprintf(disk->disk_name, \"loop%d\", i);\n",
                    "\tsprintf(disk->disk_name, \"loop%d\", i);\n\tdisk->disk_name[0] = 'w';\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();

        var result = await guest.RunAsync(
            $$"""
            show() {
                echo "$1: $(grep -c ^Pages: /proc/self/smaps | sed 's/^[1-9].*/some/') pages, $(
                    awk '{ print $6 ? "some" : 0 }' /proc/sys/fs/dentry-state) lookups"
            }
            insmod /calls.ko || exit 1
            ask() {
                echo "$1: faults$(sed 's/^1 2//' /sys/module/calls/parameters/results)"
                insmod /asker.ko 2>/dev/null; echo "$1: random $?"; rmmod asker 2>/dev/null
            }
            show before
            ask before
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            ls -R /sys/kernel >/dev/null
            show applied
            ask applied
            for round in 1 2; do insmod /loop.ko && echo "module $(cd /sys/block && echo *oop0)"; rmmod loop; done
            ksplice undo {{project.Id}}
            echo "undo $?"
            ask undone
            insmod /loop.ko && echo "module $(cd /sys/block && echo *oop0)"
            """,
            ["--release", release],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            UpdateGuest.Module(release, "drivers/block/loop"),
            await TestModule.BuildAsync("asker", release),
            await TestModule.BuildAsync("calls", release)
        );
        result.MustEndWith(0);
        Assert.Contains("before: 0 pages, 0 lookups", result.Lines);
        Assert.Contains("applied: some pages, some lookups", result.Lines);
        Assert.Contains("undo 0", result.Lines);
        Assert.Equal(
            ["before: random 0", "applied: random 11", "undone: random 0"],
            result.Lines.Where(line => line.Contains(": random ", StringComparison.Ordinal))
        );
        Assert.Equal(
            ["before: faults -14 -14", "applied: faults -5 -5", "undone: faults -14 -14"],
            result.Lines.Where(line => line.Contains(": faults", StringComparison.Ordinal))
        );
        Assert.Equal(
            ["module woop0", "module woop0", "module loop0"],
            result.Lines.Where(line => line.StartsWith("module ", StringComparison.Ordinal))
        );
    }

    [Fact]
    public async Task Modules_of_another_kernel_are_refused_by_the_command_and_by_the_loader()
    {
        using PatchProject project = new(await NewerSeries.ReleaseAsync());
        project.Write(
            "pages.patch",
            await File.ReadAllTextAsync(
                Repository.At("samples", "a-smaps-pages", "smaps-pages.patch"),
                TestContext.Current.CancellationToken
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            cd {{UpdateGuest.Place(project)}}
            for module in ksplice.ko *_helper.ko *_data.ko *_primary.ko; do insmod $module && echo "taken $module"; done
            echo "$(lsmod | grep -c ksplice) modules"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(["apply 5", "0 modules"], result.Lines);
        Assert.Matches(@"is for kernel 6\.12\.\S+, and 6\.1\.\S+ is running", result.Errors);
        Assert.Contains("invalid module format", result.Errors, StringComparison.Ordinal);
    }
}
