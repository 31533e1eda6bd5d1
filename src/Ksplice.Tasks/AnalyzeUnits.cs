using Ksplice.Build.Analysis;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Judges whether the change can be made to a kernel that runs, and writes the verdicts as SARIF.</summary>
public sealed class AnalyzeUnits : KspliceTask
{
    /// <summary>The units, with Pre and Post.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The SARIF file to write, also after an error.</summary>
    [Required]
    public string SarifFile { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        // Assembly has no types.
        foreach (var unit in Units.Where(unit => !unit.ItemSpec.EndsWith(".S", StringComparison.Ordinal)))
        {
            cancellation.ThrowIfCancellationRequested();
            TypeComparison.Compare(UnitDiffs.Read(unit, "Pre"), UnitDiffs.Read(unit, "Post"), unit.ItemSpec, Diagnostics);
        }
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(SarifFile))!);
        File.WriteAllBytes(SarifFile, SarifLog.Write(Diagnostics));
        if (Diagnostics.HasErrors)
            return Task.FromResult(false);
        if (Record is not null)
            StageRecord.Write(Record, "", UnitDiffs.Objects(Units), [SarifFile]);
        return Task.FromResult(true);
    }
}
