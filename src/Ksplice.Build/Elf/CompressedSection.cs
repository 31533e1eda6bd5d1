// SPDX-License-Identifier: MIT
// Debug data may be compressed: marked by SHF_COMPRESSED, with a header of the System V ABI (Elf64_Chdr), or, as older tools do, by the
// name .zdebug_* and "ZLIB" with the size before the data. Either is read as if it were not: relocations count bytes of the plain content.
using System.Buffers.Binary;
using System.IO.Compression;

namespace Ksplice.Build.Elf;

internal static class CompressedSection
{
    private const int HeaderSize = 24;
    private const int OldHeaderSize = 12;
    private const uint Zlib = 1;
    private const uint Zstandard = 2;

    // No compiler writes so much debug data for one unit; a file that says so must not fill the memory.
    private const ulong LargestSize = 1 << 30;

    /// <summary>The section as it is before it is compressed.</summary>
    /// <exception cref="ElfFormatException">The content is damaged, or is compressed in a way that is not known.</exception>
    public static ElfSection Plain(ElfSection section, string file)
    {
        var bytes = section.Data;
        if ((section.Flags & ElfSectionFlags.Compressed) != ElfSectionFlags.None)
        {
            if (bytes.Length < HeaderSize)
                ElfFormatException.Throw(file, section.HeaderOffset, $"{section.Name} is too short to be compressed");
            var header = bytes.Span;
            return Plain(
                section with
                {
                    Flags = section.Flags & ~ElfSectionFlags.Compressed,
                },
                BinaryPrimitives.ReadUInt32LittleEndian(header),
                BinaryPrimitives.ReadUInt64LittleEndian(header[8..]),
                bytes[HeaderSize..],
                file
            );
        }
        if (
            section.Name.StartsWith(".zdebug_", StringComparison.Ordinal)
            && bytes.Span.StartsWith("ZLIB"u8)
            && bytes.Length >= OldHeaderSize
        )
        {
            ulong size = BinaryPrimitives.ReadUInt64BigEndian(bytes.Span[4..]);
            return Plain(section with { Name = ".debug_" + section.Name[8..] }, Zlib, size, bytes[OldHeaderSize..], file);
        }
        return section;
    }

    private static ElfSection Plain(ElfSection section, uint method, ulong size, ReadOnlyMemory<byte> compressed, string file)
    {
        if (method is not (Zlib or Zstandard))
            ElfFormatException.Throw(file, section.HeaderOffset, $"{section.Name} is compressed in a way that is not known ({method})");
        if (size > LargestSize)
            ElfFormatException.Throw(file, section.HeaderOffset, $"{section.Name} has {size} bytes, more than {LargestSize}");
        byte[] content = new byte[size];
        using MemoryStream source = new(compressed.ToArray());
        try
        {
            using Stream stream =
                method == Zlib ? new ZLibStream(source, CompressionMode.Decompress) : new ZstdSharp.DecompressionStream(source);
            stream.ReadExactly(content);
        }
        catch (Exception e) when (e is InvalidDataException or EndOfStreamException or ZstdSharp.ZstdException)
        {
            ElfFormatException.Throw(file, section.HeaderOffset, $"{section.Name} cannot be decompressed: {e.Message}");
        }
        return section with { Data = content, Size = size };
    }
}
