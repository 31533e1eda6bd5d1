// SPDX-License-Identifier: MIT
// The blocks of an .xz file, from the index at its end (The .xz File Format 1.2.1, sections 2.1.2 and 4). xz 5.6 and newer compress on
// several threads unless told otherwise, and then a file has several blocks.
using System.Buffers.Binary;

namespace Ksplice.Build.Kernel;

internal static class XzBlocks
{
    private const int FooterLength = 12;

    /// <summary>
    /// To how many bytes each block of <paramref name="file"/> unpacks; empty if there is no index at the end.
    /// </summary>
    /// <exception cref="InvalidDataException">The index is damaged.</exception>
    public static IReadOnlyList<long> SizesOf(ReadOnlySpan<byte> file)
    {
        if (file.Length < FooterLength || !file[^2..].SequenceEqual("YZ"u8))
            return [];
        long length = (BinaryPrimitives.ReadUInt32LittleEndian(file[^8..]) + 1L) * 4;
        if (length > file.Length - FooterLength)
            throw Damaged();
        var index = file.Slice((int)(file.Length - FooterLength - length), (int)length);
        if (index[0] != 0)
            throw Damaged();
        int at = 1;
        long count = Next(index, ref at);
        List<long> sizes = [];
        for (; count > 0; count--)
        {
            Next(index, ref at);
            sizes.Add(Next(index, ref at));
        }
        return sizes;
    }

    // Seven bits a byte, the lowest first; the last byte has no eighth bit.
    private static long Next(ReadOnlySpan<byte> index, ref int at)
    {
        long value = 0;
        for (int shift = 0; shift < 63; shift += 7)
        {
            if (at >= index.Length)
                throw Damaged();
            byte part = index[at++];
            value |= (part & 0x7fL) << shift;
            if ((part & 0x80) == 0)
                return value;
        }
        throw Damaged();
    }

    private static InvalidDataException Damaged() => new("its payload is damaged: the index of the xz file cannot be read");
}
