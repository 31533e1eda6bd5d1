// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.RegularExpressions;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Kernel;

namespace Ksplice.Corpus;

/// <summary>A security fix: an entry of the package's changelog, and the files that differ for it.</summary>
/// <param name="Advisory">The first CVE id that the entry names.</param>
/// <param name="Subject">The entry, which is the subject of the kernel's commit.</param>
/// <param name="Files">Paths in the source tree, sorted.</param>
/// <param name="Modules">The modules that these files are built into, sorted; empty if all are in the kernel itself.</param>
/// <param name="Others">How many further entries that name a CVE have the same files.</param>
internal sealed record Fix(string Advisory, string Subject, IReadOnlyList<string> Files, IReadOnlyList<string> Modules, int Others);

/// <summary>
/// Finds the fixes with a CVE between two versions of a source package, by this rule. An entry of the changelog belongs to the changed
/// files in whose changed lines, or in the heading of whose hunks, stands an identifier that its subject names: a word with an
/// underscore, or one that <c>()</c> follows, of more than four letters, behind the last colon. Of these files only those count of which
/// a part of the path's names is a word of the subject before that colon. The entry is taken if one to five files are left, all of them
/// sources of units or headers that such can include, and one at least a unit's source. Entries with the same files are one fix.
/// </summary>
/// <param name="kernel">The kernel of the older version.</param>
/// <param name="newer">The newer version's tree.</param>
internal sealed partial class FixList(PreparedKernel kernel, string newer)
{
    private const int MostFiles = 5;

    /// <summary>The fixes in the changelog's order: of the text above the heading of <paramref name="since"/>, the older version.</summary>
    public async Task<IReadOnlyList<Fix>> FindAsync(string changelog, string since, CancellationToken cancellation)
    {
        Dictionary<string, HashSet<string>> words = [];
        foreach (string file in ChangedFiles())
            words[file] = [.. Changed(await DiffAsync(file, cancellation).ConfigureAwait(false))];
        ILookup<string, string?> units = kernel.Units.Units.ToLookup(unit => unit.Source, unit => unit.Module);
        Dictionary<string, Fix> found = [];
        List<string> order = [];
        foreach (string entry in Entries(changelog, since))
        {
            string advisory = Advisory.Match(entry).Value;
            string subject = AdvisoryList.Replace(entry, "");
            int colon = subject.LastIndexOf(": ", StringComparison.Ordinal);
            if (advisory.Length == 0 || colon < 0)
                continue;
            string[] named = [.. Named.Matches(subject[colon..]).Select(match => match.Groups["name"].Value)];
            HashSet<string> area = new(Word.Matches(subject[..colon]).Select(match => match.Value), StringComparer.OrdinalIgnoreCase);
            string[] files =
            [
                .. words
                    .Where(file => named.Any(file.Value.Contains) && Word.Matches(file.Key).Any(word => area.Contains(word.Value)))
                    .Select(file => file.Key)
                    .Order(StringComparer.Ordinal),
            ];
            if (
                files.Length is 0 or > MostFiles
                || !files.All(file => units.Contains(file) || IsHeader(file))
                || !files.Any(units.Contains)
            )
                continue;
            string key = string.Join(' ', files);
            if (found.TryGetValue(key, out var same))
            {
                found[key] = same with { Others = same.Others + 1 };
                continue;
            }
            order.Add(key);
            found[key] = new(
                advisory,
                subject,
                files,
                [.. files.SelectMany(file => units[file]).OfType<string>().Distinct().Order(StringComparer.Ordinal)],
                0
            );
        }
        return [.. order.Select(key => found[key])];
    }

