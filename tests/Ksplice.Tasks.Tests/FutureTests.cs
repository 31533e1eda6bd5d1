// SPDX-License-Identifier: MIT
// Is the new code of an update what a vendor ships? The vendor's kernel is the one that the tests run on: it has what an update brings
// that takes another one back, and nothing of what sample a brings.
namespace Ksplice.Tasks.Tests;

public sealed class FutureTests
{
    private const string Target = "-t:KspliceVerifyFuture";

    private static readonly string Pages = File.ReadAllText(Repository.At("samples", "a-smaps-pages", "smaps-pages.patch"));

    private static string Report(PatchProject project) =>
        File.ReadAllText(Assert.Single(Directory.GetFiles(project.At("obj"), "future.txt", SearchOption.AllDirectories)));

    [Fact]
    public async Task What_a_kernel_does_not_have_is_told_function_by_function()
    {
        using PatchProject project = new(StockKernel.Release);
        project.Write("pages.patch", Pages);
        (await project.BuildAsync(Target)).MustFailWith("KSP2060");

        (await project.BuildAsync(Target, "-p:KernelFutureRelease=6.1.0-0-none")).MustFailWith("KSP2003");

        var built = (await project.BuildAsync(Target, "-p:KernelFutureRelease=" + StockKernel.Release)).MustSucceed();
        Assert.Contains(
            $"warning KSP4065: show_smap of fs/proc/task_mmu.c is not in kernel {StockKernel.Release} as the update brings it: "
                + "its code differs from show_smap+0x",
            built.Output,
            StringComparison.Ordinal
        );
        Assert.DoesNotContain("KSP2029", built.Output, StringComparison.Ordinal);
        Assert.Contains($"0 of 1 functions are in {StockKernel.Release} as the update brings them", built.Output, StringComparison.Ordinal);
        Assert.Contains("\n  different show_smap: its code differs", Report(project), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_a_kernel_has_as_the_update_brings_it_is_counted()
    {
        using PatchProject project = new(StockKernel.Release);
        project.Write("below.diff", Pages);
        project.Items("<KernelBasePatch Include=\"below.diff\" UpdateId=\"0badcafe\" />");
        project.Write(
            "back.patch",
            """
            --- a/fs/proc/task_mmu.c
            +++ b/fs/proc/task_mmu.c
            @@ -864,7 +864,6 @@
             	SEQ_PUT_DEC(" kB\nKernelPageSize: ", vma_kernel_pagesize(vma));
             	SEQ_PUT_DEC(" kB\nMMUPageSize:    ", vma_mmu_pagesize(vma));
             	seq_puts(m, " kB\n");
            -	seq_printf(m, "Pages:          %8lu\n", vma_pages(vma));
             
             	__show_smap(m, &mss, false);
             

            """
        );
        var built = (await project.BuildAsync(Target, "-p:KernelFutureImage=" + StockKernel.Image)).MustSucceed();
        Assert.Contains($"1 of 1 functions are in {StockKernel.Release} as the update brings them", built.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("KSP4065", built.Output, StringComparison.Ordinal);
        Assert.EndsWith(
            "  equal     show_smap\n\n1 of 1 functions are there as the update brings them\n",
            Report(project),
            StringComparison.Ordinal
        );
    }
}
