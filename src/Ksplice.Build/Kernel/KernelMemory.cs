// SPDX-License-Identifier: MIT
// The memory of a kernel that runs, or ran when a dump was made. Addresses are the run kernel's own, wherever it was loaded
// (KASLR): the kernel's page tables say where in physical memory they lie, and the table of its symbols stands in its memory,
// with run addresses. So nothing needs to be known or guessed beforehand but where the page tables are, which a dump tells in
// one of two ways: the CR3 of a processor (qemu's notes), or the address of swapper_pg_dir (the VMCOREINFO note). Either is
// believed only if the symbol table is found through it.
using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Kernel;

/// <summary>A run kernel's memory.</summary>
public sealed class KernelMemory : IDisposable
{
    // Documentation/x86/x86_64/mm.rst: the kernel's own code and data; modules lie behind.
    private const ulong ImageStart = 0xffffffff80000000;
    private const ulong ImageEnd = 0xffffffffc0000000;
    private const ulong HalfOfKernel = 0xffff800000000000;
    private const ulong HalfOfKernelWithFive = 0xff00000000000000;
    private const int PageSize = 4096;
    private const ulong Present = 1;
    private const ulong Large = 1 << 7;
    private const ulong FrameMask = 0x000ffffffffff000;
    private const int MinimalImage = 1 << 22;

    // QEMU's QEMUCPUState: version and size, 18 registers, 10 segments of 24 bytes, then cr0 to cr4.
    private const int StateCr3 = 8 + 18 * 8 + 10 * 24 + 3 * 8;
    private const int StateCr4 = StateCr3 + 8;
    private const ulong FiveLevels = 1 << 12;

    private readonly CoreFile _core;
    private readonly PageTables? _root;

    private KernelMemory(CoreFile core, PageTables? root, string path)
    {
        (_core, _root) = (core, root);
        Image = KernelImage.FromMemory(path, ReadImage());
    }

    /// <summary>Where the topmost table is in physical memory, and whether there are five or four levels of them.</summary>
    private readonly record struct PageTables(ulong Address, bool HasFiveLevels);

    /// <summary>The kernel itself, as it stood in memory; freed init memory may be missing.</summary>
    public KernelImage Image { get; }

