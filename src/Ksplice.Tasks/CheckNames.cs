// SPDX-License-Identifier: MIT
// MSBuild takes any name for a property: what is misspelt is a property that nobody reads. A project that sets UpdateSiningKey would be
// built, and not be signed. The names that the Sdk reads stand in its own files.
using System.Text.RegularExpressions;
using System.Xml;
using System.Xml.Linq;
using Ksplice.Build.Diagnostics;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>
/// Warns of properties and items with names like the Sdk's that the Sdk does not read, and of patterns that match no file.
/// </summary>
public sealed partial class CheckNames : KspliceTask
{
    private static readonly string[] FileItems = ["KernelPatch", "KernelBasePatch", "KernelBaseUpdate"];

    /// <summary>
    /// The project, and the files that it imports and that are the project's own too. Those that do not exist are left out.
    /// </summary>
    [Required]
    public ITaskItem[] ProjectFiles { get; set; } = [];

    /// <summary>The Sdk's own files.</summary>
    [Required]
    public ITaskItem[] SdkFiles { get; set; } = [];

    /// <summary>The items that the project's patterns gave.</summary>
    public ITaskItem[] Items { get; set; } = [];

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        HashSet<string> known = new(StringComparer.OrdinalIgnoreCase);
        foreach (var file in SdkFiles)
            known.UnionWith(SdkNames().Matches(File.ReadAllText(file.ItemSpec)).Select(match => match.Groups[1].Value));
        var global = BuildEngine is IBuildEngine6 engine ? engine.GetGlobalProperties().Keys : [];
        foreach (string name in global.Where(IsLikeOurs).Where(name => !known.Contains(name)))
            Unknown("property", name, known, null);
        foreach (
            string file in ProjectFiles.Select(file => file.GetMetadata("FullPath")).Where(File.Exists).Distinct(StringComparer.Ordinal)
        )
        {
            XDocument project;
            try
            {
                project = XDocument.Load(file, LoadOptions.SetLineInfo);
            }
            catch (XmlException)
            {
                // MSBuild has read the file itself: it was changed a moment ago.
                continue;
            }
            foreach (var element in project.Descendants().Where(element => element.Parent is { } parent && IsGroup(parent)))
                Check(element, file, known);
        }
        return Task.FromResult(true);
    }

    private static bool IsGroup(XElement element) => element.Name.LocalName is "PropertyGroup" or "ItemGroup";

    private static bool IsLikeOurs(string name) => OurNames().IsMatch(name);

    private void Check(XElement element, string file, HashSet<string> known)
    {
        string name = element.Name.LocalName;
        SourceLocation place = element is IXmlLineInfo line ? new(file, line.LineNumber, line.LinePosition) : new(file);
        bool isProperty = element.Parent!.Name.LocalName == "PropertyGroup";
        if (IsLikeOurs(name) && !known.Contains(name))
            Unknown(isProperty ? "property" : "item", name, known, place);
        if (isProperty || !FileItems.Contains(name, StringComparer.OrdinalIgnoreCase))
            return;
        // What depends on a condition, or is put together from other things, may rightly give nothing.
        if (element.AncestorsAndSelf().Any(ancestor => ancestor.Attribute("Condition") is not null || ancestor.Name.LocalName == "Target"))
            return;
        foreach (string pattern in (element.Attribute("Include")?.Value ?? "").Split(';', StringSplitOptions.TrimEntries))
        {
            if (pattern.AsSpan().ContainsAny("*?") && !pattern.AsSpan().ContainsAny("$@%") && !Matches(pattern, file))
                Diagnostics.Report(ProjectDiagnostics.NoFileOfPattern, place, pattern, name);
        }
    }

    // Patterns count from the project, which comes first, also where another file has them.
    private bool Matches(string pattern, string file)
    {
        string folder = Path.GetDirectoryName(ProjectFiles.Length == 0 ? file : ProjectFiles[0].GetMetadata("FullPath"))!;
        string path = Regex.Escape(Path.GetFullPath(Path.Combine(folder, pattern.Replace('\\', '/'))));
        path = path.Replace(@"\*\*/", "(.*/)?", StringComparison.Ordinal)
            .Replace(@"\*", "[^/]*", StringComparison.Ordinal)
            .Replace(@"\?", "[^/]", StringComparison.Ordinal);
        return Items.Any(item => Regex.IsMatch(item.GetMetadata("FullPath"), $"^{path}$", RegexOptions.None, TimeSpan.FromSeconds(1)));
    }

    private void Unknown(string kind, string name, HashSet<string> known, SourceLocation? place) =>
        Diagnostics.Report(
            ProjectDiagnostics.UnknownName,
            place ?? new SourceLocation(ProjectFiles.Length == 0 ? "" : ProjectFiles[0].GetMetadata("FullPath")),
            kind,
            name,
            known.OrderBy(one => Distance(one, name)).ThenBy(one => one, StringComparer.Ordinal).First()
        );

    // How many letters have to be put in, taken out or changed.
    private static int Distance(string one, string other)
    {
        int[] row = [.. Enumerable.Range(0, other.Length + 1)];
        for (int i = 1; i <= one.Length; i++)
        {
            int diagonal = row[0];
            row[0] = i;
            for (int j = 1; j <= other.Length; j++)
                (diagonal, row[j]) = (row[j], Math.Min(Math.Min(row[j], row[j - 1]) + 1, diagonal + (one[i - 1] == other[j - 1] ? 0 : 1)));
        }
        return row[^1];
    }

    // Properties and items that are read, and what the Sdk itself sets.
    [GeneratedRegex(@"(?:[$@]\(|<)((?:Kernel|Update|Ksplice)\w+)")]
    private static partial Regex SdkNames();

    [GeneratedRegex(@"^(?:Kernel|Update|Ksplice)[A-Z]\w*$")]
    private static partial Regex OurNames();
}
