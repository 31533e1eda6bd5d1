// SPDX-License-Identifier: MIT
// Ids are a promise to people who look them up: code, list and documentation have to name the same rules.
using System.Reflection;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Tests.Diagnostics;

/// <summary>Every diagnostic is listed and documented, and nothing else is.</summary>
public sealed class ReleaseTrackingTests
{
    // The thousands of an id name the stage, the category in the list does so in words.
    private static readonly Dictionary<char, string[]> Categories = new()
    {
        ['1'] = ["Input", "Patching"],
        ['2'] = ["Build"],
        ['3'] = ["Differencing"],
        ['4'] = ["Matching"],
        ['5'] = ["Analysis"],
        ['6'] = ["Generation"],
    };

    private static readonly List<DiagnosticDescriptor> Descriptors =
    [
        .. typeof(DiagnosticDescriptor)
            .Assembly.GetTypes()
            .SelectMany(type =>
                type.GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
            )
            .Where(field => field.FieldType == typeof(DiagnosticDescriptor))
            .Select(field => (DiagnosticDescriptor)field.GetValue(null)!),
    ];

    [Fact]
    public void Ids_are_unique_and_well_formed()
    {
        Assert.True(Descriptors.Count > 50);
        Assert.All(Descriptors, descriptor => Assert.Matches(@"^KSP[1-6]\d{3}$", descriptor.Id));
        Assert.Empty(Descriptors.GroupBy(descriptor => descriptor.Id).Where(group => group.Count() > 1).Select(group => group.Key));
    }

    [Fact]
    public void Every_descriptor_has_its_line_in_the_list_and_no_other_is_listed()
    {
        string[] head = ["### New Rules", "", "Rule ID | Category | Severity | Notes", "--------|----------|----------|------"];
        var shipped = File.ReadAllLines(Repository.At("src/Ksplice.Build/AnalyzerReleases.Shipped.md"));
        var lines = File.ReadAllLines(Repository.At("src/Ksplice.Build/AnalyzerReleases.Unshipped.md"));
        Assert.Equal(["## Release 0.1.0", "", .. head], shipped.Take(6));
        Assert.Equal(head, lines.Take(4));
        string[] changes =
        [
            "",
            "### Changed Rules",
            "",
            "Rule ID | New Category | New Severity | Old Category | Old Severity | Notes",
            "--------|--------------|--------------|--------------|--------------|------",
        ];
        var added = lines.Skip(4).TakeWhile(line => line.Length != 0).ToList();
        var rest = lines.Skip(4 + added.Count).ToList();
        Assert.Equal(rest.Count == 0 ? [] : changes, rest.Take(changes.Length));
        var rows = shipped.Skip(6).Concat(added).Select(line => line.Split(" | ")).ToList();
        Assert.All(rows, row => Assert.Equal(4, row.Length));
        foreach (string[] change in rest.Skip(changes.Length).Select(line => line.Split(" | ")))
        {
            Assert.Equal(6, change.Length);
            var row = Assert.Single(rows, row => row[0] == change[0]);
            Assert.Equal([change[3], change[4], change[5]], row[1..]);
            (row[1], row[2]) = (change[1], change[2]);
        }
        Assert.All(rows, row => Assert.Contains(row[1], Categories[row[0][3]]));
        Assert.Equal(
            Descriptors.Select(descriptor => $"{descriptor.Id} {descriptor.Severity} {descriptor.Title}").Order(StringComparer.Ordinal),
            rows.Select(row => $"{row[0]} {row[2]} {row[3]}").Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public void Every_descriptor_has_its_page_and_no_other_page_is_there()
    {
        var pages = Directory
            .GetFiles(Repository.At("docs/diagnostics"))
            .ToDictionary(path => Path.GetFileName(path)!, path => File.ReadLines(path).FirstOrDefault());
        Assert.Equal(
            Descriptors
                .Select(descriptor => $"{Path.GetFileName(descriptor.HelpLink)} # {descriptor.Id}: {descriptor.Title}")
                .Order(StringComparer.Ordinal),
            pages.Where(page => page.Key != "README.md").Select(page => $"{page.Key} {page.Value}").Order(StringComparer.Ordinal)
        );
    }

    // A page is what somebody reads who has met the rule: it says what the descriptor says.
    [Fact]
    public void Every_page_tells_severity_cause_an_example_in_the_rules_words_and_what_to_do()
    {
        List<string> wrong = [];
        foreach (var descriptor in Descriptors)
        {
            string page = File.ReadAllText(Repository.At("docs", "diagnostics", descriptor.Id + ".md"));
            string severity = descriptor.Severity.ToString().ToLowerInvariant();
            int[] places =
            [
                .. ((string[])["\n\nSeverity: " + severity, "\n\n## Cause\n\n", "\n\n## Example\n\n", "\n\n## What to do\n\n"]).Select(
                    part => page.IndexOf(part, StringComparison.Ordinal)
                ),
            ];
            if (places.Contains(-1) || !places.SequenceEqual(places.Order()))
                wrong.Add($"{descriptor.Id}: wanted are 'Severity: {severity}', then ## Cause, ## Example, ## What to do");
            // As MSBuild shows it, up to the first thing that the message is filled in with.
            string shown = severity == "info" ? "message" : severity;
            string words = descriptor.MessageFormat.Split('{')[0];
            if (
                !System.Text.RegularExpressions.Regex.IsMatch(
                    page,
                    $"\n    .*{shown} {descriptor.Id}: {System.Text.RegularExpressions.Regex.Escape(words)}"
                )
            )
                wrong.Add($"{descriptor.Id}: no code block with an example with '{shown} {descriptor.Id}: {words}'");
            if (page.Contains("{0}", StringComparison.Ordinal))
                wrong.Add($"{descriptor.Id}: an example without what fills it in");
        }
        Assert.Empty(wrong);
    }
}
