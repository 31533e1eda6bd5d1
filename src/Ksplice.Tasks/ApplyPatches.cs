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
        string[] paths = [.. Patches.Select(patch => patch.GetMetadata("FullPath"))];
        List<SourcePatch> patches = [];
        foreach (string path in paths)
        {
            if (SourcePatch.Read(path, Diagnostics) is { } patch)
                patches.Add(patch);
        }
        if (patches.Count != paths.Length)
            return false;
        var tree = Build.Patching.PostTree.Write(kernel.SourceDirectory, PostTree, patches, Diagnostics, cancellation);
        if (tree is null)
            return false;
        var units = await AffectedUnits.FindAsync(kernel, tree, Logger, Diagnostics, cancellation).ConfigureAwait(false);
        if (units is null)
            return false;
        string id = UpdateId.Compute(release, paths.Select(path => (ReadOnlyMemory<byte>)File.ReadAllBytes(path)));
        UnitList list = new(id, [.. units.Select(unit => new ListedUnit(unit.Unit.Source, unit.Unit.Module, unit.Because))], [.. Lines(tree)]);
        list.Write(UnitsFile);
        if (Record is not null)
        {
            var written = tree.Files.Where(file => file.Change != FileChange.Deleted).Select(file => Path.Combine(tree.Root, file.Path));
            StageRecord.Write(Record, "", [KernelFile, .. paths], [UnitsFile, .. written]);
        }
        return true;
    }

    private static IEnumerable<PatchedLine> Lines(PostTree tree) =>
        from file in tree.Files
        from line in file.PatchedLines
        where line.Line.PatchPath is not null
        select new PatchedLine(file.Path, line.Number, line.Line.PatchPath!, line.Line.PatchLine);
}
