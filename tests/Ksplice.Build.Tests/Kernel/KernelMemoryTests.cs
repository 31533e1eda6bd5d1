// SPDX-License-Identifier: MIT
// A core that names virtual addresses holds what was mapped, a segment for each piece: the kernel itself, and behind it modules and
// code that the kernel made.
using System.Buffers.Binary;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Tests.Kernel;

public sealed class KernelMemoryTests : IDisposable
{
    private const ulong ImageStart = 0xffffffff80000000;
    private const ulong Modules = 0xffffffffc0000000;
    private const int PageSize = 4096;

    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-memory-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static byte[] Pages(int count, byte value)
    {
        byte[] pages = new byte[count * PageSize];
        Array.Fill(pages, value);
        return pages;
    }

    // The shipped kernel as it lies in memory: whole pages, zeros where it leaves them to be zeroed.
    private static (ulong, byte[])[] Kernel() =>
        [
            .. KernelUnderTest
                .Image.Elf.Segments.Where(segment => segment.Type == 1 && segment.VirtualAddress >= ImageStart)
                .Select(segment =>
                {
                    byte[] bytes = new byte[(segment.MemorySize + PageSize - 1) / PageSize * PageSize];
                    segment.Data.Span.CopyTo(bytes);
                    return (segment.VirtualAddress, bytes);
                }),
        ];

    private string WriteCore(params (ulong Address, byte[] Bytes)[] segments)
    {
        const int HeaderSize = 64,
            ProgramHeaderSize = 56;
        byte[] head = new byte[HeaderSize + segments.Length * ProgramHeaderSize];
        "\u007fELF\u0002\u0001\u0001"u8.CopyTo(head);
        BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(16), 4); // ET_CORE
        BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(18), 62); // EM_X86_64
        BinaryPrimitives.WriteUInt64LittleEndian(head.AsSpan(32), HeaderSize);
        BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(54), ProgramHeaderSize);
        BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(56), (ushort)segments.Length);
        string path = Path.Combine(_folder, "core");
        using var file = File.Create(path);
        file.Position = head.Length;
        foreach (var (i, (address, bytes)) in segments.Index())
        {
            var header = head.AsSpan(HeaderSize + i * ProgramHeaderSize);
            BinaryPrimitives.WriteUInt32LittleEndian(header, 1); // PT_LOAD
            BinaryPrimitives.WriteInt64LittleEndian(header[8..], file.Position);
            BinaryPrimitives.WriteUInt64LittleEndian(header[16..], address);
            BinaryPrimitives.WriteUInt64LittleEndian(header[32..], (ulong)bytes.Length);
            BinaryPrimitives.WriteUInt64LittleEndian(header[40..], (ulong)bytes.Length);
            file.Write(bytes);
        }
        file.Position = 0;
        file.Write(head);
        return path;
    }

    [Fact]
    public void A_core_of_several_virtual_segments_is_the_kernel_and_what_lies_behind_it()
    {
        // Neither in order nor without gaps; the second and third touch.
        using var memory = KernelMemory.Open(
            WriteCore([
                (Modules + 0x9000, Pages(1, 4)),
                (Modules + 0x1000, Pages(1, 1)),
                .. Kernel(),
                (Modules + 0x2000, Pages(2, 2)),
                (Modules + 0x5000, Pages(1, 3)),
            ])
        );
        var shipped = KernelUnderTest.Image;
        Assert.Equal(shipped.Banner, memory.Image.Banner);
        Assert.Equal(shipped.Symbols.Symbols, memory.Image.Symbols.Symbols);
        ulong text = shipped.Symbols.FindUnique("vfs_read")!.Value;
        byte[] expected = new byte[64],
            found = new byte[64];
        Assert.True(shipped.TryRead(text, expected));
        Assert.True(memory.TryRead(text, found));
        Assert.Equal(expected, found);

        Assert.Equal([.. Pages(1, 1), .. Pages(2, 2)], Read(0x1000, 3 * PageSize));
        Assert.Equal([3, 3], Read(0x5ffe, 2));
        Assert.Equal([4, 4], Read(0x9000, 2));
        Assert.Empty(Read(0xfff, 1));
        Assert.Empty(Read(0xfff, 2));
        Assert.Empty(Read(0x3ffe, 4));
        Assert.Empty(Read(0x4fff, 2));
        Assert.Empty(Read(0xa000, 1));

        byte[] Read(ulong offset, int size)
        {
            byte[] bytes = new byte[size];
            return memory.TryRead(Modules + offset, bytes) ? bytes : [];
        }
    }

    [Fact]
    public void A_core_of_what_lies_behind_the_kernel_alone_is_refused() =>
        Assert.Throws<InvalidDataException>(() => KernelMemory.Open(WriteCore((Modules, Pages(2000, 1)))));
}
