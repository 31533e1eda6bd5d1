// SPDX-License-Identifier: MIT
// What docs/tutorial.md says of its two patches.
namespace Ksplice.Tasks.Tests;

public sealed class TutorialTests
{
    private static readonly string s_page = File.ReadAllText(Repository.At("docs", "tutorial.md"));

    [Fact]
    public async Task The_first_patch_is_refused_and_the_second_makes_an_update_as_the_page_says()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("reader.patch", Patch("1-reader.patch"));
        var refused = await project.BuildAsync();
        foreach (string id in (string[])["KSP5001", "KSP5002"])
        {
            refused.MustFailWith(id);
            Assert.Contains($"error {id}: ", s_page, StringComparison.Ordinal);
        }
        project.Write("reader.patch", Patch("2-reader.patch"));
        var built = (await project.BuildAsync()).MustSucceed();
        const string Summary = "1 function replaced, 0 new functions, 1 warning, 0 acknowledged errors; report: ";
        Assert.Contains(Summary, built.Output, StringComparison.Ordinal);
        Assert.Contains(Summary, s_page, StringComparison.Ordinal);
        Assert.Contains("warning KSP5014: 'devkmsg_read' waits in a loop", built.Output, StringComparison.Ordinal);
    }

    // The page shows the lines that it adds.
    private static string Patch(string name)
    {
        string patch = File.ReadAllText(Repository.At("docs", "tutorial", name));
        string added = patch.Split('\n').First(line => line.StartsWith("+\t", StringComparison.Ordinal));
        Assert.Contains($"    {added}\n", s_page, StringComparison.Ordinal);
        return patch;
    }
}
