using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Reporting;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Writes the report of an update beside its package.</summary>
public sealed class WriteReport : KspliceTask
{
    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The folder of the kernel cache, if not the usual one.</summary>
    public string? Cache { get; set; }

    /// <summary>The units, with Pre and Post.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The list of units and of lines that patches brought.</summary>
    [Required]
    public string UnitsFile { get; set; } = "";

    /// <summary>The post tree.</summary>
    [Required]
    public string PostTree { get; set; } = "";

    /// <summary>What <see cref="AnalyzeUnits"/> said.</summary>
    [Required]
    public string SarifFile { get; set; } = "";

    /// <summary>What <see cref="MatchUpdate"/> wrote.</summary>
    [Required]
    public string MatchReport { get; set; } = "";

    /// <summary>The file that says where the package is.</summary>
    [Required]
    public string PathFile { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        string package = File.ReadAllText(PathFile);
        if (UnitDiffs.Find(Units, Diagnostics) is not { } diffs)
            return Task.FromResult(false);
        var manifest = UpdateManifest.FromJson(File.ReadAllBytes(Path.Combine(package, UpdateManifest.FileName)));
        string source = OpenCache(Cache).SourceOf(Tasks.KernelFile.Open(KernelFile).Release);
        var units = UnitList.Open(UnitsFile);
        SourceText text = new();
        var said = UpdateReport.ReadSarif(File.ReadAllBytes(SarifFile));
        string report = HtmlReport.Write(
            new(
                manifest,
                diffs,
                said,
                UpdateReport.ReadPlaces(File.ReadAllText(MatchReport)),
                location => text.Line(location with { Path = Path.Combine(source, location.Path) }),
                location => text.Line(PatchedSource.Find(location, units, PostTree))
            )
        );
        string output = ReportOf(package);
        File.WriteAllText(output + ".new", report, new UTF8Encoding(false));
        File.Move(output + ".new", output, overwrite: true);
        if (Record is not null)
            StageRecord.Write(
                Record,
                "",
                [KernelFile, SarifFile, MatchReport, PathFile, Path.Combine(package, UpdateManifest.FileName), .. UnitDiffs.Objects(Units)],
                [output]
            );
        Log.LogMessage(
            MessageImportance.High,
            "{0} replaced, {1} new functions; {2} warnings, {3} acknowledged errors; report: {4}",
            diffs.Sum(diff => diff.Replaced.Count),
            diffs.Sum(diff => diff.NewFunctions.Count),
            said.Count(diagnostic => diagnostic.Level == "warning"),
            manifest.Acknowledged.Count,
            output
        );
        return Task.FromResult(true);
    }

    /// <summary>The report that belongs to a package's folder.</summary>
    public static string ReportOf(string package) => package + ".html";

    private sealed class SourceText
    {
        private readonly Dictionary<string, string[]> _files = new(StringComparer.Ordinal);

        public string? Line(SourceLocation location)
        {
            if (!_files.TryGetValue(location.Path, out var lines))
                _files.Add(location.Path, lines = File.Exists(location.Path) ? File.ReadAllLines(location.Path, Encoding.Latin1) : []);
            return location.Line > 0 && location.Line <= lines.Length ? lines[location.Line - 1] : null;
        }
    }
}