    /// <summary>
    /// Writes the table fixes.csv (cve, others, files, modules, subject; lists are blank-separated) and, for the row with the id CVE,
    /// CVE/fix.patch, a unified diff of the row's files.
    /// </summary>
    public async Task WriteAsync(IReadOnlyList<Fix> fixes, string folder, CancellationToken cancellation)
    {
        StringBuilder table = new("cve,others,files,modules,subject\n");
        foreach (var fix in fixes)
        {
            table.Append(
                $"{fix.Advisory},{fix.Others},{string.Join(' ', fix.Files)},{string.Join(' ', fix.Modules)},"
                    + $"{fix.Subject.Replace(',', ';')}\n"
            );
            StringBuilder patch = new();
            foreach (string file in fix.Files)
                patch.Append(await DiffAsync(file, cancellation).ConfigureAwait(false));
            string path = Path.Combine(Directory.CreateDirectory(Path.Combine(folder, fix.Advisory)).FullName, "fix.patch");
            await File.WriteAllTextAsync(path, patch.ToString(), Encoding.Latin1, cancellation).ConfigureAwait(false);
        }
        await File.WriteAllTextAsync(Path.Combine(folder, "fixes.csv"), table.ToString(), cancellation).ConfigureAwait(false);
    }

    /// <summary>The subjects of a Debian changelog above the heading of a version, each on one line.</summary>
    private static List<string> Entries(string changelog, string since)
    {
        List<string> entries = [];
        bool goesOn = false;
        // The source package is linux, or linux-6.12 where it was made for an older release of Debian.
        string heading = $" ({since})";
        foreach (
            string line in changelog
                .Split('\n')
                .TakeWhile(line => line.StartsWith(' ') || !line.Contains(heading, StringComparison.Ordinal))
        )
        {
            if (Entry.Match(line) is { Success: true } entry)
            {
                entries.Add(entry.Groups["text"].Value);
                goesOn = true;
            }
            else if (goesOn && line.StartsWith("      ", StringComparison.Ordinal))
                entries[^1] += " " + line.Trim();
            else
                goesOn = false;
        }
        return entries;
    }

    private IEnumerable<string> ChangedFiles() =>
        Directory
            .EnumerateFiles(newer, "*", SearchOption.AllDirectories)
            .Select(file => Path.GetRelativePath(newer, file))
            .Where(file => file.EndsWith(".c", StringComparison.Ordinal) || IsHeader(file))
            .Where(file =>
                File.Exists(Path.Combine(kernel.SourceDirectory, file))
                && !File.ReadAllBytes(Path.Combine(newer, file))
                    .AsSpan()
                    .SequenceEqual(File.ReadAllBytes(Path.Combine(kernel.SourceDirectory, file)))
            );

    private static bool IsHeader(string file) =>
        file.EndsWith(".h", StringComparison.Ordinal)
        && !file.StartsWith("tools/", StringComparison.Ordinal)
        && (!file.StartsWith("arch/", StringComparison.Ordinal) || file.StartsWith("arch/x86/", StringComparison.Ordinal));

    private async Task<string> DiffAsync(string file, CancellationToken cancellation)
    {
        var diff = await Cli.Wrap("diff")
            .WithArguments([
                "-up",
                "--label",
                "a/" + file,
                "--label",
                "b/" + file,
                Path.Combine(kernel.SourceDirectory, file),
                Path.Combine(newer, file),
            ])
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(Encoding.Latin1, cancellation)
            .ConfigureAwait(false);
        return diff.StandardOutput;
    }

    // The words of the lines that a diff takes away and adds, and of its hunks' headings.
    private static IEnumerable<string> Changed(string diff) =>
        diff.Split('\n')
            .Skip(2)
            .Where(line => line.Length != 0 && line[0] is '+' or '-' or '@')
            .SelectMany(line => Identifier.Matches(line))
            .Select(match => match.Value);

    [GeneratedRegex(@"CVE-\d+-\d+")]
    private static partial Regex Advisory { get; }

    [GeneratedRegex(@" *\(CVE-[^)]*\)")]
    private static partial Regex AdvisoryList { get; }

    [GeneratedRegex(@"^(    -|  \*) (?<text>.*)", RegexOptions.ExplicitCapture)]
    private static partial Regex Entry { get; }

    [GeneratedRegex(@"(?<name>\b[A-Za-z]\w{4,})\(\)|(?<name>\b[A-Za-z]\w*_\w+)")]
    private static partial Regex Named { get; }

    [GeneratedRegex("[A-Za-z0-9]+")]
    private static partial Regex Word { get; }

    [GeneratedRegex(@"\w+")]
    private static partial Regex Identifier { get; }
}
