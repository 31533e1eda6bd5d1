using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Generates what helper and primary of each target are made from.</summary>
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

    /// <summary>The updates that this one goes on top of, as <see cref="ApplyPatches"/> wrote them.</summary>
    [Required]
    public string BasesFile { get; set; } = "";

    /// <summary>The folder to write into.</summary>
    [Required]
    public string SourceFolder { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        var release = Tasks.KernelFile.Open(KernelFile).Release;
        if (
            UnitDiffs.FindTargets(UpdateId, Units, Diagnostics) is not { } targets
            || TargetMatch.Build(targets, release, new ShippedModules(release), Diagnostics) is not { } matches
        )
            return Task.FromResult(false);
        if (Directory.Exists(SourceFolder))
            Directory.Delete(SourceFolder, recursive: true);
        List<(HelperSource, PrimaryObject)> modules = [];
        foreach (var (diffs, _, exported, data) in matches)
        {
            if (diffs.LateObstacle is { } obstacle)
                Diagnostics.Report(GenerationDiagnostics.NotLate, null, diffs.Target.Name, obstacle);
            if (PrimaryObject.Build(diffs.Diffs, data, diffs.Target, exported, Diagnostics) is { } primary)
                modules.Add((HelperSource.Create(diffs.Target, data), primary));
        }
        if (Diagnostics.HasErrors)
            return Task.FromResult(false);
        var files = ModuleSources.Write(SourceFolder, modules, [.. BaseList.Open(BasesFile).Select(below => below.Id)]);
        if (Record is not null)
            StageRecord.Write(Record, UpdateId, [KernelFile, BasesFile, .. UnitDiffs.Objects(Units), .. TargetMatch.Files(matches)], files);
        return Task.FromResult(true);
    }
}