    /// <summary>Opens /proc/kcore or a dump.</summary>
    /// <exception cref="ElfFormatException">It is no core file, or its headers are malformed.</exception>
    /// <exception cref="InvalidDataException">No kernel is found in it.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be read.</exception>
    public static KernelMemory Open(string path)
    {
        var core = CoreFile.Open(path);
        try
        {
            return Find(core, path)
                ?? throw new InvalidDataException(
                    "no kernel's symbol table is found in it: its page tables are not there, or it is no Linux kernel's"
                );
        }
        catch
        {
            core.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _core.Dispose();

    /// <summary>Copies the bytes at a kernel address, or returns false if some of them are not mapped or not in the file.</summary>
    public bool TryRead(ulong address, Span<byte> to)
    {
        while (!to.IsEmpty)
        {
            int part = (int)Math.Min((ulong)to.Length, PageSize - address % PageSize);
            if (
                !(
                    _root is { } root
                        ? Translate(root, address, out _) is { } physical && TryReadPhysical(physical, to[..part])
                        : TryReadVirtual(address, to[..part])
                )
            )
                return false;
            to = to[part..];
            address += (ulong)part;
        }
        return true;
    }

    private static KernelMemory? Find(CoreFile core, string path)
    {
        bool isVirtual = core.Segments.Any(segment => segment.Virtual >= ImageStart);
        foreach (PageTables? root in isVirtual ? [null] : Roots(core).Distinct().Select(root => (PageTables?)root))
        {
            try
            {
                return new KernelMemory(core, root, path);
            }
            catch (InvalidDataException)
            {
                // A user's half of split page tables, a processor that had not yet started.
            }
        }
        return null;
    }

    private static IEnumerable<PageTables> Roots(CoreFile core)
    {
        foreach (var note in core.Notes.Where(note => note.Owner == "VMCOREINFO"))
        {
            var values = Encoding
                .Latin1.GetString(note.Data)
                .Split('\n')
                .Select(line => line.Split('=', 2))
                .Where(pair => pair.Length == 2)
                .GroupBy(pair => pair[0], StringComparer.Ordinal)
                .ToDictionary(group => group.Key, group => group.First()[1], StringComparer.Ordinal);
            if (
                values.TryGetValue("SYMBOL(swapper_pg_dir)", out string? tables)
                && values.TryGetValue("NUMBER(phys_base)", out string? physical)
                && ulong.TryParse(tables, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong address)
                && long.TryParse(physical, NumberStyles.Integer, CultureInfo.InvariantCulture, out long phys)
            )
                yield return new PageTables(
                    address - ImageStart + (ulong)phys,
                    values.GetValueOrDefault("NUMBER(pgtable_l5_enabled)") == "1"
                );
        }
        foreach (var note in core.Notes.Where(note => note.Owner == "QEMU" && note.Data.Length >= StateCr4 + 8))
        {
            bool five = (BinaryPrimitives.ReadUInt64LittleEndian(note.Data.AsSpan(StateCr4)) & FiveLevels) != 0;
            ulong root = BinaryPrimitives.ReadUInt64LittleEndian(note.Data.AsSpan(StateCr3)) & FrameMask;
            yield return new PageTables(root, five);
            // With page table isolation the user's table stands in the second page of two (arch/x86/include/asm/pgtable.h).
            yield return new PageTables(root & ~(ulong)PageSize, five);
        }
    }

    /// <summary>Walks the page tables; where nothing is mapped, <paramref name="size"/> is how much of the address space that is.</summary>
    private ulong? Translate(PageTables root, ulong address, out ulong size)
    {
        Span<byte> bytes = stackalloc byte[8];
        ulong table = root.Address;
        size = 0;
        if (address < (root.HasFiveLevels ? HalfOfKernelWithFive : HalfOfKernel))
            return null; // a user's, or none that the processor takes
        for (int shift = root.HasFiveLevels ? 48 : 39; shift >= 12; shift -= 9)
        {
            size = 1ul << shift;
            if (!TryReadPhysical(table + ((address >> shift) & 511) * 8, bytes))
                return null;
            ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
            if ((entry & Present) == 0)
                return null;
            if (shift == 12 || (shift <= 30 && (entry & Large) != 0))
                return (entry & FrameMask & ~(size - 1)) + (address & (size - 1));
            table = entry & FrameMask;
        }
        return null;
    }

    private bool TryReadPhysical(ulong address, Span<byte> to)
    {
        foreach (var segment in _core.Segments)
        {
            ulong offset = address - segment.Physical;
            if (address >= segment.Physical && offset < segment.FileSize && (ulong)to.Length <= segment.FileSize - offset)
                return _core.TryRead(segment.Offset + (long)offset, to);
        }
        return false;
    }

    private bool TryReadVirtual(ulong address, Span<byte> to)
    {
        foreach (var segment in _core.Segments)
        {
            ulong offset = address - segment.Virtual;
            if (
                segment.Virtual >= HalfOfKernel
                && address >= segment.Virtual
                && offset < segment.FileSize
                && (ulong)to.Length <= segment.FileSize - offset
            )
                return _core.TryRead(segment.Offset + (long)offset, to);
        }
        return false;
    }

    // The kernel's own memory: what is mapped of the space that it has for itself, a segment for each piece.
    private List<ImageSegment> ReadImage()
    {
        List<ImageSegment> segments = [];
        ulong start = 0;
        MemoryStream piece = new();
        byte[] page = new byte[PageSize];
        for (ulong at = ImageStart; at < ImageEnd; at += PageSize)
        {
            if (TryRead(at, page))
            {
                if (piece.Length == 0)
                    start = at;
                piece.Write(page);
                continue;
            }
            Flush();
            at = NextMapped(at) - PageSize;
        }
        Flush();
        if (segments.Sum(segment => (long)segment.Data.Length) < MinimalImage)
            throw new InvalidDataException("the kernel's own memory is not in it");
        return segments;

        void Flush()
        {
            if (piece.Length == 0)
                return;
            segments.Add(new ImageSegment(start, (ulong)piece.Length, false, piece.ToArray()));
            piece = new MemoryStream();
        }
    }

    // Behind a page that is not there: where the next one may be.
    private ulong NextMapped(ulong at)
    {
        if (_root is { } root)
            return Translate(root, at, out ulong size) is not null ? at + PageSize
                : size >= ImageEnd - ImageStart ? ImageEnd
                : (at & ~(size - 1)) + size;
        var behind = _core.Segments.Where(segment => segment.Virtual >= HalfOfKernel && at + PageSize - segment.Virtual < segment.FileSize);
        return behind.Any()
            ? at + PageSize
            : _core
                .Segments.Select(segment => segment.Virtual)
                .Where(start => start > at && start < ImageEnd)
                .DefaultIfEmpty(ImageEnd)
                .Min();
    }
}
