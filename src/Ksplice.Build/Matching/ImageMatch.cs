// SPDX-License-Identifier: MIT
// The match at build time: the same data that the helper carries, over the image that the distribution ships. What does
// not match here could not be applied to any machine that runs this kernel, so the build stops.
using System.Collections.Concurrent;
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching.Interpreter;

namespace Ksplice.Build.Matching;

/// <summary>A kernel image as memory to match against. Nothing is rewritten in it yet but what the linker relaxed.</summary>
public sealed class ImageMemory : IMatchMemory
{
    private readonly KernelImage _image;
    private readonly ConcurrentDictionary<string, ulong[]> _candidates = new(Utf8NameComparer.Instance);
    private readonly ConcurrentDictionary<string, ulong[]>.AlternateLookup<ReadOnlySpan<byte>> _byBytes;
    private readonly ulong _initBegin;
    private readonly ulong _initEnd;
    private readonly ulong _perCpuStart;
    private readonly ulong _perCpuEnd;
    private readonly ulong? _fentry;

    /// <summary>Takes <paramref name="image"/> as it is.</summary>
    public ImageMemory(KernelImage image)
    {
        ArgumentNullException.ThrowIfNull(image);
        _image = image;
        _byBytes = _candidates.GetAlternateLookup<ReadOnlySpan<byte>>();
        _initBegin = image.Symbols.FindUnique("__init_begin") ?? 0;
        _initEnd = image.Symbols.FindUnique("__init_end") ?? 0;
        _perCpuStart = image.Symbols.FindUnique("__per_cpu_start") ?? 0;
        _perCpuEnd = image.Symbols.FindUnique("__per_cpu_end") ?? 0;
        _fentry = image.Symbols.FindUnique("__fentry__");
    }

    /// <summary>The image.</summary>
    public KernelImage Image => _image;

    /// <inheritdoc/>
    public bool TryRead(ulong address, Span<byte> destination) => _image.TryRead(address, destination);

    /// <summary>The addresses of all symbols of that name, without those in init memory, which a running kernel has freed (K11).</summary>
    public IReadOnlyList<ulong> Candidates(string name) =>
        _candidates.GetOrAdd(
            name,
            static (name, memory) =>
                [.. memory._image.Symbols.Find(name).Select(symbol => symbol.Address).Where(address => !memory.IsFreed(address))],
            this
        );

    // Where per-CPU symbols are no offsets they lie in init memory, and each processor has its own copy of what stood there (K24).
    private bool IsFreed(ulong address) =>
        address >= _initBegin && address < _initEnd && !(address >= _perCpuStart && address < _perCpuEnd);

    /// <inheritdoc cref="Candidates(string)"/>
    public IReadOnlyList<ulong> Candidates(ReadOnlySpan<byte> name) =>
        _byBytes.TryGetValue(name, out ulong[]? found) ? found : Candidates(Encoding.UTF8.GetString(name));

    /// <inheritdoc/>
    public bool TryFindExtent(ulong address, out ulong start, out ulong end)
    {
        var nearest = _image.Symbols.Nearest(address);
        (start, end) = nearest is { } found ? (found.Symbol.Address, found.End) : (0, 0);
        return nearest is not null;
    }

    /// <inheritdoc/>
    public KernelTables Tables => _image.Tables;

    /// <inheritdoc/>
    public bool IsFtraceTarget(ulong site, ulong target) => target == _fentry;

    /// <summary>False: an image has no probes.</summary>
    public bool IsProbed(ulong address) => false;

    /// <inheritdoc/>
    public bool HasEndbr(ulong address) => _image.HasEndbr(address);
}

/// <summary>The match of an update against the shipped image.</summary>
public static class ImageMatch
{
    /// <summary>Matches, and reports what failed.</summary>
    public static MatchResult Check(MatchData matchData, KernelImage image, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(matchData);
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(diagnostics);
        var result = Check(matchData, image.Path, new ImageMemory(image), image.Symbols, diagnostics);
        CheckExports(matchData, null, image, diagnostics);
        return result;
    }

    /// <summary>Matches against a module beside its kernel. What stands in the kernel itself is no function of the module.</summary>
    public static MatchResult Check(MatchData matchData, LoadedModule module, KernelImage image, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(matchData);
        ArgumentNullException.ThrowIfNull(module);
        ArgumentNullException.ThrowIfNull(diagnostics);
        var result = Check(matchData, module.Path, new ModuleMemory(module, new ImageMemory(image)), image.Symbols, diagnostics);
        CheckExports(matchData, module, image, diagnostics);
        if (result.Ranges.FirstOrDefault(range => !module.IsText(range.Start, range.End)) is not { } outside)
            return result;
        diagnostics.Report(
            MatchDiagnostics.NotFound,
            new SourceLocation(module.Path),
            module.Path,
            $"no symbol of the name: {outside.Name}",
            "it stands in the kernel's own code and not in the module's"
        );
        return new MatchResult(
            new MatchFailure(MatchReason.NoCandidate, "", outside.Name, outside.Name, outside.Start, 0, 1, [], []),
            [],
            [],
            []
        );
    }

