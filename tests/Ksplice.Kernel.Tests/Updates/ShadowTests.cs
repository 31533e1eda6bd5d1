// SPDX-License-Identifier: MIT
// Shadow fields: the core's own, under load, and what two updates on top of each other share by them.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class ShadowTests(Guest guest)
{
    // How often a process's map was shown, kept beside its mm.
    private const string Patch = """
        --- a/fs/proc/task_mmu.c
        +++ b/fs/proc/task_mmu.c
        @@ -24,6 +24,8 @@
         #include <asm/tlb.h>
         #include <asm/tlbflush.h>
         #include "internal.h"
        +#include <ksplice/hooks.h>
        +#include <ksplice/shadow.h>
         
         #define SEQ_PUT_DEC(str, val) \
         		seq_put_decimal_ull_width(m, str, (val) << (PAGE_SHIFT-10), 8)
        @@ -849,6 +851,21 @@
         	seq_puts(m, " kB\n");
         }
         
        +static unsigned long count_shown(struct mm_struct *mm)
        +{
        +	atomic_long_t *shown = ksplice_shadow_get_or_attach(mm, 0x20260001, sizeof(*shown),
        +							    GFP_KERNEL, NULL, NULL);
        +
        +	return shown ? atomic_long_inc_return(shown) : 0;
        +}
        +
        +static void forget_shown(void)
        +{
        +	pr_info("smaps: %lu fields freed\n", ksplice_shadow_free_all(0x20260001, NULL));
        +}
        +
        +ksplice_post_reverse(forget_shown);
        +
         static int show_smap(struct seq_file *m, void *v)
         {
         	struct vm_area_struct *vma = v;
        @@ -864,4 +881,5 @@
         	SEQ_PUT_DEC(" kB\nKernelPageSize: ", vma_kernel_pagesize(vma));
         	SEQ_PUT_DEC(" kB\nMMUPageSize:    ", vma_mmu_pagesize(vma));
         	seq_puts(m, " kB\n");
        +	seq_printf(m, "Shown:          %8lu\n", count_shown(vma->vm_mm));
         

        """;

    [Fact]
    public async Task Every_thread_finds_the_fields_of_its_object_and_each_is_freed_once()
    {
        using PatchProject project = new(guest.Release);
        project.Write("shown.patch", Patch);
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            insmod /shadow.ko && rmmod shadow || exit 1
            dmesg | sed -n 's/.*shadow: //p'
            # The page of vsyscalls, where a kernel has it, is of no process.
            last() { sed -n '/vsyscall/,$d; s/^Shown: *//p' /proc/1/smaps | tail -1; }
            one=$(last)
            cat /proc/self/smaps >/dev/null
            now=$(last); [ $now -ge $((2 * one)) ] && [ $now -lt $((3 * one)) ]; echo "counts by process $?"
            cat /proc/1/smaps >/dev/null & cat /proc/1/smaps >/dev/null & wait
            [ $(last) -ge $((5 * one)) ]; echo "counts each $?"
            ksplice undo {{project.Id}} >/dev/null; echo "undo $?"
            dmesg | sed -n 's/.*smaps: [1-9][0-9]* /some /p'
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("shadow", guest.Release, Repository.At("src", "Ksplice.Kernel", "include", "ksplice", "shadow.h"))
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "left 1",
                "again 0",
                "each made and taken 1",
                "wrong 0",
                "many 1",
                "counts by process 0",
                "counts each 0",
                "undo 0",
                "some fields freed",
            ],
            result.Lines.Where(line =>
                !line.StartsWith("update ", StringComparison.Ordinal) && !line.StartsWith("  ", StringComparison.Ordinal)
            )
        );
    }
}
