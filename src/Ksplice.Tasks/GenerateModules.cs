using Ksplice.Build.Generation;
using Ksplice.Build.Matching;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Generates what helper and primary are made from.</summary>
public sealed class GenerateModules : KspliceTask
{
    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The update's id.</summary>
    [Required]
    public string UpdateId { get; set; } = "";

    /// <summary>The units, with Pre and Post.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The folder to write into.</summary>
    [Required]
    public string SourceFolder { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        var release = Tasks.KernelFile.Open(KernelFile).Release;
        if (UnitDiffs.Find(Units, Diagnostics) is not { } diffs
            || ExportedSymbols.Read(release.ModuleSymvers, Diagnostics) is not { } exported
            || MatchDataBuilder.Build(diffs, PrimaryObject.SymbolsToResolve(diffs, exported), Diagnostics) is not { } data
            || PrimaryObject.Build(diffs, data, UpdateTarget.OnlyKernel(UpdateId), exported, Diagnostics) is not { } primary)
            return Task.FromResult(false);
        if (Directory.Exists(SourceFolder))
            Directory.Delete(SourceFolder, recursive: true);
        var files = ModuleSources.Write(SourceFolder, HelperSource.Create(UpdateTarget.OnlyKernel(UpdateId), data), primary);
        if (Record is not null)
            StageRecord.Write(Record, UpdateId, [KernelFile, .. UnitDiffs.Objects(Units)], files);
        return Task.FromResult(true);
    }
}
