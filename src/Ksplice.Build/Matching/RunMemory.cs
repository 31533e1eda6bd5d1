// SPDX-License-Identifier: MIT
// The memory of a kernel that ran, as core/memory.c sees it from inside: everything that boot and the kernel itself rewrote is
// there, and the tables are the run kernel's own. What it has freed or keeps in structures of its own is read from the image
// that it was booted from: where the function tracer has sites, and which bytes are not the compiler's.
using System.Buffers.Binary;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching;

/// <summary>/proc/kcore or a dump as memory to match against.</summary>
public sealed class RunMemory : IMatchMemory
{
    private const byte Breakpoint = 0xcc;
    private const byte Jump = 0xe9;
    private const int JumpSize = 5,
        ClacSize = 3;

    // Documentation/x86/x86_64/mm.rst: modules, and what the kernel makes of code for itself.
    private const ulong ModulesStart = 0xffffffffc0000000;

    private readonly KernelMemory _memory;
    private readonly KernelImage _shipped;
    private readonly ulong _moved;
    private readonly ulong _textEnd;
    private readonly HashSet<ulong> _tracers;
    private readonly Lazy<(byte[] Bytes, int Clac)> _template;

    private RunMemory(KernelMemory memory, KernelImage shipped, ulong text, ulong moved)
    {
        (_memory, _shipped, _moved) = (memory, shipped, moved);
        Text = text;
        Kernel = new ImageMemory(memory.Image);
        _template = new(ReadTemplate);
        _textEnd = memory.Image.Symbols.FindUnique("_etext") ?? ulong.MaxValue;
        _tracers =
        [
            .. new[] { "__fentry__", "ftrace_caller", "ftrace_regs_caller" }.Select(memory.Image.Symbols.FindUnique).OfType<ulong>(),
        ];
    }

    /// <summary>Where the kernel begins: its <c>_text</c>, which KASLR moves.</summary>
    public ulong Text { get; }

    /// <summary>The kernel as an image without anything of its structures.</summary>
    public ImageMemory Kernel { get; }

    /// <summary>Where the function tracer has sites.</summary>
    internal IReadOnlyCollection<ulong> FtraceSites => [.. _shipped.FtraceSites.Select(site => site + _moved)];

    /// <summary>
    /// Takes a run kernel's <paramref name="memory"/> and the image that it was booted from; null if they are not of one build.
    /// </summary>
    public static RunMemory? Create(KernelMemory memory, KernelImage shipped, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(memory);
        ArgumentNullException.ThrowIfNull(shipped);
        ArgumentNullException.ThrowIfNull(diagnostics);
        var (run, linked) = (memory.Image.Symbols.FindUnique("_text"), shipped.Symbols.FindUnique("_text"));
        if (memory.Image.Banner.Length != 0 && memory.Image.Banner == shipped.Banner && run is { } text && linked is { } origin)
            return new RunMemory(memory, shipped, text, text - origin);
        diagnostics.Report(
            MatchDiagnostics.OtherKernel,
            new SourceLocation(memory.Image.Path),
            memory.Image.Path,
            memory.Image.Banner,
            shipped.Path,
            shipped.Banner
        );
        return null;
    }

    /// <inheritdoc/>
    public bool TryRead(ulong address, Span<byte> destination) =>
        Kernel.TryRead(address, destination) || _memory.TryRead(address, destination);

    /// <inheritdoc/>
    public IReadOnlyList<ulong> Candidates(string name) => Kernel.Candidates(name);

    /// <inheritdoc/>
    public IReadOnlyList<ulong> Candidates(ReadOnlySpan<byte> name) => Kernel.Candidates(name);

    /// <inheritdoc/>
    public bool TryFindExtent(ulong address, out ulong start, out ulong end) => Kernel.TryFindExtent(address, out start, out end);

    /// <inheritdoc/>
    public KernelTables Tables => Kernel.Tables;

    /// <summary>True for a site of the tracer that calls its entry, or a trampoline, which lies outside of the kernel's text.</summary>
    public bool IsFtraceTarget(ulong site, ulong target) =>
        _shipped.FtraceSites.Contains(site - _moved) && (_tracers.Contains(target) || target < Text || target >= _textEnd);

    /// <summary>True where the image has other code than a kprobe's breakpoint, or than the jump that an optimised one is.</summary>
    public bool IsProbed(ulong address)
    {
        Span<byte> code = stackalloc byte[JumpSize],
            shipped = stackalloc byte[1];
        return TryRead(address, code)
            && _shipped.TryRead(address - _moved, shipped)
            && shipped[0] != code[0]
            && code[0] switch
            {
                Breakpoint => !IsPadding(address),
                Jump => IsDetour(address + JumpSize + (ulong)BinaryPrimitives.ReadInt32LittleEndian(code[1..])),
                _ => false,
            };
    }

    /// <summary>The bytes decide: a kernel that ran has overwritten what its table names, and freed the table.</summary>
    public bool HasEndbr(ulong address)
    {
        Span<byte> code = stackalloc byte[4];
        return !_shipped.IsSealable(address - _moved) || (TryRead(address, code) && KernelImage.IsEndbr(code));
    }

    /// <summary>What stands at an address behind the kernel itself, for a person; null where nothing is known of it.</summary>
    public string? NameOf(ulong address) =>
        address < ModulesStart ? null
        : IsDetour(address) ? "a kprobe's detour"
        : "code of a module, as an update's is";

    // A breakpoint is also the padding behind a return or an indirect jump that boot made shorter.
    private bool IsPadding(ulong address)
    {
        Span<byte> before = stackalloc byte[2];
        return !TryRead(address - 2, before) || before[1] is Breakpoint or 0xc3 || (before[0] == 0xff && before[1] is >= 0xe0 and <= 0xe7);
    }

    /// <summary>
    /// True for what the jump of an optimised kprobe leads to: a copy of optprobe_template_entry, in which the kernel writes over the
    /// clac, the probe's address and the call (arch/x86/kernel/kprobes/opt.c).
    /// </summary>
    private bool IsDetour(ulong address)
    {
        var (template, clac) = _template.Value;
        if (address < ModulesStart || template.Length == 0)
            return false;
        byte[] found = new byte[template.Length];
        return TryRead(address, found)
            && template.AsSpan(0, clac).SequenceEqual(found.AsSpan(0, clac))
            && template.AsSpan(clac + ClacSize).SequenceEqual(found.AsSpan(clac + ClacSize));
    }

    // Its bytes up to the probe's address, and where in them the clac is; empty if the kernel has none that is understood.
    private (byte[] Bytes, int Clac) ReadTemplate()
    {
        ulong?[] marks =
        [
            .. new[] { "entry", "clac", "val" }.Select(mark => _memory.Image.Symbols.FindUnique("optprobe_template_" + mark)),
        ];
        if (marks is not [{ } entry, { } clac, { } value] || clac < entry || value < clac + ClacSize || value - entry > 256)
            return ([], 0);
        byte[] bytes = new byte[value - entry];
        return TryRead(entry, bytes) ? (bytes, (int)(clac - entry)) : ([], 0);
    }
}
