// SPDX-License-Identifier: MIT
// Images are linked at test time, cores are written by hand; readelf is the oracle. Damaged ones are read, or refused in one way.
using System.Buffers.Binary;
using System.Globalization;
using CsCheck;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Kernel;

public sealed class ImageFileTests : IDisposable
{
    private const string Source = """
        static const char text[] __attribute__((section(".BTF"))) = "what stands in the section";
        int data = 1;
        int zero[1000];
        const char *_start(void) { return data ? text : (char *)zero; }
        """;

    // More than any size in a damaged header may have allocated; the files have less than 20 KiB.
    private const long MaximalAllocation = 1 << 20;

    private readonly TestTree _tree = new();

    public void Dispose() => _tree.Dispose();

    // One with a symbol table and notes, the other with dynamic sections as well.
    private byte[] Image(bool isShared = false)
    {
        _tree.Write("x.c", Source);
        _tree.RunOk("gcc", "-nostdlib", "-fPIC", "-Wl,--build-id", isShared ? "-shared" : "-static", "-o", "x", "x.c");
        return File.ReadAllBytes(_tree["x"]);
    }

    private static byte[] Core() =>
        ElfFiles.Core(
            [.. ElfFiles.Note("VMCOREINFO", 0, "OSRELEASE=6.1"u8.ToArray()), .. ElfFiles.Note("QEMU", 3, [1, 2, 3, 4, 5])],
            (0xffffffff81000000, 0x1000000, new byte[] { 1, 2, 3 }),
            (0xffffffff82000000, 0x2000000, new byte[] { 4, 5 })
        );

    private static ImageFile ReadCore(byte[] bytes) =>
        ImageFile.ReadCore(
            (offset, to) =>
            {
                var rest = offset < bytes.Length ? bytes.AsSpan((int)offset) : default;
                int count = Math.Min(rest.Length, to.Length);
                rest[..count].CopyTo(to);
                return count;
            },
            "damaged"
        );

    private static ImageFile Read(byte[] bytes, bool isCore) => isCore ? ReadCore(bytes) : ImageFile.ReadImage(bytes, "damaged");

