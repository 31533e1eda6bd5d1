// An update that goes on top of another, as far as a build goes.
using System.Text.Json;

namespace Ksplice.Tasks.Tests;

public sealed class BaseTests
{
    private const string Upper = """
        --- a/fs/proc/task_mmu.c
        +++ b/fs/proc/task_mmu.c
        @@ -865,6 +865,7 @@
         	SEQ_PUT_DEC(" kB\nMMUPageSize:    ", vma_mmu_pagesize(vma));
         	seq_puts(m, " kB\n");
         	seq_printf(m, "Pages:          %8lu\n", vma_pages(vma));
        +	seq_printf(m, "Half:           %8lu\n", vma_pages(vma) / 2);
         
         	__show_smap(m, &mss, false);
         

        """;

    [Fact]
    public async Task Both_patches_travel_and_what_no_image_has_is_told()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("lower.base", Patches.Smaps);
        project.Write("upper.patch", Upper);
        var built = (await project.BuildAsync("-tl:off", "-v:normal")).MustSucceed();
        Assert.Contains("info KSP4064", built.Output.Replace("message KSP4064", "info KSP4064", StringComparison.Ordinal), StringComparison.Ordinal);
        using var manifest = JsonDocument.Parse(await File.ReadAllBytesAsync(Path.Combine(project.Package, "manifest.json"), TestContext.Current.CancellationToken));
        Assert.Equal("base/01-lower.base", Assert.Single(manifest.RootElement.GetProperty("base").EnumerateArray()).GetString());
        Assert.Equal("patches/01-upper.patch", Assert.Single(manifest.RootElement.GetProperty("patches").EnumerateArray()).GetString());
        Assert.Equal(Patches.Smaps, await File.ReadAllTextAsync(Path.Combine(project.Package, "base", "01-lower.base"), TestContext.Current.CancellationToken));
        Assert.Contains("made from these patches, which have to be applied:\n\n    base/01-lower.base", await File.ReadAllTextAsync(Path.Combine(project.Package, "README.txt"), TestContext.Current.CancellationToken), StringComparison.Ordinal);

        // Another lower one makes another update; without it the upper one does not fit the source.
        string id = project.Id;
        project.Write("lower.base", Patches.Smaps.Replace("Pages: ", "Count: ", StringComparison.Ordinal));
        project.Write("upper.patch", Upper.Replace("Pages: ", "Count: ", StringComparison.Ordinal));
        (await project.BuildAsync()).MustSucceed();
        Assert.NotEqual(id, project.Id);
        File.Delete(project.At("lower.base"));
        (await project.BuildAsync()).MustFailWith("KSP1016");
    }
}
