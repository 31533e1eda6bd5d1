// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Microsoft.Extensions.Logging;

namespace Ksplice.Build.Kernel;

/// <summary>
/// Which units of a configuration read which files. <see cref="IncludeGraph"/> says in seconds which units can read a file; of these, the
/// preprocessor tells which do. A unit is asked once a kernel, when a file is first asked for that it can read.
/// </summary>
public sealed partial class IncludeIndex
{
    private readonly PreparedKernel _kernel;
    private readonly ILogger _logger;
    private readonly IncludeGraph _graph;
    private readonly UnitIncludes _told;
    private readonly CompilationUnit[] _units;

    private IncludeIndex(PreparedKernel kernel, IncludeGraph graph, ILogger logger)
    {
        (_kernel, _graph, _logger) = (kernel, graph, logger);
        _told = new UnitIncludes(Path.Combine(Path.GetDirectoryName(kernel.OutputDirectory)!, "includes.txt"));
        // A source that only the whole build generates (the vDSO's image as C) is there for nobody.
        _units =
        [
            .. kernel.Units.Units,
            .. kernel.Units.Apart.Where(unit =>
                File.Exists(Path.Combine(kernel.SourceDirectory, unit.Source))
                || File.Exists(Path.Combine(kernel.OutputDirectory, unit.Source))
            ),
        ];
    }

    /// <summary>The index of <paramref name="kernel"/>. The files' #include lines are read if that was not done yet.</summary>
    /// <exception cref="IOException">The cache cannot be read or written.</exception>
    public static async Task<IncludeIndex> OpenAsync(PreparedKernel kernel, ILogger logger, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(kernel);
        using var held = await LockAsync(kernel, logger, cancellation).ConfigureAwait(false);
        return new IncludeIndex(kernel, await IncludeGraph.OpenAsync(kernel, cancellation).ConfigureAwait(false), logger);
    }

    /// <summary>
    /// False if no file can include <paramref name="path"/> (relative to the source tree): at most it is a unit's own source.
    /// </summary>
    public bool MayBeIncluded(string path) => _graph.MayBeIncluded(Path.Combine(_kernel.SourceDirectory, path));

    /// <summary>
    /// The units that read <paramref name="path"/> (relative to the source tree), those of images of their own and of generated sources
    /// among them. If there are any, those that can read it and cannot be preprocessed are among them too: nothing says that they do not.
    /// Null if the preprocessor cannot be run.
    /// </summary>
    /// <exception cref="IOException">The cache cannot be read or written.</exception>
    public async Task<IReadOnlyList<CompilationUnit>?> UsersOfAsync(
        string path,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        var readers = _graph.ReadersOf(Path.Combine(_kernel.SourceDirectory, path));
        var asked = _units.Where(unit => IncludeGraph.RootsOf(_kernel, unit).Any(readers.Contains)).ToList();
        if (!await AskAsync(asked, diagnostics, cancellation).ConfigureAwait(false))
            return null;
        return asked.Exists(unit => _told.Reads(unit.Object, path) == true)
            ? [.. asked.Where(unit => _told.Reads(unit.Object, path) != false)]
            : [];
    }

    // What is told is kept as it comes, so that nothing is asked twice, however this ends.
    private async Task<bool> AskAsync(List<CompilationUnit> units, DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        if (units.TrueForAll(unit => _told.Has(unit.Object)))
            return true;
        using var held = await LockAsync(_kernel, _logger, cancellation).ConfigureAwait(false);
        using var writer = _told.OpenToAdd();
        var open = units.Where(unit => !_told.Has(unit.Object)).ToList();
        LogAsking(_logger, open.Count, units.Count, _kernel.Release.Release);
        UnitCompiler compiler = new(_kernel, _logger);
        int done = 0;
        ParallelOptions parallel = new() { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount };
        await Parallel
            .ForEachAsync(open, parallel, async (unit, token) =>
            {
                if (diagnostics.HasErrors)
                    return;
                var included = await compiler.ListIncludesAsync(unit, _kernel.SourceDirectory, diagnostics, token).ConfigureAwait(false);
                if (diagnostics.HasErrors)
                    return;
                writer.Add(unit.Object, included);
                if (Interlocked.Increment(ref done) % 500 == 0)
                    LogProgress(_logger, done, open.Count);
            })
            .ConfigureAwait(false);
        return !diagnostics.HasErrors;
    }

    private static Task<IDisposable> LockAsync(PreparedKernel kernel, ILogger logger, CancellationToken cancellation)
    {
        string path = Path.Combine(Path.GetDirectoryName(kernel.OutputDirectory)!, "includes.lock");
        return FileLock.TakeAsync(path, () => LogWaiting(logger, path), cancellation);
    }

    [LoggerMessage(
        Level = LogLevel.Information,
        Message = "asking the preprocessor what {Open} of the {Count} units of {Release} include that can read a patched file, once"
    )]
    private static partial void LogAsking(ILogger logger, int open, int count, string release);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Done} of {Count} units have told what they include")]
    private static partial void LogProgress(ILogger logger, int done, int count);

    [LoggerMessage(Level = LogLevel.Information, Message = "another build reads what units include; waiting for {Lock}")]
    private static partial void LogWaiting(ILogger logger, string @lock);
}
