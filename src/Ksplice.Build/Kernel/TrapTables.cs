// SPDX-License-Identifier: MIT
// __bug_table and __ex_table, as they are laid out on x86-64: each address is relative to its own place.
using System.Buffers.Binary;

namespace Ksplice.Build.Kernel;

/// <summary>An entry of the bug table (struct bug_entry, include/asm-generic/bug.h).</summary>
/// <param name="File">The address of the source file's name, 0 where the kernel keeps none.</param>
/// <param name="Line">The line, 0 where the kernel keeps none.</param>
/// <param name="Flags">BUGFLAG_ bits.</param>
public readonly record struct BugEntry(ulong File, uint Line, uint Flags)
{
    /// <summary>Bytes of an entry with file and line (CONFIG_DEBUG_BUGVERBOSE), and without.</summary>
    internal const int LongSize = 12,
        ShortSize = 8;

    /// <summary>All flags but BUGFLAG_DONE, which the kernel sets when a warning was given.</summary>
    internal const uint ComparedFlags = 0xfffb;
}

/// <summary>An entry of the exception table (struct exception_table_entry, arch/x86/include/asm/extable.h).</summary>
/// <param name="Fixup">Where the kernel goes on after a fault.</param>
/// <param name="Data">What it does before: an EX_TYPE_, a register, a number.</param>
public readonly record struct ExceptionEntry(ulong Fixup, uint Data)
{
    /// <summary>Bytes of an entry.</summary>
    internal const int Size = 12;
}

/// <summary>An exception table, by instruction.</summary>
internal sealed class ExceptionTable(Dictionary<ulong, ExceptionEntry> entries)
{
    private readonly ulong[] _codes = [.. entries.Keys.Order()];

    public IReadOnlyDictionary<ulong, ExceptionEntry> Entries => entries;

    public bool TryFind(ulong code, out ExceptionEntry entry) => entries.TryGetValue(code, out entry);

    /// <summary>How many instructions from <paramref name="start"/> to <paramref name="end"/>, one past the last byte, have one.</summary>
    public int CountBetween(ulong start, ulong end) => CountBelow(end) - CountBelow(start);

    private int CountBelow(ulong address)
    {
        int index = Array.BinarySearch(_codes, address);
        return index < 0 ? ~index : index;
    }
}

/// <summary>Reads the tables of a kernel or of a module.</summary>
internal static class TrapTables
{
    /// <summary>
    /// The size of an entry of a kernel's bug table, which depends on the configuration: that by which each entry leads into the
    /// kernel's text. 0 if none does; then the table is taken for empty, and what wants an entry does not match.
    /// </summary>
    public static int BugSize(ulong start, ReadOnlySpan<byte> bytes, ulong textStart, ulong textEnd)
    {
        foreach (int size in (int[])[BugEntry.LongSize, BugEntry.ShortSize])
        {
            int at = bytes.Length % size == 0 ? 0 : -1;
            while (at >= 0 && at < bytes.Length && Relative(bytes, at, start) is var code && code >= textStart && code < textEnd)
                at += size;
            if (at == bytes.Length)
                return size;
        }
        return 0;
    }

    /// <summary>The bug table in <paramref name="bytes"/> at <paramref name="start"/>, by trap.</summary>
    public static Dictionary<ulong, BugEntry> ReadBugs(ulong start, ReadOnlySpan<byte> bytes, int size)
    {
        Dictionary<ulong, BugEntry> entries = [];
        for (int at = 0; size != 0 && at + size <= bytes.Length; at += size)
        {
            entries.TryAdd(
                Relative(bytes, at, start),
                size == BugEntry.LongSize
                    ? new BugEntry(
                        Relative(bytes, at + 4, start),
                        BinaryPrimitives.ReadUInt16LittleEndian(bytes[(at + 8)..]),
                        BinaryPrimitives.ReadUInt16LittleEndian(bytes[(at + 10)..])
                    )
                    : new BugEntry(0, 0, BinaryPrimitives.ReadUInt16LittleEndian(bytes[(at + 4)..]))
            );
        }
        return entries;
    }

    /// <summary>The exception table in <paramref name="bytes"/> at <paramref name="start"/>, by instruction.</summary>
    public static ExceptionTable ReadExceptions(ulong start, ReadOnlySpan<byte> bytes)
    {
        Dictionary<ulong, ExceptionEntry> entries = [];
        for (int at = 0; at + ExceptionEntry.Size <= bytes.Length; at += ExceptionEntry.Size)
            entries.TryAdd(
                Relative(bytes, at, start),
                new ExceptionEntry(Relative(bytes, at + 4, start), BinaryPrimitives.ReadUInt32LittleEndian(bytes[(at + 8)..]))
            );
        return new ExceptionTable(entries);
    }

    private static ulong Relative(ReadOnlySpan<byte> bytes, int at, ulong start) =>
        start + (ulong)at + (ulong)BinaryPrimitives.ReadInt32LittleEndian(bytes[at..]);
}
