// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
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
    private readonly Lazy<Dictionary<ulong, (ulong Target, ulong Key)>> _jumpEntries;
    private readonly Lazy<Dictionary<ulong, ulong>> _staticCalls;
    private readonly Lazy<Dictionary<ulong, ulong>> _trampolineKeys;
    private readonly Lazy<(int Size, Dictionary<ulong, BugEntry> Entries)> _bugs;
    private readonly Lazy<ExceptionTable> _exceptions;
    private readonly Lazy<Dictionary<string, ulong>> _exports;
    private readonly Lazy<HashSet<ulong>> _ftraceSites;
    private readonly Lazy<HashSet<ulong>> _seals;

    private KernelImage(string path, IReadOnlyList<ImageSegment> segments, Func<string, ReadOnlyMemory<byte>?> sections)
    {
        Path = path;
        Segments = segments;
        _sections = sections;
        Symbols = Kallsyms.Decode(segments);
        _jumpEntries = new(ReadJumpEntries);
        _staticCalls = new(() => ReadPairs("__start_static_call_sites", "__stop_static_call_sites"));
        _trampolineKeys = new(() => ReadPairs("__start_static_call_tramp_key", "__stop_static_call_tramp_key"));
        _bugs = new(ReadBugs);
        _exceptions = new(() =>
            Table("__start___ex_table", "__stop___ex_table") is var (start, bytes)
                ? TrapTables.ReadExceptions(start, bytes)
                : new ExceptionTable([])
        );
        _exports = new(ReadExports);
        _ftraceSites = new(ReadFtraceSites);
        _seals = new(ReadSeals);
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

    /// <summary>
    /// The kernel's own jump table entry for the branch at <paramref name="code"/> (struct jump_entry); the key with its flag bits,
    /// of which bit 0 is the branch's sense.
    /// </summary>
    public bool TryFindJumpEntry(ulong code, out ulong target, out ulong key)
    {
        bool found = _jumpEntries.Value.TryGetValue(code, out var entry);
        (target, key) = entry;
        return found;
    }

    /// <summary>The key of the kernel's own static call site at <paramref name="code"/> (struct static_call_site).</summary>
    public bool TryFindStaticCallKey(ulong code, out ulong key) => _staticCalls.Value.TryGetValue(code, out key);

    /// <summary>The kernel's own bug table entry for the trap at <paramref name="code"/>.</summary>
    public bool TryFindBug(ulong code, out BugEntry bug) => _bugs.Value.Entries.TryGetValue(code, out bug);

    /// <summary>The kernel's own exception table entry for the instruction at <paramref name="code"/>.</summary>
    public bool TryFindException(ulong code, out ExceptionEntry exception) => _exceptions.Value.TryFind(code, out exception);

    /// <summary>How many instructions from <paramref name="start"/> to <paramref name="end"/>, one past the last byte, have one.</summary>
    public int CountExceptions(ulong start, ulong end) => _exceptions.Value.CountBetween(start, end);

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

    /// <summary>Each ENDBR that boot overwrites; an image that runs has freed the table.</summary>
    internal IReadOnlyCollection<ulong> Seals => _seals.Value;

    internal bool IsSealable(ulong address) => address >= SealableText.Start && address < SealableText.End;

    /// <summary>False if <paramref name="address"/> is code without ENDBR, or with one that boot overwrites (K22).</summary>
    public bool HasEndbr(ulong address) => !IsSealable(address) || (IsEndbr(Slice(address, EndbrSize)) && !_seals.Value.Contains(address));

    internal const int EndbrSize = 4;

    internal static bool IsEndbr(ReadOnlySpan<byte> code) => code.StartsWith<byte>([0xf3, 0x0f, 0x1e, 0xfa]);

    /// <summary>All entries of the jump table, by code address.</summary>
    internal IReadOnlyDictionary<ulong, (ulong Target, ulong Key)> JumpEntries => _jumpEntries.Value;

    /// <summary>Where the function tracer has a site; an image that runs has freed the table.</summary>
    internal IReadOnlySet<ulong> FtraceSites => _ftraceSites.Value;

    /// <summary>The keys of all static call sites, by site.</summary>
    internal IReadOnlyDictionary<ulong, ulong> StaticCalls => _staticCalls.Value;

    /// <summary>All entries of the bug table, by trap.</summary>
    internal IReadOnlyDictionary<ulong, BugEntry> Bugs => _bugs.Value.Entries;

    /// <summary>Bytes of an entry of a bug table, or 0.</summary>
    internal int BugSize => _bugs.Value.Size;

    /// <summary>All entries of the exception table, by instruction.</summary>
    internal IReadOnlyDictionary<ulong, ExceptionEntry> Exceptions => _exceptions.Value.Entries;

    private (int, Dictionary<ulong, BugEntry>) ReadBugs()
    {
        var (start, bytes) = Table("__start___bug_table", "__stop___bug_table");
        int size = TrapTables.BugSize(start, bytes, Symbols.FindUnique("_text") ?? 0, Symbols.FindUnique("_end") ?? 0);
        return (size, TrapTables.ReadBugs(start, bytes, size));
    }

    private Dictionary<ulong, (ulong Target, ulong Key)> ReadJumpEntries()
    {
        var entries = new Dictionary<ulong, (ulong, ulong)>();
        var (start, bytes) = Table("__start___jump_table", "__stop___jump_table");
        for (int at = 0; at + 16 <= bytes.Length; at += 16)
        {
            ulong address = start + (ulong)at;
            ulong key = address + 8 + (ulong)BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at + 8));
            entries[address + (ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at))] = (
                address + 4 + (ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at + 4)),
                key
            );
        }

        return entries;
    }

    // Two addresses, each relative to its own place; the second may have flags in its low bits.
    private Dictionary<ulong, ulong> ReadPairs(string first, string end)
    {
        var entries = new Dictionary<ulong, ulong>();
        var (start, bytes) = Table(first, end);
        for (int at = 0; at + 8 <= bytes.Length; at += 8)
        {
            ulong address = start + (ulong)at;
            ulong key = address + 4 + (ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at + 4));
            entries[address + (ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at))] = key & ~3ul;
        }

        return entries;
    }

    private HashSet<ulong> ReadFtraceSites()
    {
        var (_, bytes) = Table("__start_mcount_loc", "__stop_mcount_loc");
        return [.. MemoryMarshal.Cast<byte, ulong>(bytes.AsSpan(0, bytes.Length & ~7))];
    }

    // Each relative to its own place (arch/x86/kernel/alternative.c, apply_seal_endbr).
    private HashSet<ulong> ReadSeals()
    {
        var (start, bytes) = Table("__ibt_endbr_seal", "__ibt_endbr_seal_end");
        HashSet<ulong> seals = [];
        for (int at = 0; at + 4 <= bytes.Length; at += 4)
            seals.Add(start + (ulong)at + (ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at)));
        return seals;
    }

    // struct kernel_symbol: value, name and namespace, each relative to its own place.
    private Dictionary<string, ulong> ReadExports()
    {
        const int Size = 12;
        var exports = new Dictionary<string, ulong>(StringComparer.Ordinal);
        foreach (string table in (string[])["__ksymtab", "__ksymtab_gpl"])
        {
            var (start, bytes) = Table("__start_" + table, "__stop_" + table);
            for (int at = 0; at + Size <= bytes.Length; at += Size)
            {
                ulong address = start + (ulong)at;
                ulong name = address + 4 + (ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at + 4));
                exports[Text(name, 512)] = address + (ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at));
            }
        }

        return exports;
    }

    private string Text(ulong address, int maximum)
    {
        var text = Slice(address, maximum);
        int end = text.IndexOf((byte)0);
        return Encoding.Latin1.GetString(end < 0 ? text : text[..end]);
    }

    private (ulong Start, byte[] Bytes) Table(string first, string end)
    {
        if (
            Symbols.FindUnique(first) is not { } start
            || Symbols.FindUnique(end) is not { } stop
            || stop < start
            || stop - start > int.MaxValue
        )
            return (0, []);
        var bytes = new byte[stop - start];
        return TryRead(start, bytes) ? (start, bytes) : (0, []);
    }

    private string ReadBanner()
    {
        return Symbols.FindUnique("linux_banner") is { } address ? Text(address, 1024).TrimEnd() : "";
    }
}
