// SPDX-License-Identifier: MIT
// Which units a patch touches: those whose compilation reads a patched file. For a unit's own source that is plain. Who else reads a
// file is told by the compiler itself: a run of its preprocessor over every unit that can read the file, once a kernel.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Kernel;

/// <summary>Who brings a unit.</summary>
public enum UnitOrigin
{
    /// <summary>The kernel itself, or the module that it is part of: it is in the list of the configuration's units.</summary>
    Kernel,

    /// <summary>An update that this one goes on top of.</summary>
    Below,

    /// <summary>This update: before it there is nothing of the unit.</summary>
    New,
}

/// <summary>A unit that a patch touches.</summary>
/// <param name="Unit">The unit.</param>
/// <param name="Because">The patched file that it is made from or includes.</param>
public sealed record AffectedUnit(CompilationUnit Unit, string Because)
{
    /// <summary>Who brings it.</summary>
    public UnitOrigin Origin { get; init; }
}

/// <summary>Finds the units that a patch touches.</summary>
public static class AffectedUnits
{
    /// <summary>
    /// The units that read the files of <paramref name="tree"/>, by object path, those of images of their own and of generated sources
    /// (<see cref="CompilationUnit.Apart"/>) among them; null after an error.
    /// </summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="tree">The post tree, with the files that differ from the pre tree.</param>
    /// <param name="below">The pre tree, if it has files from updates that this one goes on top of.</param>
    /// <param name="includes">Who reads what.</param>
    /// <param name="diagnostics">Takes what is wrong.</param>
    /// <param name="cancellation">Ends the search.</param>
    public static async Task<IReadOnlyList<AffectedUnit>?> FindAsync(
        PreparedKernel kernel,
        PostTree tree,
        PostTree? below,
        IncludeIndex includes,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(kernel);
        ArgumentNullException.ThrowIfNull(tree);
        ArgumentNullException.ThrowIfNull(includes);
        ArgumentNullException.ThrowIfNull(diagnostics);
        SortedDictionary<string, AffectedUnit> units = new(StringComparer.Ordinal);
        List<string> unread = [];
        if (await new AddedUnits(kernel, tree, below, diagnostics).FindAsync(cancellation).ConfigureAwait(false) is not { } added)
            return null;
        foreach (var unit in added)
            units.Add(unit.Unit.Object, unit);
        FileReaders readers = new(kernel, below, includes, diagnostics);
        foreach (var file in tree.Files.Where(file => file.Kind != PatchedFileKind.Makefile))
        {
            // A new file is read only by patched ones, or by nobody: the compiler's list of what it read tells.
            if (file.Change == FileChange.Added && below?.Files.Any(other => other.Path == file.Path) != true)
                continue;
            if (file.Change == FileChange.Deleted && kernel.Units.Find(file.Path) is not null)
            {
                diagnostics.Report(PatchingDiagnostics.UnitDeleted, Place(file), file.Path);
                continue;
            }
            if (await readers.OfAsync(file, cancellation).ConfigureAwait(false) is not { } users)
                return null;
            if (users.Count == 0 && !added.Any(unit => unit.Unit.Source == file.Path))
            {
                diagnostics.Report(PatchingDiagnostics.NotCompiled, Place(file), file.Path, kernel.Release.Release);
                unread.Add(file.Path);
            }
            foreach (var unit in users)
                units.TryAdd(unit.Object, new AffectedUnit(unit, file.Path));
        }
        if (diagnostics.HasErrors)
            return null;
        if (units.Count == 0)
        {
            diagnostics.Report(
                PatchingDiagnostics.NothingCompiled,
                tree.Files.Count == 0 ? null : Place(tree.Files[0]),
                unread.Count == 0 ? "" : $"; not in the configuration of {kernel.Release.Release}: {string.Join(", ", unread)}"
            );
            return null;
        }
        return [.. units.Values];
    }

    /// <summary>False for assembly that only wraps a file that is linked first, and has no code.</summary>
    internal static bool IsKernelCode(PreparedKernel kernel, string source) =>
        !source.EndsWith(".S", StringComparison.Ordinal)
        || !File.ReadAllText(Path.Combine(kernel.SourceDirectory, source)).Contains(".incbin", StringComparison.Ordinal);

    /// <summary>Where a patch changes <paramref name="file"/>.</summary>
    internal static SourceLocation Place(PatchedFile file) =>
        file.PatchedLines.Select(line => line.Line).FirstOrDefault(line => line.PatchPath is not null) is { PatchPath: { } patch } line
            ? new SourceLocation(patch, line.PatchLine, 1)
            : new SourceLocation(file.Path);
}