    // Reads it and asks for all that can be asked for; false if it is refused.
    private static bool IsRead(byte[] bytes, bool isCore)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            var file = Read(bytes, isCore);
            ulong length = isCore ? long.MaxValue : (ulong)bytes.Length;
            Assert.All(file.Segments, segment => Assert.True((ulong)segment.Offset + segment.FileSize <= length));
            if (file.FindSection(".BTF") is var (offset, size))
                Assert.InRange(offset + size, 0, bytes.Length);
            return true;
        }
        catch (ElfFormatException problem)
        {
            Assert.Equal("damaged", problem.FileName);
            return false;
        }
        finally
        {
            Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MaximalAllocation);
        }
    }

    private static ElfFormatException Refused(byte[] bytes, bool isCore)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        var problem = Assert.Throws<ElfFormatException>(() => Read(bytes, isCore));
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MaximalAllocation);
        Assert.Equal("damaged", problem.FileName);
        return problem;
    }

    private static int ProgramHeader(byte[] bytes, uint type)
    {
        int at = (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(32));
        while (BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at)) != type)
            at += ElfFiles.ProgramHeaderSize;
        return at;
    }

    private static int SectionHeader(byte[] bytes, uint type)
    {
        int at = (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(ElfFiles.SectionHeaders));
        while (BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at + 4)) != type)
            at += 64;
        return at;
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Finds_the_segments_and_sections_of_a_linked_file_where_readelf_shows_them(bool isShared)
    {
        byte[] bytes = Image(isShared);
        AssertAsReadelf(ImageFile.ReadImage(bytes, "x"), "x");
        var (offset, size) = ImageFile.ReadImage(bytes, "x").FindSection(".BTF")!.Value;
        Assert.Equal("what stands in the section\0"u8.ToArray(), bytes[(int)offset..(int)(offset + size)]);
    }

    [Fact]
    public void Finds_those_of_the_kernel_where_readelf_shows_them()
    {
        byte[] bytes = KernelPayload.Unpack(File.ReadAllBytes(KernelUnderTest.ImagePath));
        File.WriteAllBytes(_tree["vmlinux"], bytes);
        AssertAsReadelf(ImageFile.ReadImage(bytes, "vmlinux"), "vmlinux");
    }

    private void AssertAsReadelf(ImageFile file, string path)
    {
        var segments = _tree
            .RunOk("readelf", "-lW", path)
            .Split('\n')
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(fields => fields is ["LOAD", ..])
            .Select(fields => new LoadSegment(
                (long)Hex(fields[1]),
                Hex(fields[2]),
                Hex(fields[3]),
                Hex(fields[4]),
                Hex(fields[5]),
                fields[6..].Contains("E") || fields[6].EndsWith('E')
            ));
        Assert.Equal(segments, file.Segments);
        int compared = 0;
        foreach (string line in _tree.RunOk("readelf", "-SW", path).Split('\n').Where(line => line.TrimStart().StartsWith('[')))
        {
            string[] fields = line[(line.IndexOf(']', StringComparison.Ordinal) + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields is not [not "NULL", not ("NULL" or "NOBITS" or "STRTAB" or "Type"), _, var offset, var size, ..])
                continue;
            Assert.Equal(((long)Hex(offset), (long)Hex(size)), file.FindSection(fields[0]));
            compared++;
        }
        Assert.True(compared > 3);
    }

    private static ulong Hex(string text) =>
        ulong.Parse(
            text.StartsWith("0x", StringComparison.Ordinal) ? text[2..] : text,
            NumberStyles.HexNumber,
            CultureInfo.InvariantCulture
        );

    [Fact]
    public void Reads_the_segments_and_notes_of_a_core()
    {
        var core = ReadCore(Core());
        Assert.Equal([0xffffffff81000000, 0xffffffff82000000], core.Segments.Select(segment => segment.Virtual));
        Assert.Equal([0x1000000ul, 0x2000000ul], core.Segments.Select(segment => segment.Physical));
        Assert.Equal([("VMCOREINFO", 0ul), ("QEMU", 3ul)], core.Notes.Select(note => (note.Owner, note.Type)));
        Assert.Equal("OSRELEASE=6.1"u8.ToArray(), core.Notes[0].Data);
        Assert.Equal([1, 2, 3, 4, 5], core.Notes[1].Data);
    }

    [Fact]
    public void A_core_may_say_how_large_section_headers_would_be_and_have_none()
    {
        byte[] core = Core();
        core[ElfFiles.SectionHeaderEntry] = 64;
        Assert.Equal(2, ReadCore(core).Notes.Count);
    }

    [Fact]
    public void An_image_without_section_headers_has_its_segments()
    {
        byte[] image = Image();
        var whole = ImageFile.ReadImage(image, "x");
        image.AsSpan(ElfFiles.SectionHeaders, 8).Clear();
        image.AsSpan(ElfFiles.SectionHeaderCount, 4).Clear();
        var bare = ImageFile.ReadImage(image, "x");
        Assert.Equal(whole.Segments, bare.Segments);
        Assert.Null(bare.FindSection(".BTF"));
    }

    [Fact]
    public void Each_reader_refuses_the_files_of_the_other()
    {
        Assert.Contains("ELF type 4 where an image", Refused(Core(), false).Message, StringComparison.Ordinal);
        Assert.Contains("ELF type 2 where a core", Refused(Image(), true).Message, StringComparison.Ordinal);
        foreach (byte[] memory in (byte[][])[Core(), Image()])
        {
            var problem = Assert.Throws<ElfFormatException>(() => ElfObject.Read(memory, "memory"));
            Assert.Contains("no relocatable object", problem.Message, StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void More_program_headers_than_their_count_can_tell_are_refused(bool isCore)
    {
        byte[] bytes = isCore ? Core() : Image();
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(ElfFiles.ProgramHeaderCount), 0xffff);
        Assert.Contains("65,534 program headers", Refused(bytes, isCore).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void More_sections_than_their_count_can_tell_are_refused()
    {
        byte[] bytes = Image();
        bytes.AsSpan(ElfFiles.SectionHeaderCount, 2).Clear();
        Assert.Contains("65,280 sections", Refused(bytes, false).Message, StringComparison.Ordinal);
    }

    // A description that ends behind the segment; sizes below zero, of which one leads back to the note's own start.
    [Theory]
    [InlineData(null, 1000)]
    [InlineData(null, int.MaxValue)]
    [InlineData(null, int.MinValue)]
    [InlineData(null, -20)]
    [InlineData(1000, null)]
    [InlineData(int.MaxValue, null)]
    [InlineData(-8, null)]
    [InlineData(int.MinValue, int.MinValue)]
    public void A_damaged_note_is_refused(int? nameSize, int? dataSize)
    {
        byte[] good = ElfFiles.Note("QEMU", 3, new byte[100]),
            bad = ElfFiles.Note("QEMU", 3, new byte[100], nameSize, dataSize);
        foreach (byte[] notes in (byte[][])[bad, [.. bad, .. good], [.. good, .. bad], [.. good, .. bad, .. good]])
            Refused(ElfFiles.Core(notes), true);
    }

    [Theory]
    [InlineData(1ul << 62)]
    [InlineData(ulong.MaxValue)]
    [InlineData(0x7fff_f000ul)]
    public void Sizes_out_of_bounds_are_refused_before_they_are_allocated(ulong size)
    {
        const uint Load = 1,
            Note = 4,
            ProgBits = 1,
            StringTable = 3;
        foreach (uint type in (uint[])[Load, Note])
        {
            byte[] image = Image();
            BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(ProgramHeader(image, type) + 32), size);
            Assert.Contains("leads outside of the file", Refused(image, false).Message, StringComparison.Ordinal);
        }
        foreach (uint type in (uint[])[ProgBits, StringTable])
        {
            byte[] image = Image();
            BinaryPrimitives.WriteUInt64LittleEndian(image.AsSpan(SectionHeader(image, type) + 32), size);
            Assert.Contains("leads outside of the file", Refused(image, false).Message, StringComparison.Ordinal);
        }
        byte[] core = Core();
        BinaryPrimitives.WriteUInt64LittleEndian(core.AsSpan(ProgramHeader(core, Note) + 32), size);
        Refused(core, true);
    }

    // Each is no larger than the file.
    [Fact]
    public void String_tables_that_take_more_than_the_file_together_are_refused()
    {
        byte[] image = Image();
        int table = (int)BinaryPrimitives.ReadUInt64LittleEndian(image.AsSpan(ElfFiles.SectionHeaders));
        for (int index = 1; index <= 2; index++)
        {
            var header = image.AsSpan(table + (64 * index), 64);
            BinaryPrimitives.WriteUInt32LittleEndian(header[4..], 3);
            BinaryPrimitives.WriteUInt64LittleEndian(header[24..], 0);
            BinaryPrimitives.WriteUInt64LittleEndian(header[32..], (ulong)image.Length);
        }
        Assert.Contains("string tables", Refused(image, false).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_image_that_is_cut_off_is_refused()
    {
        byte[] whole = Image();
        for (int length = 0; length < whole.Length; length++)
            Refused(whole[..length], false);
    }

    [Fact]
    public void A_core_that_is_cut_off_behind_its_notes_is_read()
    {
        byte[] whole = Core();
        int notes = whole.Length - 5;
        for (int length = 0; length <= whole.Length; length++)
            Assert.Equal(length >= notes, IsRead(whole[..length], true));
    }

    [Theory]
    [InlineData("static")]
    [InlineData("shared")]
    [InlineData("core")]
    public void A_file_with_damaged_headers_is_read_or_refused_in_one_way(string kind)
    {
        bool isCore = kind == "core";
        byte[] whole = isCore ? Core() : Image(kind == "shared");
        Assert.True(IsRead(whole, isCore));
        int programs = (int)BinaryPrimitives.ReadUInt64LittleEndian(whole.AsSpan(32)),
            sections = (int)BinaryPrimitives.ReadUInt64LittleEndian(whole.AsSpan(ElfFiles.SectionHeaders));
        int programCount = whole[ElfFiles.ProgramHeaderCount],
            notes = (int)BinaryPrimitives.ReadUInt64LittleEndian(whole.AsSpan(ProgramHeader(whole, 4) + 8));
        // A section's header may be damaged too; a core has none.
        var place = Gen.OneOf(
            Gen.Int[0, 63],
            Gen.Int[programs, programs + (programCount * ElfFiles.ProgramHeaderSize) - 1],
            Gen.Int[notes, notes + 31],
            isCore ? Gen.Int[0, 63] : Gen.Int[sections, whole.Length - 1]
        );
        int read = 0,
            refused = 0;
        Gen.Select(place, Gen.Int[0, 6])
            .Array[1, 6]
            .Sample(
                changes =>
                {
                    byte[] copy = [.. whole];
                    foreach (var (at, what) in changes)
                    {
                        copy[at] = what switch
                        {
                            0 => 0,
                            1 => 0xff,
                            2 => (byte)(copy[at] + 1),
                            3 => (byte)(copy[at] - 1),
                            4 => 0x7f,
                            5 => 0xf4,
                            _ => (byte)(copy[at] ^ (1 << (at % 8))),
                        };
                    }
                    if (IsRead(copy, isCore))
                        Interlocked.Increment(ref read);
                    else
                        Interlocked.Increment(ref refused);
                },
                iter: 20000
            );
        Assert.True(read > 1000 && refused > 1000, $"{read} read, {refused} refused");
    }

    // A field is set as a whole: what random bytes hit too seldom.
    [Fact]
    public void Whichever_field_it_is_the_file_is_read_or_refused()
    {
        ulong[] values =
        [
            0,
            1,
            0x40,
            0xffff,
            0x7fffffff,
            0x80000000,
            0xffffffff,
            0xfffffff4,
            long.MaxValue,
            1ul << 63,
            ulong.MaxValue,
            ulong.MaxValue - 11,
        ];
        foreach (bool isCore in (bool[])[false, true])
        {
            byte[] whole = isCore ? Core() : Image();
            int sections = (int)BinaryPrimitives.ReadUInt64LittleEndian(whole.AsSpan(ElfFiles.SectionHeaders));
            IEnumerable<int> places = Enumerable.Range(0, Math.Min(whole.Length, 600) / 2).Select(place => place * 2);
            if (!isCore)
                places = places.Concat(Enumerable.Range(sections / 2, (whole.Length - sections) / 2).Select(place => place * 2));
            Parallel.ForEach(places, place =>
            {
                foreach (ulong value in values)
                {
                    foreach (int size in (int[])[2, 4, 8])
                    {
                        if (place + size > whole.Length)
                            continue;
                        byte[] copy = [.. whole];
                        byte[] field = new byte[8];
                        BinaryPrimitives.WriteUInt64LittleEndian(field, value);
                        field.AsSpan(0, size).CopyTo(copy.AsSpan(place));
                        IsRead(copy, isCore);
                    }
                }
            });
        }
    }
}
