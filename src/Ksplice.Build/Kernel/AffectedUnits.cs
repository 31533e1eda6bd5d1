// SPDX-License-Identifier: MIT
// Which units a patch touches: those made from a patched source, and those that include a patched file. The second kind is
// told by the compiler itself: a run of its preprocessor over every unit of the configuration, once a kernel.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;
using Microsoft.Extensions.Logging;

namespace Ksplice.Build.Kernel;

/// <summary>A unit that a patch touches.</summary>
/// <param name="Unit">The unit.</param>
/// <param name="Because">The patched file that it is made from or includes.</param>
public sealed record AffectedUnit(CompilationUnit Unit, string Because);

/// <summary>Finds the units that a patch touches.</summary>
public static class AffectedUnits
{
    /// <summary>The units that the files of <paramref name="tree"/> affect, by source path; null after an error.</summary>
    public static async Task<IReadOnlyList<AffectedUnit>?> FindAsync(
        PreparedKernel kernel,
        PostTree tree,
        ILogger logger,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(kernel);
        ArgumentNullException.ThrowIfNull(tree);
        ArgumentNullException.ThrowIfNull(diagnostics);
        SortedDictionary<string, AffectedUnit> units = new(StringComparer.Ordinal);
        IncludeIndex? includes = null;
        foreach (var file in tree.Files)
        {
            var unit = kernel.Units.Find(file.Path);
            if (unit is not null)
            {
                if (file.Change == FileChange.Deleted)
                    diagnostics.Report(PatchingDiagnostics.UnitDeleted, Place(file), file.Path);
                else
                    units.TryAdd(unit.Source, new AffectedUnit(unit, file.Path));
                continue;
            }
            // A new file is compiled only if patched files include it.
            if (file.Change == FileChange.Added)
                continue;
            IReadOnlyList<string> users = [];
            if (file.Kind == PatchedFileKind.Header || IsIncluded(kernel.SourceDirectory, file.Path, cancellation))
            {
                // A bag of its own: what is wrong with other files must not keep the index from being made.
                DiagnosticBag ofIndex = [];
                includes ??= await IncludeIndex.OpenAsync(kernel, logger, ofIndex, cancellation).ConfigureAwait(false);
                if (includes is null)
                {
                    foreach (var diagnostic in ofIndex)
                        diagnostics.Add(diagnostic);
                    return null;
                }
                users = includes.UsersOf(file.Path);
            }
            if (users.Count == 0)
                diagnostics.Report(PatchingDiagnostics.NotCompiled, Place(file), file.Path, kernel.Release.Release);
            foreach (string source in users.Where(source => IsKernelCode(kernel, source)))
                units.TryAdd(source, new AffectedUnit(kernel.Units.Find(source)!, file.Path));
        }
        if (diagnostics.HasErrors)
            return null;
        if (units.Count == 0)
        {
            diagnostics.Report(PatchingDiagnostics.NothingCompiled, null);
            return null;
        }
        return [.. units.Values];
    }

    /// <summary>
    /// False for assembly of another image (the vDSO, the real-mode trampoline), which kbuild compiles by the same flags,
    /// and for that which only wraps a file that is linked first and has no code.
    /// </summary>
    internal static bool IsKernelCode(PreparedKernel kernel, string source) =>
        !source.EndsWith(".S", StringComparison.Ordinal)
        || (
            PatchedPath.SeparateImage(source) is null
            && !File.ReadAllText(Path.Combine(kernel.SourceDirectory, source)).Contains(".incbin", StringComparison.Ordinal)
        );

    // Few sources that are no units are included by others. Whether any file names this one takes seconds to see, the index minutes.
    private static bool IsIncluded(string root, string path, CancellationToken cancellation)
    {
        var name = System.Text.Encoding.UTF8.GetBytes(Path.GetFileName(path) + "\"");
        EnumerationOptions options = new() { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.ReparsePoint };
        return Directory
            .EnumerateFiles(root, "*", options)
            .Where(file => file[^2..] is ".c" or ".h" or ".S")
            .AsParallel()
            .WithCancellation(cancellation)
            .Any(file => File.ReadAllBytes(file).AsSpan().IndexOf(name) >= 0);
    }

    private static SourceLocation Place(PatchedFile file) =>
        file.PatchedLines.Select(line => line.Line).FirstOrDefault(line => line.PatchPath is not null) is { PatchPath: { } patch } line
            ? new SourceLocation(patch, line.PatchLine, 1)
            : new SourceLocation(file.Path);
}
