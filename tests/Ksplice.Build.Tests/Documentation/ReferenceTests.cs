// SPDX-License-Identifier: MIT
// docs/reference.md lists the properties, items and targets of the Sdk. What the files of its folder Sdk read has to be on the page,
// and what is on the page has to be in these files. Names that begin with _ are the Sdk's own.
using System.Text.RegularExpressions;
using System.Xml.Linq;

namespace Ksplice.Build.Tests.Documentation;

public sealed partial class ReferenceTests
{
    private const StringComparison Exact = StringComparison.Ordinal;
    private const string Ending = "DependsOn";

    private static readonly string[] s_files = Directory.GetFiles(Repository.At("src", "Ksplice.Tasks", "Sdk"));

    // Metadata of MSBuild itself, in lists of files.
    private static readonly string[] s_wellKnown = ["FullPath", "Identity"];

    private static readonly XDocument[] s_sdk = [.. s_files.Select(file => XDocument.Load(file))];
    private static readonly string s_text = string.Concat(s_files.Select(File.ReadAllText));
    private static readonly string s_page = File.ReadAllText(Repository.At("docs", "reference.md"));

    [GeneratedRegex(@"\$\(([A-Za-z]\w*)")]
    private static partial Regex Property();

    [GeneratedRegex(@"@\(([A-Za-z]\w*)|%\(([A-Za-z]\w*)\.")]
    private static partial Regex Item();

    [GeneratedRegex("`([A-Za-z]\\w*)`")]
    private static partial Regex Name();

    [GeneratedRegex(@"%\((?:\w+\.)?(\w+)\)")]
    private static partial Regex Metadata();

    [Fact]
    public void Each_property_that_the_Sdk_reads_is_on_the_page_and_no_other() =>
        Compare(
            Property().Matches(s_text).Select(match => match.Groups[1].Value).Where(name => !name.StartsWith("MSBuild", Exact)),
            [.. InGroups("PropertyGroup"), .. Outputs("PropertyName")],
            [.. FirstCells("Properties"), .. Name().Matches(Sentence("The properties for this are")).Select(match => match.Groups[1].Value)]
        );

    [Fact]
    public void Each_item_that_the_Sdk_reads_is_on_the_page_and_no_other() =>
        Compare(
            Item().Matches(s_text).Select(match => match.Groups[1].Value + match.Groups[2].Value),
            [.. InGroups("ItemGroup"), .. Outputs("ItemName")],
            [.. FirstCells("Items"), .. Name().Matches(Sentence("The Sdk empties")).Select(match => match.Groups[1].Value)]
        );

    [Fact]
    public void Each_target_of_the_Sdk_is_on_the_page_and_no_other()
    {
        var targets = s_sdk.SelectMany(file => file.Descendants("Target")).Select(target => target.Attribute("Name")!.Value);
        Compare(targets, [], FirstCells("Targets"));
    }

    [Fact]
    public void Each_target_that_a_stage_depends_on_by_a_property_is_named_so()
    {
        var properties = InGroups("PropertyGroup").Where(name => name.StartsWith("Ksplice", Exact) && name.EndsWith(Ending, Exact));
        Assert.Empty(properties.Select(name => name[..^Ending.Length]).Except(FirstCells("Targets")));
    }

    [Fact]
    public void Each_metadata_that_the_Sdk_reads_of_its_items_is_on_the_page()
    {
        var read = Metadata().Matches(s_text).Select(match => match.Groups[1].Value).Except(s_wellKnown).ToList();
        Assert.Contains("UpdateId", read);
        Assert.Empty(read.Except(Name().Matches(Section("Items")).Select(match => match.Groups[1].Value)));
    }

    private static void Compare(IEnumerable<string> read, IEnumerable<string> alsoKnown, IEnumerable<string> listed)
    {
        HashSet<string> needed = [.. read.Where(name => !name.StartsWith('_'))];
        HashSet<string> page = [.. listed];
        // It has looked at all.
        Assert.True(needed.Count >= 10, $"{needed.Count} names in the Sdk");
        Assert.Empty(needed.Except(page).Select(name => $"{name} is not on the page"));
        Assert.Empty(page.Except(needed).Except(alsoKnown).Select(name => $"the Sdk does not know {name}"));
    }

    private static IEnumerable<string> InGroups(string group) =>
        s_sdk.SelectMany(file => file.Descendants(group)).Elements().Select(element => element.Name.LocalName);

    private static IEnumerable<string> Outputs(string attribute) =>
        s_sdk.SelectMany(file => file.Descendants("Output")).Select(output => output.Attribute(attribute)?.Value).OfType<string>();

    private static string Section(string title)
    {
        int start = s_page.IndexOf($"\n## {title}\n", Exact);
        Assert.True(start >= 0, title);
        int end = s_page.IndexOf("\n## ", start + 1, Exact);
        return end < 0 ? s_page[start..] : s_page[start..end];
    }

    private static string Sentence(string beginning)
    {
        int start = s_page.IndexOf(beginning, Exact);
        Assert.True(start >= 0, beginning);
        return s_page[start..s_page.IndexOf("\n\n", start, Exact)];
    }

    private static IEnumerable<string> FirstCells(string title) =>
        Section(title)
            .Split('\n')
            .Where(line => line.StartsWith("| `", Exact))
            .SelectMany(line => Name().Matches(line.Split('|')[1]).Select(match => match.Groups[1].Value));
}
