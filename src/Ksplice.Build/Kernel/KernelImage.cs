// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Kernel;

/// <summary>A piece of the kernel's memory with its bytes.</summary>
/// <param name="VirtualAddress">Where it begins.</param>
/// <param name="MemorySize">Its size in memory in bytes.</param>
/// <param name="IsExecutable">True if it is known to be machine code.</param>
/// <param name="Data">The bytes at its start; the rest is zero.</param>
public sealed record ImageSegment(ulong VirtualAddress, ulong MemorySize, bool IsExecutable, ReadOnlyMemory<byte> Data);

/// <summary>
/// A kernel as it is shipped: the memory that it will have before it runs, and what it knows of itself. Read from a vmlinuz or a
/// vmlinux; no debug package and no boot is needed.
/// </summary>
public sealed class KernelImage
{
    private readonly Func<string, ReadOnlyMemory<byte>?> _sections;
    private readonly Lazy<KernelTables> _tables;
    private readonly Lazy<Dictionary<ulong, ulong>> _trampolineKeys;
    private readonly Lazy<Dictionary<string, ulong>> _exports;
    private readonly Lazy<HashSet<ulong>> _ftraceSites;

    private KernelImage(string path, IReadOnlyList<ImageSegment> segments, Func<string, ReadOnlyMemory<byte>?> sections)
    {
        Path = path;
        Segments = segments;
        _sections = sections;
        Symbols = Kallsyms.Decode(segments);
        _tables = new(ReadTables);
        _trampolineKeys = new(() => KernelTables.ReadStaticCalls(Table("static_call_tramp_key")));
        _exports = new(ReadExports);
        _ftraceSites = new(ReadFtraceSites);
        HasIbt = Symbols.FindUnique("__ibt_endbr_seal") is not null;
        SealableText = HasIbt ? (Symbols.FindUnique("_stext") ?? 0, Symbols.FindUnique("_etext") ?? ulong.MaxValue) : default;
        Banner = ReadBanner();
        string[] words = Banner.Split(' ');
        Release = words.Length > 2 ? words[2] : "";
    }

    /// <summary>The file it was read from.</summary>
    public string Path { get; }

    /// <summary>What of it is loaded, in the order of the program headers.</summary>
    public IReadOnlyList<ImageSegment> Segments { get; }

    /// <summary>The kernel's own symbol table.</summary>
    public Kallsyms Symbols { get; }

    /// <summary>The text of /proc/version, <c>Linux version 6.1.0-… (…) (gcc …) #1 SMP … Debian 6.1.192-2 (…)</c>.</summary>
    public string Banner { get; }

    /// <summary>The release, as <c>uname -r</c> shows it.</summary>
    public string Release { get; }

    /// <summary>Opens an image, or reports what is wrong with it and returns null.</summary>
    public static KernelImage? Open(string path, DiagnosticBag diagnostics)
    {
        try
        {
            return Read(File.ReadAllBytes(path), path);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or InvalidDataException or ElfFormatException)
        {
            diagnostics.Report(KernelDiagnostics.BadImage, new SourceLocation(path), path, error.Message);
            return null;
        }
    }

    /// <summary>Reads an image from memory; <paramref name="path"/> is for messages.</summary>
    /// <exception cref="InvalidDataException">It is no kernel, or not one of a known layout.</exception>
    /// <exception cref="ElfFormatException">The vmlinux inside is malformed.</exception>
    public static KernelImage Read(ReadOnlyMemory<byte> bytes, string path)
    {
        bool isElf = bytes.Length > 4 && bytes.Span[..4].SequenceEqual("\u007fELF"u8);
        var vmlinux = isElf ? bytes : KernelPayload.Unpack(bytes);
        var file = ImageFile.ReadImage(vmlinux, path);
        return new KernelImage(
            path,
            [
                .. file.Segments.Select(segment => new ImageSegment(
                    segment.Virtual,
                    segment.MemorySize,
                    segment.IsExecutable,
                    vmlinux.Slice((int)segment.Offset, (int)segment.FileSize)
                )),
            ],
            name => file.FindSection(name) is var (offset, size) ? vmlinux.Slice((int)offset, (int)size) : null
        );
    }

    /// <summary>A kernel as it stands in memory, with the addresses that it has there.</summary>
    /// <exception cref="InvalidDataException">Its symbol table is not found.</exception>
    internal static KernelImage FromMemory(string path, IReadOnlyList<ImageSegment> segments) => new(path, segments, _ => null);

    /// <summary>The bytes of the first section of that name in the file, or null; memory has no sections.</summary>
    public ReadOnlyMemory<byte>? FindSection(string name) => _sections(name);

    /// <summary>
    /// The bytes from <paramref name="address"/> on: up to <paramref name="maximum"/> of them, fewer where the segment's bytes end, none
    /// where no byte of the image lies.
    /// </summary>
    public ReadOnlySpan<byte> Slice(ulong address, int maximum)
    {
        foreach (var segment in Segments)
        {
            ulong offset = address - segment.VirtualAddress;
            if (address >= segment.VirtualAddress && offset < (ulong)segment.Data.Length)
                return segment.Data.Span.Slice((int)offset, (int)Math.Min((ulong)maximum, (ulong)segment.Data.Length - offset));
        }

        return default;
    }

