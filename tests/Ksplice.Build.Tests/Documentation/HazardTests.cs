// SPDX-License-Identifier: MIT
// docs/hazards.md is the one place that tells what a K-number means. What cites a number, what the page names and the patches that
// take remedies out belong together.
using System.Globalization;
using System.Text.RegularExpressions;

namespace Ksplice.Build.Tests.Documentation;

public sealed partial class HazardTests
{
    private const int Last = 34;
    private const string NoPatch = "No patch takes it out";

    private sealed record Remedy(int Hazard, string File, string TakesOut, string Test);

    private static readonly string s_page = File.ReadAllText(Repository.At("docs", "hazards.md"));

    private static readonly Dictionary<int, string> s_chapters = Heading()
        .Matches(s_page)
        .ToDictionary(
            heading => int.Parse(heading.Groups[2].Value, CultureInfo.InvariantCulture),
            heading =>
            {
                int end = s_page.IndexOf("\n<a id=", heading.Index + 1, StringComparison.Ordinal);
                return Spaces().Replace(s_page[heading.Index..(end < 0 ? s_page.Length : end)], " ");
            }
        );

    private static readonly Remedy[] s_remedies =
    [
        .. Directory
            .GetFiles(Repository.At("tests", "long", "remedies"), "*.patch")
            .Select(path =>
            {
                string[] lines = File.ReadAllLines(path);
                string[] test = lines.First(line => line.StartsWith("test: ", StringComparison.Ordinal)).Split(' ');
                string name = Path.GetFileName(path);
                return new Remedy(int.Parse(name.AsSpan(1, 2), CultureInfo.InvariantCulture), name, lines[0], test[2].Trim('*', '.'));
            }),
    ];

    [GeneratedRegex("""^<a id="k(\d+)"></a>\n## K(\d+): \S""", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"\s+")]
    private static partial Regex Spaces();

    [GeneratedRegex(@"\bK([1-9]\d?)\b")]
    private static partial Regex Number();

    [GeneratedRegex(@"(?<![\w/])(?:src/|tests/|[A-Z]\w+/|core/|match/|update/|include/)[\w./]+\.(?:cs|c|h)\b")]
    private static partial Regex SourceFile();

    [Fact]
    public void Each_hazard_has_one_chapter_and_an_anchor_of_its_number()
    {
        Assert.Equal(Enumerable.Range(1, Last), s_chapters.Keys.Order());
        foreach (Match heading in Heading().Matches(s_page))
            Assert.Equal(heading.Groups[1].Value, heading.Groups[2].Value);
        foreach (int number in s_chapters.Keys)
            Assert.Contains($"[K{number}](#k{number})", s_page, StringComparison.Ordinal);
    }

    [Fact]
    public void Each_number_that_is_cited_is_a_hazards()
    {
        List<string> unknown = [];
        HashSet<int> cited = [];
        foreach (string folder in (string[])["src", "tests", "docs"])
        {
            foreach (string path in Directory.EnumerateFiles(Repository.At(folder), "*", SearchOption.AllDirectories))
            {
                if (
                    IsMade(path)
                    || Path.GetExtension(path)
                        is not (".cs" or ".c" or ".h" or ".md" or ".csv" or ".patch" or ".targets" or ".props" or ".sh" or "")
                )
                    continue;
                foreach (Match match in Number().Matches(File.ReadAllText(path)))
                {
                    int number = int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture);
                    cited.Add(number);
                    if (!s_chapters.ContainsKey(number))
                        unknown.Add($"{Path.GetRelativePath(Repository.Root, path)}: K{number}");
                }
            }
        }
        Assert.Empty(unknown);
        // It has looked at all.
        Assert.True(cited.Count >= 21, string.Join(' ', cited.Order()));
    }

    [Fact]
    public void Each_chapter_names_the_patches_that_take_its_remedy_out_and_their_tests_or_says_that_there_is_none()
    {
        List<string> wrong = [];
        foreach (var (number, chapter) in s_chapters)
        {
            var patches = s_remedies.Where(remedy => remedy.Hazard == number).ToList();
            if (patches.Count == 0 != chapter.Contains(NoPatch, StringComparison.Ordinal))
                wrong.Add($"K{number}: {patches.Count} patches, and the chapter says otherwise");
            foreach (var patch in patches)
            {
                if (!chapter.Contains(patch.File, StringComparison.Ordinal))
                    wrong.Add($"K{number}: {patch.File} is not named");
                if (!chapter.Contains(patch.Test, StringComparison.Ordinal))
                    wrong.Add($"K{number}: {patch.Test}, the test of {patch.File}, is not named");
            }
        }
        wrong.AddRange(
            s_remedies.Where(remedy => !s_chapters.ContainsKey(remedy.Hazard)).Select(remedy => $"{remedy.File} is no hazard's")
        );
        Assert.Empty(wrong);
    }

    [Fact]
    public void Each_file_that_a_chapter_names_is_there()
    {
        List<string> missing = [];
        int found = 0;
        foreach (var (number, chapter) in s_chapters)
        {
            foreach (Match match in SourceFile().Matches(chapter))
            {
                string[] roots = ["", "src/Ksplice.Build", "src/Ksplice.Kernel"];
                if (roots.Any(root => File.Exists(Repository.At(root, match.Value))))
                    found++;
                else if (!chapter.Contains(NoPatch, StringComparison.Ordinal))
                    missing.Add($"K{number}: {match.Value}");
            }
        }
        Assert.Empty(missing);
        Assert.True(found >= 30, $"{found} files");
    }

    private static bool IsMade(string path) =>
        path.Split(Path.DirectorySeparatorChar) is var parts && (parts.Contains("bin") || parts.Contains("obj"));
}
