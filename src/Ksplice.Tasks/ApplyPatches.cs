using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Writes the post tree and lists the units that the patches touch.</summary>
public sealed class ApplyPatches : KspliceTask
{
    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The folder of the kernel cache, if not the usual one.</summary>
    public string? Cache { get; set; }

    /// <summary>The patches, in the order of their application.</summary>
    public ITaskItem[] Patches { get; set; } = [];

    /// <summary>The patches of the updates that this one goes on top of, in the order of their application.</summary>
    public ITaskItem[] BasePatches { get; set; } = [];

    /// <summary>The folder of the pre tree, where there are such patches.</summary>
    [Required]
    public string BaseTree { get; set; } = "";

    /// <summary>The folder of the post tree.</summary>
    [Required]
    public string PostTree { get; set; } = "";

    /// <summary>The list of units to write.</summary>
    [Required]
    public string UnitsFile { get; set; } = "";

    /// <summary>The project, as the place of what is missing in it.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <inheritdoc/>
    protected override async Task<bool> RunAsync(CancellationToken cancellation)
    {
        if (Patches.Length == 0)
        {
            Diagnostics.Report(ProjectDiagnostics.NoPatch, new(ProjectFile));
            return false;
        }
        var release = Tasks.KernelFile.Open(KernelFile).Release;
        var kernel = await OpenCache(Cache)
            .PrepareAsync(release, Diagnostics, cancellation).ConfigureAwait(false);
        if (kernel is null)
            return false;
        string[] basePaths = [.. BasePatches.Select(patch => patch.GetMetadata("FullPath"))], paths = [.. Patches.Select(patch => patch.GetMetadata("FullPath"))];
        if (Read(basePaths) is not { } basePatches || Read(paths) is not { } patches)
            return false;
        var pre = basePatches.Count == 0 ? null : Build.Patching.PostTree.Write(kernel.SourceDirectory, BaseTree, basePatches, Diagnostics, cancellation);
        if (pre is null && basePatches.Count != 0)
            return false;
        var tree = Build.Patching.PostTree.Write(kernel.SourceDirectory, PostTree, [.. basePatches, .. patches], Diagnostics, cancellation);
        if (tree is null)
            return false;
        var changed = pre is null ? tree : tree with { Files = tree.ChangesSince(pre) };
        var units = await AffectedUnits.FindAsync(kernel, changed, Logger, Diagnostics, cancellation).ConfigureAwait(false);
        if (units is null)
            return false;
        string id = UpdateId.Compute(release, basePaths.Select(Content), paths.Select(Content));
        UnitList list = new(id, [.. units.Select(unit => new ListedUnit(unit.Unit.Source, unit.Unit.Module, unit.Because))], [.. Lines(tree)]);
        list.Write(UnitsFile);
        if (Record is not null)
            StageRecord.Write(Record, "", [KernelFile, .. basePaths, .. paths], [UnitsFile, .. Written(pre), .. Written(tree)]);
        return true;
    }

    private List<SourcePatch>? Read(string[] paths)
    {
        List<SourcePatch> patches = [.. paths.Select(path => SourcePatch.Read(path, Diagnostics)).OfType<SourcePatch>()];
        return patches.Count == paths.Length ? patches : null;
    }

    private static ReadOnlyMemory<byte> Content(string path) => File.ReadAllBytes(path);

    private static IEnumerable<string> Written(PostTree? tree) => tree is null
        ? []
        : tree.Files.Where(file => file.Change != FileChange.Deleted).Select(file => Path.Combine(tree.Root, file.Path));

    private static IEnumerable<PatchedLine> Lines(PostTree tree) =>
        from file in tree.Files
        from line in file.PatchedLines
        where line.Line.PatchPath is not null
        select new PatchedLine(file.Path, line.Number, line.Line.PatchPath!, line.Line.PatchLine);
}
