// SPDX-License-Identifier: MIT
// The report of a build that was refused, whatever stage refused it.
namespace Ksplice.Tasks.Tests;

public sealed class RefusedReportTests
{
    [Fact]
    public async Task What_refuses_the_patches_leaves_a_report_and_the_next_good_build_takes_it_away()
    {
        using PatchProject project = new(Patches.Release);
        string data = await Patches.ChangeAsync(
            "kernel/printk/printk.c",
            "int __read_mostly suppress_printk;",
            "int __read_mostly suppress_printk = 1;"
        );
        // Reading the patch, compiling, comparing.
        (string Patch, string Id, string Place)[] cases =
        [
            (Patches.Smaps.Replace("KernelPageSize", "KernelPageSizes", StringComparison.Ordinal), "KSP1016", "fix.patch:8"),
            (Patches.Smaps.Replace("vma_pages(vma)", "vma_no_such(vma)", StringComparison.Ordinal), "KSP2009", "fix.patch:12"),
            (data, "KSP3001", "fix.patch:"),
        ];
        foreach (var (patch, id, place) in cases)
        {
            project.Write("fix.patch", patch);
            var build = await project.BuildAsync();
            build.MustFailWith(id);
            string report = Report(project)!;
            Assert.Contains($"refused; report: {report}", build.Output, StringComparison.Ordinal);
            string html = await File.ReadAllTextAsync(report, TestContext.Current.CancellationToken);
            Assert.Contains($"{id}.md\">{id}</a> <span class=\"small\">{place}", html, StringComparison.Ordinal);
            Assert.Contains("<h1>update</h1>", html, StringComparison.Ordinal);
            Assert.Contains("<h3>fix.patch</h3>", html, StringComparison.Ordinal);
            Assert.Contains($"<dd>{Patches.Release}</dd>", html, StringComparison.Ordinal);
            string added = patch.Split('\n').First(line => line.StartsWith('+') && !line.StartsWith("+++ ", StringComparison.Ordinal));
            Assert.Contains(System.Net.WebUtility.HtmlEncode(added), html, StringComparison.Ordinal);
            // One that is refused again has it still.
            (await project.BuildAsync()).MustFailWith(id);
            Assert.NotNull(Report(project));
        }
        project.Write("fix.patch", Patches.Smaps);
        (await project.BuildAsync()).MustSucceed();
        Assert.Null(Report(project));
    }

    private static string? Report(PatchProject project) =>
        Directory.GetFiles(project.At("obj"), "refused.html", SearchOption.AllDirectories).SingleOrDefault();
}
