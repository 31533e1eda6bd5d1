// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using Ksplice.Build.Kernel;
using Ksplice.Build.Updates;

namespace Ksplice.Corpus;

/// <summary>What became of one fix: a line of docs/results/evaluation.csv.</summary>
/// <param name="Advisory">The fix's CVE id.</param>
/// <param name="Result"><c>updated</c>, <c>unchanged</c>, <c>not_alone</c> (does not compile without others) or <c>refused</c>.</param>
/// <param name="Diagnostic">The first error's id.</param>
/// <param name="Lines">How many lines the patch takes away and adds.</param>
/// <param name="Files">How many files it changes.</param>
/// <param name="Modules">The loadable modules that it changes, blank-separated.</param>
/// <param name="Replaced">How many functions are replaced.</param>
/// <param name="Inlined">In how many of these the first difference is in a function that was inlined.</param>
/// <param name="New">How many functions are new.</param>
/// <param name="Ambiguous">How many names that the new code refers to stand more than once in the kernel's symbol table.</param>
/// <param name="Bytes">The archive's size.</param>
/// <param name="Seconds">The time of `dotnet build`.</param>
/// <param name="Guest"><c>ok</c> if it was applied and undone in a guest, else the step that failed; empty if it was not tried.</param>
/// <param name="Pause">Milliseconds under stop_machine while it was applied.</param>
internal sealed partial record EvaluationRow(
    string Advisory,
    string Result,
    string Diagnostic,
    int Lines,
    int Files,
    string Modules,
    int Replaced,
    int Inlined,
    int New,
    int Ambiguous,
    long Bytes,
    double Seconds,
    string Guest,
    string Pause
)
{
    private const int BinWidth = 5;
    private const int Bins = 17;

    /// <summary>
    /// Reads what benchmarks/evaluation left in a folder: fixes.csv, guest.csv, and for each fix a folder with fix.patch, build.log (whose
    /// last line is <c>code N seconds S</c>), bin and obj.
    /// </summary>
    public static IReadOnlyList<EvaluationRow> Read(string folder, KernelImage image)
    {
        var guest = File.ReadLines(Path.Combine(folder, "guest.csv")).Select(line => line.Split(',')).ToDictionary(cells => cells[0]);
        HashSet<string> several =
        [
            .. image.Symbols.Symbols.CountBy(symbol => symbol.Name).Where(count => count.Value > 1).Select(count => count.Key),
        ];
        List<EvaluationRow> rows = [];
        foreach (string[] fix in File.ReadLines(Path.Combine(folder, "fixes.csv")).Skip(1).Select(line => line.Split(',')))
        {
            string project = Path.Combine(folder, fix[0]);
            string log = File.ReadAllText(Path.Combine(project, "build.log"));
            var end = Ended.Match(log);
            bool built = end.Groups["code"].Value == "0";
            string error = built ? "" : FirstError.Match(log).Groups["id"].Value;
            string? described = One(project, "obj", "update.json"),
                archive = One(project, "bin", "*.tar.zst");
            var units = built && described is not null ? UpdateDescription.Read(described, "run the build again").Units : [];
            var replaced = units.SelectMany(unit => unit.Replaced).ToList();
            string[] tried = guest.GetValueOrDefault(fix[0]) ?? [fix[0], "", ""];
            rows.Add(
                new(
                    fix[0],
                    !built
                        ? error == KernelDiagnostics.CompilerError.Id
                            ? "not_alone"
                            : "refused"
                        : archive is null
                            ? "unchanged"
                            : "updated",
                    error,
                    File.ReadLines(Path.Combine(project, "fix.patch"))
                        .Count(line =>
                            line.Length != 0
                            && line[0] is '+' or '-'
                            && !line.StartsWith("+++ ", StringComparison.Ordinal)
                            && !line.StartsWith("--- ", StringComparison.Ordinal)
                        ),
                    fix[2].Split(' ').Length,
                    fix[3],
                    replaced.Count,
                    replaced.Count(function => function.Inlined is not null),
                    units.Sum(unit => unit.New.Count),
                    units.SelectMany(unit => unit.Needs).Distinct().Count(several.Contains),
                    archive is null ? 0 : new FileInfo(archive).Length,
                    double.Parse(end.Groups["seconds"].Value, CultureInfo.InvariantCulture),
                    tried[1],
                    tried[2]
                )
            );
        }
        return rows;
    }

    /// <summary>The table.</summary>
    public static string ToCsv(IEnumerable<EvaluationRow> rows) =>
        "cve,result,diagnostic,lines,files,modules,replaced,inlined,new,ambiguous,bytes,seconds,guest,pause_ms\n"
        + string.Concat(
            rows.Select(row =>
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{row.Advisory},{row.Result},{row.Diagnostic},{row.Lines},{row.Files},{row.Modules},{row.Replaced},{row.Inlined},"
                        + $"{row.New},{row.Ambiguous},{row.Bytes},{row.Seconds:f1},{row.Guest},{row.Pause}\n"
                )
            )
        );

    /// <summary>Figure 3 of the paper: number of patches by patch length, those without new code below the others.</summary>
    public static string ToSvg(IReadOnlyList<EvaluationRow> rows)
    {
        var bins = Enumerable
            .Range(0, Bins)
            .Select(bin => rows.Where(row => Math.Min((row.Lines - 1) / BinWidth, Bins - 1) == bin).ToList())
            .ToList();
        int most = Math.Max(1, bins.Max(bin => bin.Count));
        const int Left = 50,
            Bottom = 300,
            Height = 260,
            Step = 32;
        StringBuilder svg = new();
        svg.Append("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 620 360\" font-family=\"sans-serif\" font-size=\"11\">\n");
        svg.Append("<rect width=\"620\" height=\"360\" fill=\"white\"/>\n");
        for (int count = 0; count <= most; count += Math.Max(1, most / BinWidth))
        {
            int y = Bottom - count * Height / most;
            svg.Append(
                $"<path d=\"M{Left} {y}H600\" stroke=\"#ddd\"/><text x=\"{Left - 6}\" y=\"{y + 4}\" text-anchor=\"end\">{count}</text>\n"
            );
        }
        for (int bin = 0; bin < Bins; bin++)
        {
            int x = Left + 4 + bin * Step,
                all = bins[bin].Count * Height / most,
                updated = bins[bin].Count(row => row.Result is "updated" or "unchanged") * Height / most;
            svg.Append($"<rect x=\"{x}\" y=\"{Bottom - all}\" width=\"{Step - 6}\" height=\"{all - updated}\" fill=\"#d1495b\"/>\n");
            svg.Append($"<rect x=\"{x}\" y=\"{Bottom - updated}\" width=\"{Step - 6}\" height=\"{updated}\" fill=\"#1b6ca8\"/>\n");
            string label = bin == Bins - 1 ? $"{bin * BinWidth + 1}+" : $"{(bin + 1) * BinWidth}";
            svg.Append($"<text x=\"{x + (Step - 6) / 2}\" y=\"{Bottom + 16}\" text-anchor=\"middle\">{label}</text>\n");
        }
        svg.Append("<text x=\"320\" y=\"340\" text-anchor=\"middle\">lines that the patch takes away and adds, at most</text>\n");
        svg.Append("<text x=\"320\" y=\"22\" text-anchor=\"middle\">Patches: blue without new code, red with or refused</text>\n</svg>\n");
        return svg.ToString();
    }

    private static string? One(string project, string below, string pattern)
    {
        string folder = Path.Combine(project, below);
        return Directory.Exists(folder) ? Directory.EnumerateFiles(folder, pattern, SearchOption.AllDirectories).SingleOrDefault() : null;
    }

    [GeneratedRegex(@"^code (?<code>\d+) seconds (?<seconds>[\d.]+)$", RegexOptions.Multiline)]
    private static partial Regex Ended { get; }

    [GeneratedRegex(@": error (?<id>KSP\d+)")]
    private static partial Regex FirstError { get; }
}
