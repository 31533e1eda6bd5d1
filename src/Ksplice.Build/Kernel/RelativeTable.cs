// SPDX-License-Identifier: MIT
using System.Buffers.Binary;

namespace Ksplice.Build.Kernel;

/// <summary>A table as it lies in memory. Its addresses are 32 bits wide and relative to their own place.</summary>
/// <param name="Start">The address of its first byte.</param>
/// <param name="Bytes">Its bytes; empty if there is no such table.</param>
internal readonly record struct RelativeTable(ulong Start, ReadOnlyMemory<byte> Bytes)
{
    /// <summary>The offsets of its entries of <paramref name="size"/> bytes; what remains at the end is none.</summary>
    public IEnumerable<int> Entries(int size)
    {
        for (int at = 0; size <= Bytes.Length - at; at += size)
            yield return at;
    }

    /// <summary>The address at an offset.</summary>
    public ulong Address(int at) => AddressOf(at) + (ulong)BinaryPrimitives.ReadInt32LittleEndian(Bytes.Span[at..]);

    /// <summary>The address at an offset that is 64 bits wide.</summary>
    public ulong WideAddress(int at) => AddressOf(at) + (ulong)BinaryPrimitives.ReadInt64LittleEndian(Bytes.Span[at..]);

    /// <summary>The number of 16 bits at an offset.</summary>
    public ushort UInt16(int at) => BinaryPrimitives.ReadUInt16LittleEndian(Bytes.Span[at..]);

    /// <summary>The number of 32 bits at an offset.</summary>
    public uint UInt32(int at) => BinaryPrimitives.ReadUInt32LittleEndian(Bytes.Span[at..]);

    private ulong AddressOf(int at) => Start + (ulong)at;
}
