// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.IO.Compression;
using K4os.Compression.LZ4;
using SharpCompress.Compressors.Xz;

namespace Ksplice.Build.Kernel;

/// <summary>
/// Takes the kernel proper out of a bzImage. The setup header (Documentation/x86/boot.rst, protocol 2.08 and up) tells where the
/// compressed payload lies; its first bytes tell the compression. The boot wrapper appends the uncompressed size; whatever else
/// follows the compressed stream is ignored.
/// </summary>
internal static class KernelPayload
{
    private const int SetupSectors = 0x1f1;
    private const int BootFlag = 0x1fe;
    private const int HeaderMagic = 0x202;
    private const int PayloadOffset = 0x248;
    private const int PayloadLength = 0x24c;
    private const int SectorSize = 512;
    private const int SizeLength = 4;
    private const int MaximumSize = 1 << 30;
    private const int ReadSize = 1 << 20;

    /// <summary>The bytes of the ELF file inside.</summary>
    /// <exception cref="InvalidDataException">It is no bzImage, its payload is damaged or in a compression that is not known.</exception>
    public static byte[] Unpack(ReadOnlyMemory<byte> image)
    {
        var bytes = image.Span;
        if (
            bytes.Length < PayloadLength + 4
            || BinaryPrimitives.ReadUInt16LittleEndian(bytes[BootFlag..]) != 0xaa55
            || !bytes.Slice(HeaderMagic, 4).SequenceEqual("HdrS"u8)
        )
            throw new InvalidDataException("it is neither an ELF file nor a bzImage");
        long setup = (bytes[SetupSectors] == 0 ? 4 : bytes[SetupSectors]) + 1L;
        long start = setup * SectorSize + BinaryPrimitives.ReadUInt32LittleEndian(bytes[PayloadOffset..]);
        long length = BinaryPrimitives.ReadUInt32LittleEndian(bytes[PayloadLength..]);
        if (length < 8 || start > bytes.Length || length > bytes.Length - start)
            throw new InvalidDataException($"its payload ({length} bytes at {start}) leads outside of the file ({bytes.Length} bytes)");
        return Decompress(image.Slice((int)start, (int)length), SizeLength);
    }

    /// <summary>Unpacks what is compressed in a way that the first bytes tell.</summary>
    /// <param name="payload">The compressed bytes.</param>
    /// <param name="trailer">How many bytes at the end do not belong to the stream.</param>
    /// <exception cref="InvalidDataException">It is damaged, or compressed in a way that is not known.</exception>
    public static byte[] Decompress(ReadOnlyMemory<byte> payload, int trailer = 0)
    {
        var head = payload.Span;
        if (head.Length < 8)
            throw new InvalidDataException($"its payload has {head.Length} bytes");
        try
        {
            if (head[0] == 0x1f && head[1] == 0x8b)
                return Drain(new GZipStream(Open(payload), CompressionMode.Decompress));
            if (head[0] == 0xfd && head[1..6].SequenceEqual("7zXZ\0"u8))
                return Drain(new XZStream(Open(payload)), XzBlocks.SizesOf(head[..^trailer]));
            if (BinaryPrimitives.ReadUInt32LittleEndian(head) == 0xfd2fb528)
                return Drain(new ZstdSharp.DecompressionStream(Open(payload[..^trailer])));
            if (BinaryPrimitives.ReadUInt32LittleEndian(head) == 0x184c2102)
                return UnpackLegacyLz4(head[4..^trailer]);
        }
        catch (Exception error) when (error is not InvalidDataException and not OutOfMemoryException)
        {
            throw new InvalidDataException($"its payload is damaged: {error.Message}", error);
        }

        throw new InvalidDataException(
            $"its payload begins with {Convert.ToHexStringLower(head[..6])}, which is none of gzip, xz, zstd and lz4"
        );
    }

    private static MemoryStream Open(ReadOnlyMemory<byte> payload) => new(payload.ToArray(), writable: false);

    // XZStream's filter for x86 code, which generic kernels are compressed with, starts anew at each read, and should at each block.
    // Else the stream fails its own check. So each block is read at once.
    private static byte[] Drain(Stream stream, params IEnumerable<long> blocks)
    {
        using (stream)
        {
            using var output = new MemoryStream(64 << 20);
            foreach (long size in blocks)
            {
                if (size > MaximumSize - output.Length)
                    throw TooLarge();
                var block = new byte[size];
                stream.ReadExactly(block);
                output.Write(block);
            }
            var buffer = new byte[ReadSize];
            int count;
            while ((count = stream.Read(buffer)) > 0)
            {
                output.Write(buffer.AsSpan(0, count));
                if (output.Length > MaximumSize)
                    throw TooLarge();
            }

            return output.ToArray();
        }
    }

    private static InvalidDataException TooLarge() => new("its payload unpacks to more than 1 GiB");

    /// <summary>The legacy frame: blocks of up to 8 MiB, each behind its compressed size.</summary>
    private static byte[] UnpackLegacyLz4(ReadOnlySpan<byte> blocks)
    {
        using var output = new MemoryStream(64 << 20);
        var buffer = new byte[8 << 20];
        while (blocks.Length >= 4)
        {
            uint size = BinaryPrimitives.ReadUInt32LittleEndian(blocks);
            if (size > (uint)blocks.Length - 4)
                throw new InvalidDataException($"an lz4 block of {size} bytes leads outside of the payload");
            int count = LZ4Codec.Decode(blocks.Slice(4, (int)size), buffer);
            if (count < 0)
                throw new InvalidDataException("an lz4 block is damaged");
            output.Write(buffer.AsSpan(0, count));
            if (output.Length > MaximumSize)
                throw TooLarge();
            blocks = blocks[(4 + (int)size)..];
        }

        return output.ToArray();
    }
}
