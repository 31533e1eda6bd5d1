// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Collections;

namespace Ksplice.Build.Elf;

/// <summary>
/// The entries of a RELA section, decoded where they stand: an object's debug data has many times more relocations than its
/// code, and most are never asked for. The bytes have been checked and are in order of offsets.
/// </summary>
internal sealed class ElfRelocationTable(ReadOnlyMemory<byte> bytes) : IReadOnlyList<ElfRelocation>
{
    /// <summary>Bytes of an entry.</summary>
    public const int EntrySize = 24;

    public int Count { get; } = bytes.Length / EntrySize;

    public ElfRelocation this[int index] => Decode(bytes.Span.Slice(index * EntrySize, EntrySize));

    public static ElfRelocation Decode(ReadOnlySpan<byte> entry)
    {
        ulong info = BinaryPrimitives.ReadUInt64LittleEndian(entry[8..]);
        return new ElfRelocation(
            BinaryPrimitives.ReadUInt64LittleEndian(entry),
            (ElfRelocationType)(uint)info,
            (int)(info >> 32),
            BinaryPrimitives.ReadInt64LittleEndian(entry[16..])
        );
    }

    public IEnumerator<ElfRelocation> GetEnumerator()
    {
        for (int index = 0; index < Count; index++)
            yield return this[index];
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
