// The memory of a kernel that ran, as core/memory.c sees it from inside: everything that boot and the kernel itself rewrote is
// there, and the tables are the run kernel's own. What it has freed or keeps in structures of its own is read from the image
// that it was booted from: where the function tracer has sites, and which bytes are not the compiler's.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching;

/// <summary>/proc/kcore or a dump as memory to match against.</summary>
public sealed class RunMemory : IMatchMemory
{
    private const byte Breakpoint = 0xcc;

    private readonly KernelMemory _memory;
    private readonly KernelImage _shipped;
    private readonly ulong _moved;
    private readonly ulong _textEnd;
    private readonly HashSet<ulong> _tracers;

    private RunMemory(KernelMemory memory, KernelImage shipped, ulong text, ulong moved)
    {
        (_memory, _shipped, _moved) = (memory, shipped, moved);
        Text = text;
        Kernel = new ImageMemory(memory.Image);
        _textEnd = memory.Image.Symbols.FindUnique("_etext") ?? ulong.MaxValue;
        _tracers = [.. new[] { "__fentry__", "ftrace_caller", "ftrace_regs_caller" }.Select(memory.Image.Symbols.FindUnique).OfType<ulong>()];
    }

    /// <summary>Where the kernel begins: its <c>_text</c>, which KASLR moves.</summary>
    public ulong Text { get; }

    /// <summary>The kernel as an image without anything of its structures.</summary>
    public ImageMemory Kernel { get; }

    /// <summary>Where the function tracer has sites.</summary>
    internal IReadOnlyCollection<ulong> FtraceSites => [.. _shipped.FtraceSites.Select(site => site + _moved)];

    /// <summary>Takes a run kernel's <paramref name="memory"/> and the image that it was booted from; null if they are not of one build.</summary>
    public static RunMemory? Create(KernelMemory memory, KernelImage shipped, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(memory);
        ArgumentNullException.ThrowIfNull(shipped);
        ArgumentNullException.ThrowIfNull(diagnostics);
        var (run, linked) = (memory.Image.Symbols.FindUnique("_text"), shipped.Symbols.FindUnique("_text"));
        if (memory.Image.Banner.Length != 0 && memory.Image.Banner == shipped.Banner && run is { } text && linked is { } origin)
            return new RunMemory(memory, shipped, text, text - origin);
        diagnostics.Report(MatchDiagnostics.OtherKernel, new SourceLocation(memory.Image.Path), memory.Image.Path, memory.Image.Banner, shipped.Path, shipped.Banner);
        return null;
    }

    /// <inheritdoc/>
    public bool TryRead(ulong address, Span<byte> destination) => Kernel.TryRead(address, destination) || _memory.TryRead(address, destination);

    /// <inheritdoc/>
    public IReadOnlyList<ulong> Candidates(string name) => Kernel.Candidates(name);

    /// <inheritdoc/>
    public bool TryFindExtent(ulong address, out ulong start, out ulong end) => Kernel.TryFindExtent(address, out start, out end);

    /// <inheritdoc/>
    public bool TryFindJumpEntry(ulong code, out ulong target, out ulong key) => Kernel.TryFindJumpEntry(code, out target, out key);

    /// <inheritdoc/>
    public bool TryFindStaticCallKey(ulong code, out ulong key) => Kernel.TryFindStaticCallKey(code, out key);

    /// <summary>True for a site of the tracer that calls its entry, or a trampoline, which lies outside of the kernel's text.</summary>
    public bool IsFtraceTarget(ulong site, ulong target) =>
        _shipped.FtraceSites.Contains(site - _moved) && (_tracers.Contains(target) || target < Text || target >= _textEnd);

    /// <summary>
    /// True for a breakpoint where the image has another byte. Breakpoints are also the padding behind a return or an indirect
    /// jump that boot made shorter: these are none.
    /// </summary>
    public bool IsProbed(ulong address)
    {
        Span<byte> run = stackalloc byte[3], shipped = stackalloc byte[1];
        return TryRead(address - 2, run) && run[2] == Breakpoint && run[1] is not (Breakpoint or 0xc3) && !(run[0] == 0xff && run[1] is >= 0xe0 and <= 0xe7)
            && _shipped.TryRead(address - _moved, shipped) && shipped[0] != Breakpoint;
    }
}
