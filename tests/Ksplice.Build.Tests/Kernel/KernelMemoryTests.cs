// SPDX-License-Identifier: MIT
// Cores made of the shipped image. Those of a kernel that ran are read in guests (Ksplice.Kernel.Tests, MemoryMatchTests).
using System.Buffers.Binary;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Kernel;

public sealed class KernelMemoryTests : IDisposable
{
    private const int PageSize = 4096;
    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-core-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    // Each segment of the image as two of the core, of whole pages.
    private string WriteCore(params (ulong, ulong, ReadOnlyMemory<byte>)[] behind)
    {
        string path = Path.Combine(_folder, "core");
        List<(ulong, ulong, ReadOnlyMemory<byte>)> pieces = [];
        foreach (var segment in KernelUnderTest.Image.Segments.Where(segment => segment.VirtualAddress >= 0xffffffff80000000))
        {
            byte[] bytes = new byte[(segment.Data.Length + PageSize - 1) / PageSize * PageSize];
            segment.Data.CopyTo(bytes);
            int middle = bytes.Length / 2 / PageSize * PageSize;
            pieces.Add((segment.VirtualAddress, 0, bytes.AsMemory(0, middle)));
            pieces.Add((segment.VirtualAddress + (ulong)middle, 0, bytes.AsMemory(middle)));
        }
        Assert.True(pieces.Count >= 6);
        using var file = File.Create(path);
        ElfFiles.WriteCore(file, [], [.. behind, .. pieces]);
        return path;
    }

    [Fact]
    public void A_core_by_virtual_addresses_needs_no_notes_and_may_have_many_segments()
    {
        using var memory = KernelMemory.Open(WriteCore());
        Assert.Equal(KernelUnderTest.Release, memory.Image.Release);
        Assert.Equal(KernelUnderTest.Image.Symbols.Symbols, memory.Image.Symbols.Symbols);
        byte[] read = new byte[3 * PageSize];
        foreach (var segment in KernelUnderTest.Image.Segments.Where(segment => segment.VirtualAddress >= 0xffffffff80000000))
        {
            // Over the end of the core's first half of it.
            int start = (segment.Data.Length / 2 / PageSize * PageSize) - PageSize;
            Assert.True(memory.TryRead(segment.VirtualAddress + (ulong)start, read));
            Assert.True(segment.Data.Span.Slice(start, read.Length).SequenceEqual(read));
        }
        Assert.False(memory.TryRead(0xffffffffbfff0000, read));
        Assert.False(memory.TryRead(0x1000, read));
    }

    [Fact]
    public void What_lies_behind_the_kernel_is_read_where_it_was_mapped_and_nowhere_else()
    {
        const ulong Modules = 0xffffffffc0000000;
        // Not in order; the first and the last touch.
        using var memory = KernelMemory.Open(
            WriteCore(
                (Modules + 0x2000, 0, Pages(2, 2)),
                (Modules + 0x9000, 0, Pages(1, 4)),
                (Modules + 0x5000, 0, Pages(1, 3)),
                (Modules + 0x1000, 0, Pages(1, 1))
            )
        );
        Assert.Equal(KernelUnderTest.Image.Symbols.Symbols, memory.Image.Symbols.Symbols);
        Assert.Equal([.. Pages(1, 1), .. Pages(2, 2)], Read(0x1000, 3 * PageSize));
        Assert.Equal([3, 3], Read(0x5ffe, 2));
        Assert.Equal([4, 4], Read(0x9000, 2));
        Assert.Empty(Read(0xfff, 1));
        Assert.Empty(Read(0xfff, 2));
        Assert.Empty(Read(0x3ffe, 4));
        Assert.Empty(Read(0x4fff, 2));
        Assert.Empty(Read(0xa000, 1));

        static byte[] Pages(int count, byte value)
        {
            byte[] pages = new byte[count * PageSize];
            Array.Fill(pages, value);
            return pages;
        }

        byte[] Read(ulong offset, int size)
        {
            byte[] bytes = new byte[size];
            return memory.TryRead(Modules + offset, bytes) ? bytes : [];
        }
    }

    [Fact]
    public void A_core_that_is_cut_off_has_what_is_left_of_it()
    {
        string path = WriteCore();
        using (var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite))
            RandomAccess.SetLength(file, RandomAccess.GetLength(file) - PageSize);
        using var memory = KernelMemory.Open(path);
        var last = KernelUnderTest.Image.Segments[^1];
        ulong end = last.VirtualAddress + (ulong)((last.Data.Length + PageSize - 1) / PageSize * PageSize);
        Assert.True(memory.TryRead(end - (2 * PageSize), new byte[PageSize]));
        Assert.False(memory.TryRead(end - PageSize, new byte[1]));
    }

    [Fact]
    public void A_core_without_a_kernel_or_with_damaged_headers_is_refused_by_name()
    {
        string path = Path.Combine(_folder, "core");
        byte[] core = ElfFiles.Core(ElfFiles.Note("QEMU", 0, new byte[16]), (0, 0, new byte[PageSize]));
        File.WriteAllBytes(path, core);
        Assert.Throws<InvalidDataException>(() => KernelMemory.Open(path));
        AssertRefused("no kernel's symbol table");

        byte[] far = [.. core];
        BinaryPrimitives.WriteUInt64LittleEndian(far.AsSpan(ElfFiles.HeaderSize + ElfFiles.ProgramHeaderSize + 8), long.MaxValue - 1);
        File.WriteAllBytes(path, far);
        AssertRefused("leads outside of the file");

        core[ElfFiles.HeaderSize + (2 * ElfFiles.ProgramHeaderSize) + 4] = 0xff;
        File.WriteAllBytes(path, core);
        Assert.Equal(path, Assert.Throws<ElfFormatException>(() => KernelMemory.Open(path)).FileName);
        AssertRefused(path);

        void AssertRefused(string words)
        {
            DiagnosticBag diagnostics = [];
            Assert.Null(MemoryFile.Open(path, null, diagnostics));
            var reported = Assert.Single(diagnostics);
            Assert.Equal("KSP4061", reported.Id);
            Assert.Contains(words, reported.Message, StringComparison.Ordinal);
        }
    }
}
