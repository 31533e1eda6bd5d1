// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;

namespace Ksplice.Build.Tests.Documentation;

/// <summary>The table of docs/design.md that says which code knows that kernels differ.</summary>
public sealed partial class ReleaseTableTests
{
    private sealed record Row(string Where, string Decides);

    private static List<Row> Rows()
    {
        string text = File.ReadAllText(Repository.At("docs", "design.md"));
        int start = text.IndexOf("### What depends on the kernel's release\n", StringComparison.Ordinal);
        Assert.True(start >= 0);
        int end = text.IndexOf("\n### ", start + 1, StringComparison.Ordinal);
        List<Row> rows =
        [
            .. text[start..end]
                .Split('\n')
                .Where(line => line.StartsWith("| ", StringComparison.Ordinal))
                .Select(line => line.Split('|', StringSplitOptions.TrimEntries))
                .Where(cells => cells[1] != "where")
                .Select(cells => new Row(cells[1], cells[3])),
        ];
        Assert.NotEmpty(rows);
        return rows;
    }

    [Fact]
    public void Each_place_that_asks_for_a_release_is_listed_with_it()
    {
        string kernel = Repository.At("src", "Ksplice.Kernel");
        string[] asking =
        [
            .. from file in Directory.GetFiles(kernel, "*", SearchOption.AllDirectories)
            from Match match in VersionPattern().Matches(File.ReadAllText(file))
            select $"{Path.GetRelativePath(kernel, file)} {match.Groups["major"].Value}.{match.Groups["minor"].Value}",
        ];
        string[] listed =
        [
            .. Rows()
                .Where(row => row.Decides.StartsWith("`LINUX_VERSION_CODE`, ", StringComparison.Ordinal))
                .Select(row => row.Where + " " + row.Decides[(row.Decides.LastIndexOf(' ') + 1)..]),
        ];
        Assert.Equal(asking.Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal), listed.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void What_the_table_names_exists()
    {
        string[] types =
        [
            .. Directory
                .GetFiles(Repository.At("src", "Ksplice.Build"), "*.cs", SearchOption.AllDirectories)
                .Select(file => Path.GetFileNameWithoutExtension(file)),
        ];
        foreach (string place in Rows().SelectMany(row => row.Where.Split(", ")))
        {
            bool exists = place.StartsWith('`')
                ? types.Contains(place.Trim('`'), StringComparer.Ordinal)
                : File.Exists(Repository.At(place)) || File.Exists(Repository.At("src", "Ksplice.Kernel", place));
            Assert.True(exists, place);
        }
    }

    [GeneratedRegex(@"\bKERNEL_VERSION\((?<major>\d+), (?<minor>\d+), \d+\)")]
    private static partial Regex VersionPattern();
}