    /// <summary>
    /// Copies exactly the length of <paramref name="destination"/>, or returns false. Memory that the image
    /// leaves to be zeroed (.bss) reads as zeros.
    /// </summary>
    public bool TryRead(ulong address, Span<byte> destination)
    {
        foreach (var segment in Segments)
        {
            ulong offset = address - segment.VirtualAddress;
            if (address < segment.VirtualAddress || offset >= segment.MemorySize || (ulong)destination.Length > segment.MemorySize - offset)
                continue;
            destination.Clear();
            if (offset < (ulong)segment.Data.Length)
            {
                var bytes = segment.Data.Span[(int)offset..];
                bytes[..Math.Min(bytes.Length, destination.Length)].CopyTo(destination);
            }

            return true;
        }

        return false;
    }

    /// <summary>
    /// The symbol at or before <paramref name="address"/> with the distance to it, <c>name+0x10</c>; null outside of the image.
    /// </summary>
    internal string? NameOf(ulong address) =>
        Slice(address, 1).IsEmpty || Symbols.Nearest(address) is not { } nearest ? null
        : address == nearest.Symbol.Address ? nearest.Symbol.Name
        : $"{nearest.Symbol.Name}+0x{address - nearest.Symbol.Address:x}";

    /// <summary>The kernel's own tables of its code.</summary>
    public KernelTables Tables => _tables.Value;

    /// <summary>
    /// The key of the static call whose trampoline is at <paramref name="trampoline"/>, if modules may call but not
    /// change it (struct static_call_tramp_key).
    /// </summary>
    public ulong? FindTrampolineKey(ulong trampoline) => _trampolineKeys.Value.TryGetValue(trampoline, out ulong key) ? key : null;

    /// <summary>The address of what the kernel exports to modules under that name, or null.</summary>
    public ulong? FindExport(string name) => _exports.Value.TryGetValue(name, out ulong address) ? address : null;

    /// <summary>
    /// True if it is built with CONFIG_X86_KERNEL_IBT: only then does the linker script have a table of ENDBR to overwrite.
    /// </summary>
    public bool HasIbt { get; }

    /// <summary>Where ENDBR decides what may be called indirectly; empty without IBT.</summary>
    internal (ulong Start, ulong End) SealableText { get; }

    internal bool IsSealable(ulong address) => address >= SealableText.Start && address < SealableText.End;

    /// <summary>False if <paramref name="address"/> is code without ENDBR, or with one that boot overwrites (K22).</summary>
    public bool HasEndbr(ulong address) => !IsSealable(address) || (IsEndbr(Slice(address, EndbrSize)) && !Tables.Seals.Contains(address));

    internal const int EndbrSize = 4;

    internal static bool IsEndbr(ReadOnlySpan<byte> code) => code.StartsWith<byte>([0xf3, 0x0f, 0x1e, 0xfa]);

    /// <summary>Where the function tracer has a site; an image that runs has freed the table.</summary>
    internal IReadOnlySet<ulong> FtraceSites => _ftraceSites.Value;

    private KernelTables ReadTables()
    {
        var bugs = Table("__bug_table");
        return KernelTables.Read(
            Table("__jump_table"),
            Table("static_call_sites"),
            bugs,
            KernelTables.FindBugSize(bugs, Symbols.FindUnique("_text") ?? 0, Symbols.FindUnique("_end") ?? 0),
            Table("__ex_table"),
            Table("__ibt_endbr_seal", "__ibt_endbr_seal_end")
        );
    }

    private HashSet<ulong> ReadFtraceSites()
    {
        var bytes = Table("mcount_loc").Bytes.Span;
        return [.. MemoryMarshal.Cast<byte, ulong>(bytes[..(bytes.Length & ~7)])];
    }

    // struct kernel_symbol: value, name and namespace.
    private Dictionary<string, ulong> ReadExports()
    {
        const int Size = 12;
        var exports = new Dictionary<string, ulong>(StringComparer.Ordinal);
        foreach (string name in (string[])["__ksymtab", "__ksymtab_gpl"])
        {
            var table = Table(name);
            foreach (int at in table.Entries(Size))
                exports[Text(table.Address(at + 4), 512)] = table.Address(at);
        }

        return exports;
    }

    private string Text(ulong address, int maximum)
    {
        var text = Slice(address, maximum);
        int end = text.IndexOf((byte)0);
        return Encoding.Latin1.GetString(end < 0 ? text : text[..end]);
    }

    // The linker script's names for the bounds of a table.
    private RelativeTable Table(string name) => Table("__start_" + name, "__stop_" + name);

    private RelativeTable Table(string first, string end)
    {
        if (
            Symbols.FindUnique(first) is not { } start
            || Symbols.FindUnique(end) is not { } stop
            || stop < start
            || stop - start > int.MaxValue
        )
            return default;
        var bytes = new byte[stop - start];
        return TryRead(start, bytes) ? new(start, bytes) : default;
    }

    private string ReadBanner()
    {
        return Symbols.FindUnique("linux_banner") is { } address ? Text(address, 1024).TrimEnd() : "";
    }
}
