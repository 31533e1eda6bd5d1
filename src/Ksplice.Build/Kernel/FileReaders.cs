// SPDX-License-Identifier: MIT
// Which units read a patched file. For the kernel's own tree the index of includes tells. An update below may have made units include what
// they did not include before, and the index does not know its tree. What a unit includes is decided by preprocessor lines alone. So only
// units that read a file in which the updates below changed such a line are asked again, in the tree of these updates.
using System.Collections.Concurrent;
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Kernel;

/// <summary>Tells who reads a patched file.</summary>
/// <param name="kernel">The kernel.</param>
/// <param name="below">The pre tree, if it has files from updates below.</param>
/// <param name="includes">Who reads what in the kernel's own tree.</param>
/// <param name="diagnostics">Takes what keeps units from being asked.</param>
internal sealed class FileReaders(PreparedKernel kernel, PostTree? below, IncludeIndex includes, DiagnosticBag diagnostics)
{
    // What units read in the tree of the updates below; null where the preprocessor cannot tell.
    private IReadOnlyDictionary<CompilationUnit, IReadOnlyList<string>?>? _toldBelow;

    /// <summary>The units that read <paramref name="file"/> in the pre tree; null after an error.</summary>
    public async Task<IReadOnlyCollection<CompilationUnit>?> OfAsync(PatchedFile file, CancellationToken cancellation)
    {
        HashSet<CompilationUnit> readers = [];
        if (file.Change != FileChange.Added)
        {
            if (await OfKernelAsync(file, cancellation).ConfigureAwait(false) is not { } ofKernel)
                return null;
            readers.UnionWith(ofKernel);
        }
        _toldBelow ??= await AskBelowAsync(cancellation).ConfigureAwait(false);
        if (_toldBelow is null)
            return null;
        readers.UnionWith(
            _toldBelow.Where(told => told.Value?.Contains(file.Path, StringComparer.Ordinal) != false).Select(told => told.Key)
        );
        return readers;
    }

    private async Task<List<CompilationUnit>?> OfKernelAsync(PatchedFile file, CancellationToken cancellation)
    {
        var own = kernel.Units.Find(file.Path);
        List<CompilationUnit> users = [.. kernel.Units.Apart.Where(unit => unit.Source == file.Path)];
        if (own is not null)
            users.Add(own);
        if (file.Kind == PatchedFileKind.Header || includes.MayBeIncluded(file.Path))
        {
            // A bag of its own: what is wrong with other files must not keep units from being asked.
            DiagnosticBag ofIndex = [];
            if (await includes.UsersOfAsync(file.Path, ofIndex, cancellation).ConfigureAwait(false) is not { } readers)
            {
                foreach (var diagnostic in ofIndex)
                    diagnostics.Add(diagnostic);
                return null;
            }
            users.AddRange(readers.Where(unit => unit == own || unit.Apart is not null || AffectedUnits.IsKernelCode(kernel, unit.Source)));
        }
        return users;
    }

    private async Task<IReadOnlyDictionary<CompilationUnit, IReadOnlyList<string>?>?> AskBelowAsync(CancellationToken cancellation)
    {
        ConcurrentDictionary<CompilationUnit, IReadOnlyList<string>?> told = new();
        foreach (var file in below?.Files.Where(file => ChangesPreprocessing(file, below.Root)) ?? [])
        {
            if (await OfKernelAsync(file, cancellation).ConfigureAwait(false) is not { } readers)
                return null;
            foreach (var unit in readers)
                told.TryAdd(unit, null);
        }
        UnitCompiler compiler = new(kernel, NullLogger.Instance);
        DiagnosticBag ofCompiler = [];
        ParallelOptions parallel = new() { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount };
        await Parallel
            .ForEachAsync(told.Keys, parallel, async (unit, token) =>
                told[unit] = await compiler.ListIncludesAsync(unit, below!.Root, ofCompiler, token).ConfigureAwait(false)
            )
            .ConfigureAwait(false);
        foreach (var diagnostic in ofCompiler)
            diagnostics.Add(diagnostic);
        return ofCompiler.HasErrors ? null : told;
    }

    private bool ChangesPreprocessing(PatchedFile file, string root) =>
        file is { Change: FileChange.Modified, Kind: not PatchedFileKind.Makefile }
        && !PreprocessorLines(file.Path, kernel.SourceDirectory).SequenceEqual(PreprocessorLines(file.Path, root), StringComparer.Ordinal);

    // Directives with the lines that continue them, and lines where a comment begins or ends, which may hide a directive.
    private static IEnumerable<string> PreprocessorLines(string path, string root)
    {
        bool continues = false;
        foreach (var (_, _, line) in LineDirectives.List(path, File.ReadLines(Path.Combine(root, path), Encoding.Latin1)))
        {
            bool continued = continues;
            continues = line.AsSpan().TrimEnd().EndsWith("\\");
            if (
                continued
                || continues
                || line.Contains('#', StringComparison.Ordinal)
                || line.Contains("/*", StringComparison.Ordinal)
                || line.Contains("*/", StringComparison.Ordinal)
            )
                yield return line;
        }
    }
}
