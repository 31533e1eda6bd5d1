// SPDX-License-Identifier: MIT
// What docs/tutorial.md says of its two patches.
using System.Text.RegularExpressions;

namespace Ksplice.Tasks.Tests;

public sealed class TutorialTests
{
    private static readonly string s_page = File.ReadAllText(Repository.At("docs", "tutorial.md"));

    // The errors and warnings that the page shows from their codes on, with the lines that they go on in.
    private static readonly MatchCollection s_told = Regex.Matches(
        s_page,
        @"^    \S+: (?<said>(error|warning) KSP.*(\n      (?!refused;|reader ->).*)*)",
        RegexOptions.Multiline | RegexOptions.ExplicitCapture
    );

    [Fact]
    public async Task The_first_patch_is_refused_and_the_second_makes_an_update_as_the_page_says()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("reader.patch", Patch("1-reader.patch"));
        var refused = await project.BuildAsync();
        foreach (string id in (string[])["KSP5001", "KSP5002"])
            refused.MustFailWith(id);
        project.Write("reader.patch", Patch("2-reader.patch"));
        var built = (await project.BuildAsync()).MustSucceed();
        const string Summary = "1 function replaced, 0 new functions, 1 warning, 0 acknowledged errors; report: ";
        Assert.Contains(Summary, built.Output, StringComparison.Ordinal);
        Assert.Contains(Summary, s_page, StringComparison.Ordinal);
        string said = refused.Output + built.Output;
        Assert.Equal(4, s_told.Count);
        Assert.All(s_told, told =>
            Assert.Contains(told.Groups["said"].Value.Replace("\n     ", "", StringComparison.Ordinal), said, StringComparison.Ordinal)
        );
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
