// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Writes the post tree and lists the units that the patches touch.</summary>
public sealed class ApplyPatches : PatchTask
{
    /// <summary>Packages of updates that this one goes on top of, folders or archives, the lowest first.</summary>
    public ITaskItem[] BaseUpdates { get; set; } = [];

    /// <summary>Patches of such updates, with UpdateId, in the order of their application.</summary>
    public ITaskItem[] BasePatches { get; set; } = [];

    /// <summary>The list of these updates to write.</summary>
    [Required]
    public string BasesFile { get; set; } = "";

    /// <summary>The folder of the pre tree, where there are such updates.</summary>
    [Required]
    public string BaseTree { get; set; } = "";

    /// <summary>The folder of the post tree.</summary>
    [Required]
    public string PostTree { get; set; } = "";

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
        string[] paths = [.. Patches.Select(Full)];
        WarnOfOrder(paths);
        var release = ResolvedKernel.Open(KernelFile).Release;
        var kernel = await OpenCache(Cache).PrepareAsync(release, Diagnostics, cancellation).ConfigureAwait(false);
        if (kernel is null)
            return false;
        if (
            UpdateBases.Resolve(
                release.Release,
                [.. BaseUpdates.Select(Full)],
                [.. BasePatches.Select(patch => (Full(patch), patch.GetMetadata("UpdateId")))],
                Diagnostics
            )
                is not { } bases
            || All(bases.SelectMany((below, update) => below.Patches.Select(patch => (patch, update))), from =>
                SourcePatch.Parse(from.patch.Content.Span, from.patch.Path, Diagnostics) is { } patch
                    ? patch with
                    {
                        Update = from.update,
                    }
                    : null
            )
                is not { } basePatches
            || All(paths, path => SourcePatch.Read(path, Diagnostics) is { } patch ? patch with { Update = bases.Count } : null)
                is not { } patches
        )
            return false;
        var includes = await IncludeIndex.OpenAsync(kernel, Logger, cancellation).ConfigureAwait(false);
        var pre =
            basePatches.Count == 0
                ? null
                : Build.Patching.PostTree.Write(
                    kernel.SourceDirectory,
                    BaseTree,
                    basePatches,
                    Diagnostics,
                    includes.MayBeIncluded,
                    cancellation
                );
        if (pre is null && basePatches.Count != 0)
            return false;
        var tree = Build.Patching.PostTree.Write(
            kernel.SourceDirectory,
            PostTree,
            [.. basePatches, .. patches],
            Diagnostics,
            includes.MayBeIncluded,
            cancellation
        );
        if (tree is null)
            return false;
        var changed = pre is null ? tree : tree with { Files = tree.ChangesSince(pre) };
        var units = await AffectedUnits.FindAsync(kernel, changed, pre, includes, Diagnostics, cancellation).ConfigureAwait(false);
        if (units is null)
            return false;
        string id = UpdateId.Compute(release, bases, paths.Select(path => (ReadOnlyMemory<byte>)File.ReadAllBytes(path)));
        UnitList list = new(
            id,
            [
                .. units
                    .Where(unit => unit.Unit.Apart is null)
                    .Select(unit => new ListedUnit(unit.Unit.Source, unit.Unit.Module, unit.Because)
                    {
                        Added = unit.Origin == UnitOrigin.Kernel ? null : unit.Unit,
                        IsNew = unit.Origin == UnitOrigin.New,
                    })
                    .OrderBy(unit => unit.Source, StringComparer.Ordinal),
            ],
            [.. units.Where(unit => unit.Unit.Apart is not null).Select(unit => new ApartUnit(unit.Unit.Object, unit.Because))],
            [.. changed.Files.Where(file => file.Change == FileChange.Added).Select(file => file.Path)],
            [.. Lines(tree)]
        );
        if (list.Units.Count == 0)
        {
            foreach (var unit in units)
                Diagnostics.Report(
                    PatchingDiagnostics.ReachesSeparateImage,
                    new(unit.Because),
                    unit.Because,
                    unit.Unit.Source,
                    unit.Unit.Apart!
                );
            return false;
        }
        list.Write(UnitsFile);
        BaseList.Write(BasesFile, bases);
        if (Record is not null)
            StageRecord.Write(
                Record,
                "",
                [KernelFile, .. BaseUpdates.Select(Full).SelectMany(UpdateBases.FilesOf), .. BasePatches.Select(Full), .. paths],
                [UnitsFile, BasesFile, .. Written(pre), .. Written(tree)]
            );
        return true;
    }

    // Who lists patches in an order of their own means it; a pattern gives them in the order of their names.
    private void WarnOfOrder(string[] paths)
    {
        if (!paths.SequenceEqual(paths.Order(StringComparer.Ordinal), StringComparer.Ordinal))
            return;
        foreach (var (first, second) in paths.Zip(paths.Skip(1)))
        {
            if (
                Path.GetDirectoryName(first) == Path.GetDirectoryName(second)
                && Number(first) is { } one
                && Number(second) is { } two
                && one > two
            )
                Diagnostics.Report(PatchingDiagnostics.PatchOrder, new(second), Path.GetFileName(first), Path.GetFileName(second));
        }
    }

    private static ulong? Number(string path) =>
        ulong.TryParse(string.Concat(Path.GetFileName(path).TakeWhile(char.IsAsciiDigit)), NumberStyles.None, null, out ulong number)
            ? number
            : null;

    private static string Full(ITaskItem item) => item.GetMetadata("FullPath");

    // Every patch is read, so that all that is wrong is told at once.
    private static List<SourcePatch>? All<T>(IEnumerable<T> from, Func<T, SourcePatch?> read)
    {
        var results = from.Select(read).ToList();
        List<SourcePatch> patches = [.. results.OfType<SourcePatch>()];
        return patches.Count == results.Count ? patches : null;
    }

    private static IEnumerable<string> Written(PostTree? tree) =>
        tree is null ? [] : tree.Files.Where(file => file.Change != FileChange.Deleted).Select(file => Path.Combine(tree.Root, file.Path));

    private static IEnumerable<PatchedLine> Lines(PostTree tree) =>
        from file in tree.Files
        from line in file.PatchedLines
        let source = line.Line
        select new PatchedLine(line.Name, line.Number, source.PatchPath, source.PatchPath is null ? source.OriginalLine : source.PatchLine);
}