    /// <summary>
    /// Matches an update that goes on top of others as far as an image or <paramref name="module"/> can tell: what is
    /// not there may be what those brought.
    /// </summary>
    public static MatchResult CheckOnTop(MatchData matchData, LoadedModule? module, KernelImage image, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(matchData);
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(diagnostics);
        ImageMemory kernel = new(image);
        var result = MatchInterpreter.Match(matchData.Bytes, module is null ? kernel : new ModuleMemory(module, kernel));
        CheckExports(matchData, module, image, diagnostics);
        if (result.Failure is { Reason: MatchReason.Sealed } uncallable)
            ReportNoEndbr(matchData, module?.Path ?? image.Path, uncallable.Symbol, diagnostics);
        else if (result.Failure is { } failure)
            diagnostics.Report(
                MatchDiagnostics.OnTop,
                failure.Unit.Length == 0 ? null : new SourceLocation(failure.Unit),
                module?.Path ?? image.Path,
                failure
            );
        return result;
    }

    // K22: what new code uses as it is, without matching: the image and the modules' files say whether it may be called.
    private static void CheckExports(MatchData matchData, LoadedModule? module, KernelImage image, DiagnosticBag diagnostics)
    {
        foreach (
            string name in matchData
                .AddressUses.Select(use => use.Symbol)
                .Except(matchData.Exports)
                .OfType<GlobalSymbol>()
                .Select(symbol => symbol.Name)
        )
        {
            // The core's own exports are in neither.
            if (
                (image.FindExport(name) ?? module?.FindExport(name) ?? module?.FindImport(name)) is { } address
                && !(image.HasEndbr(address) && module?.HasEndbr(address) != false)
            )
                ReportNoEndbr(matchData, module?.Path ?? image.Path, name, diagnostics);
        }
    }

    private static void ReportNoEndbr(MatchData matchData, string path, string? name, DiagnosticBag diagnostics)
    {
        var use = matchData.AddressUses.FirstOrDefault(use =>
            name
            == (
                use.Symbol switch
                {
                    GlobalSymbol global => global.Name,
                    LocalSymbol local => local.Name,
                    _ => null,
                }
            )
        );
        diagnostics.Report(
            MatchDiagnostics.NoEndbr,
            new SourceLocation(use?.Unit ?? path),
            path,
            use?.Symbol.DisplayName ?? name,
            string.IsNullOrEmpty(use?.Holder) ? "the new code" : use.Holder
        );
    }

    /// <summary>Matches against any memory; <paramref name="path"/> names it to a person.</summary>
    public static MatchResult Check(MatchData matchData, string path, IMatchMemory memory, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(matchData);
        ArgumentNullException.ThrowIfNull(diagnostics);
        return Check(matchData, path, memory, null, diagnostics);
    }

    private static MatchResult Check(MatchData matchData, string path, IMatchMemory memory, Kallsyms? kernel, DiagnosticBag diagnostics)
    {
        var result = MatchInterpreter.Match(matchData.Bytes, memory);
        if (result.Failure is not { } failure)
            return result;
        var location = failure.Unit.Length == 0 ? new SourceLocation(path) : new SourceLocation(failure.Unit);
        switch (failure.Reason)
        {
            case MatchReason.Ambiguous:
                diagnostics.Report(MatchDiagnostics.Ambiguous, location, path, failure, failure.Candidates);
                break;
            case MatchReason.NoCandidate or MatchReason.Unresolved:
                var needed = failure.Export < 0 ? null : matchData.Exports[failure.Export];
                string? name = (needed as LocalSymbol)?.Name ?? (needed as GlobalSymbol)?.Name ?? failure.Symbol;
                diagnostics.Report(
                    MatchDiagnostics.NotFound,
                    location,
                    path,
                    failure with
                    {
                        Symbol = failure.Symbol ?? needed?.DisplayName,
                    },
                    name is not null && kernel?.Find(name).Any() == true
                        ? "it is init code or data, whose memory the kernel frees after boot"
                        : "no file has it that is compiled in this configuration, or the source is another than the kernel's"
                );
                break;
            case MatchReason.NotInSequence:
                diagnostics.Report(MatchDiagnostics.NotInSequence, location, path, failure, failure.Candidates);
                break;
            case MatchReason.Sealed:
                ReportNoEndbr(matchData, path, failure.Symbol, diagnostics);
                break;
            case MatchReason.NoRoom:
                diagnostics.Report(MatchDiagnostics.NoRoom, location, path, failure);
                break;
            default:
                diagnostics.Report(MatchDiagnostics.Mismatch, location, path, failure);
                break;
        }
        return result;
    }
}
