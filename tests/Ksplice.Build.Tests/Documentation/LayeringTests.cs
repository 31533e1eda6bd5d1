// SPDX-License-Identifier: MIT
// The folders of the engine are its stages. Each may use those before it and none behind it; docs/design.md shows who uses whom.
using System.Text.RegularExpressions;

namespace Ksplice.Build.Tests.Documentation;

public partial class LayeringTests
{
    // What the stages stand on comes first, then the stages in their order.
    private static readonly string[] Order =
    [
        "Files",
        "Elf",
        "Diagnostics",
        "Processes",
        "Dwarf",
        "Patching",
        "Kernel",
        "Differencing",
        "Targets",
        "Matching",
        "Generation",
        "Analysis",
        "Updates",
        "Reporting",
    ];

    [GeneratedRegex(@"^using (?:static )?Ksplice\.Build\.(\w+)", RegexOptions.Multiline)]
    private static partial Regex Using();

    private static Dictionary<string, string[]> Uses() =>
        Directory
            .GetDirectories(Repository.At("src", "Ksplice.Build"))
            .Where(folder => Directory.GetFiles(folder, "*.cs").Length != 0)
            .ToDictionary(
                folder => Path.GetFileName(folder),
                folder =>
                    Directory
                        .GetFiles(folder, "*.cs", SearchOption.AllDirectories)
                        .SelectMany(file => Using().Matches(File.ReadAllText(file)))
                        .Select(match => match.Groups[1].Value)
                        .Where(used => used != Path.GetFileName(folder))
                        .Distinct()
                        .OrderBy(used => Array.IndexOf(Order, used))
                        .ToArray()
            );

    [Fact]
    public void No_stage_uses_a_later_one()
    {
        var uses = Uses();
        Assert.Equal(Order.Order(StringComparer.Ordinal), uses.Keys.Order(StringComparer.Ordinal));
        Assert.Empty(
            from pair in uses
            from used in pair.Value
            where Array.IndexOf(Order, used) > Array.IndexOf(Order, pair.Key)
            select $"{pair.Key} uses {used}, which comes later"
        );
    }

    [Fact]
    public void The_map_in_the_documentation_is_true()
    {
        var uses = Uses();
        string map = string.Concat(Order.Select(folder => $"    {folder, -14}{string.Join(", ", uses[folder])}".TrimEnd() + "\n"));
        Assert.Contains(map, File.ReadAllText(Repository.At("docs", "design.md")), StringComparison.Ordinal);
    }
}
