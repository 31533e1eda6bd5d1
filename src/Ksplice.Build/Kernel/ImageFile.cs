// SPDX-License-Identifier: MIT
// The border to ELFSharp, the library that reads ELF files of memory: a linked kernel and the core of a machine. ELFSharp takes the sizes
// in a file's headers at their word. It allocates as many bytes and finds out later whether the file has them. A note whose size is a
// certain number below zero makes it read this note for ever. So the header tables and notes are read here first, and the sizes in them
// are held against the file. ELFSharp then reads from these copies (ImageStream). They show as plain bytes what ELFSharp would decode at
// once and nobody asks for, such as the symbol table of an unstripped vmlinux. Whatever ELFSharp throws becomes an ElfFormatException.
using System.Buffers.Binary;
using ELFSharp.ELF;
using ELFSharp.ELF.Segments;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Kernel;

/// <summary>A loadable segment: where its bytes are in the file, and where in memory.</summary>
/// <param name="Offset">Bytes from the start of the file.</param>
/// <param name="Virtual">p_vaddr.</param>
/// <param name="Physical">p_paddr.</param>
/// <param name="FileSize">p_filesz in bytes. A core may be cut off in front of them.</param>
/// <param name="MemorySize">p_memsz in bytes; what the file lacks of it is zero.</param>
/// <param name="IsExecutable">True for machine code.</param>
internal readonly record struct LoadSegment(
    long Offset,
    ulong Virtual,
    ulong Physical,
    ulong FileSize,
    ulong MemorySize,
    bool IsExecutable
);

/// <summary>A note of a core.</summary>
/// <param name="Owner">The name of who defined it.</param>
/// <param name="Type">What it is, in its owner's numbers.</param>
/// <param name="Data">The description's bytes.</param>
internal readonly record struct CoreNote(string Owner, ulong Type, byte[] Data);

/// <summary>The headers of an x86-64 image (ET_EXEC or ET_DYN) or core (ET_CORE).</summary>
internal sealed class ImageFile
{
    private const int HeaderSize = 64;
    private const int SectionHeaderSize = 64;
    private const int ProgramHeaderSize = 56;
    private const ushort MachineX86_64 = 62;
    private const int MaximalNotes = 1 << 24;

    // Where the ELF header has what (System V ABI, "ELF Header").
    private const int MachineField = 18;
    private const int ProgramHeaders = 32;
    private const int SectionHeaders = 40;
    private const int ProgramHeaderEntry = 54;
    private const int ProgramHeaderCount = 56;
    private const int SectionHeaderEntry = 58;
    private const int SectionHeaderCount = 60;
    private const int SectionNames = 62;

    private readonly string _name;
    private readonly ulong _length;
    private readonly ImageStream _stream;
    private readonly List<(string Name, long Offset, long Size)> _sections = [];

    private ImageFile(ImageStream stream, ulong length, bool isCore, string name)
    {
        (_stream, _length, _name) = (stream, length, name);
        try
        {
            KeepTables(isCore);
            var elf = ELFReader.Load<ulong>(stream, shouldOwnStream: false);
            bool isWanted = isCore ? elf.Type == FileType.Core : elf.Type is FileType.Executable or FileType.SharedObject;
            if (!isWanted)
                ElfFormatException.Throw(name, 16, $"ELF type {(ushort)elf.Type} where {(isCore ? "a core" : "an image")} is wanted");
            Segments = [.. elf.Segments.Where(segment => segment.Type == SegmentType.Load).Select(Loadable)];
            if (isCore)
                Notes = [.. elf.Segments.OfType<NoteSegment<ulong>>().SelectMany(NotesOf)];
            foreach (var section in elf.Sections.Where(section => section.Type == ELFSharp.ELF.Sections.SectionType.ProgBits))
                _sections.Add((section.Name ?? "", (long)section.Offset, (long)section.Size));
        }
        catch (Exception error) when (error is not (ElfFormatException or OutOfMemoryException))
        {
            throw new ElfFormatException(name, stream.Position, error.Message, error);
        }
    }

    /// <summary>The loadable segments.</summary>
    public IReadOnlyList<LoadSegment> Segments { get; }

    /// <summary>The notes of a core; those of an image are not decoded.</summary>
    public IReadOnlyList<CoreNote> Notes { get; } = [];

    /// <summary>Reads the headers of an image; <paramref name="name"/> is for messages.</summary>
    /// <exception cref="ElfFormatException">It is none, or a header leads outside of it.</exception>
    public static ImageFile ReadImage(ReadOnlyMemory<byte> bytes, string name) =>
        new(
            new ImageStream(
                (offset, to) =>
                {
                    var rest = offset < bytes.Length ? bytes.Span[(int)offset..] : default;
                    int count = Math.Min(rest.Length, to.Length);
                    rest[..count].CopyTo(to);
                    return count;
                }
            ),
            (ulong)bytes.Length,
            false,
            name
        );

    /// <summary>
    /// Reads the headers and notes of a core through <paramref name="read"/>; <paramref name="name"/> is for messages. How long the file is
    /// does not matter: /proc/kcore does not say, and of a dump that is cut off the rest is of use.
    /// </summary>
    /// <exception cref="ElfFormatException">It is none, its headers cannot be read, or they are malformed.</exception>
    public static ImageFile ReadCore(ReadAt read, string name) => new(new ImageStream(read), long.MaxValue, true, name);

    /// <summary>Where the bytes of the first section of that name are in the file, or null; a core is not asked for its sections.</summary>
    public (long Offset, long Size)? FindSection(string name)
    {
        int found = _sections.FindIndex(section => section.Name == name);
        return found < 0 ? null : (_sections[found].Offset, _sections[found].Size);
    }

    private static LoadSegment Loadable(Segment<ulong> segment) =>
        new(
            segment.Offset,
            segment.Address,
            segment.PhysicalAddress,
            (ulong)segment.FileSize,
            segment.Size,
            (segment.Flags & SegmentFlags.Execute) == SegmentFlags.Execute
        );

    private static IEnumerable<CoreNote> NotesOf(NoteSegment<ulong> segment) =>
        segment.Notes.Select(note => new CoreNote(note.Name ?? "", note.Type, [.. note.Description]));

    private void KeepTables(bool isCore)
    {
        byte[] header = _stream.TryRead(0, HeaderSize) ?? throw new ElfFormatException(_name, 0, $"an ELF header takes {HeaderSize} bytes");
        if (!header.AsSpan(0, 4).SequenceEqual("\u007fELF"u8))
            ElfFormatException.Throw(_name, 0, "not an ELF file");
        if (header[4] != 2 || header[5] != 1)
            ElfFormatException.Throw(_name, 4, "not a 64-bit little-endian file");
        if (U16(header, MachineField) != MachineX86_64)
            ElfFormatException.Throw(_name, MachineField, $"machine {U16(header, MachineField)} where x86-64 ({MachineX86_64}) is wanted");
        if (U16(header, ProgramHeaderCount) == 0xffff)
            ElfFormatException.Throw(_name, ProgramHeaderCount, "more than 65,534 program headers are not supported");
        if (isCore || U64(header, SectionHeaders) == 0)
        {
            // With a count of zero ELFSharp takes the file's first bytes for a section header that tells the count. As the only section
            // header they are one of an unknown type.
            BinaryPrimitives.WriteUInt64LittleEndian(header.AsSpan(SectionHeaders), 0);
            BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(SectionHeaderCount), 1);
            BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(SectionNames), 0);
        }
        else
        {
            if (U16(header, SectionHeaderCount) == 0)
                ElfFormatException.Throw(_name, SectionHeaderCount, "an image with 65,280 sections or more is not supported");
            KeepSections(ReadTable(header, SectionHeaders, SectionHeaderEntry, SectionHeaderCount, SectionHeaderSize));
        }
        _stream.Keep(0, header);
        if (U16(header, ProgramHeaderCount) != 0)
            KeepSegments(ReadTable(header, ProgramHeaders, ProgramHeaderEntry, ProgramHeaderCount, ProgramHeaderSize), isCore);
    }

    private (long Offset, byte[] Bytes) ReadTable(byte[] header, int offsetField, int sizeField, int countField, int size)
    {
        ulong offset = U64(header, offsetField);
        int length = U16(header, countField) * size;
        if (U16(header, sizeField) != size)
            ElfFormatException.Throw(_name, sizeField, $"headers of {U16(header, sizeField)} bytes where {size} are wanted");
        CheckRange(offset, (ulong)length, offsetField, "a header table");
        if (offset < HeaderSize || _stream.TryRead((long)offset, length) is not { } bytes)
            throw new ElfFormatException(_name, offsetField, $"there is no header table ({length} bytes) at {offset}");
        return ((long)offset, bytes);
    }

    private void KeepSections((long Offset, byte[] Bytes) table)
    {
        const uint Null = 0,
            ProgBits = 1,
            StringTable = 3,
            NoBits = 8;
        ulong strings = 0;
        for (int at = 0; at < table.Bytes.Length; at += SectionHeaderSize)
        {
            uint type = U32(table.Bytes, at + 4);
            if (type is Null or NoBits)
                continue;
            ulong size = U64(table.Bytes, at + 32);
            CheckRange(U64(table.Bytes, at + 24), size, table.Offset + at + 24, $"section {at / SectionHeaderSize}");
            if (type != StringTable)
                BinaryPrimitives.WriteUInt32LittleEndian(table.Bytes.AsSpan(at + 4), ProgBits);
            else if ((strings += size) > _length)
                ElfFormatException.Throw(_name, table.Offset + at + 32, $"the string tables take more bytes than the file ({_length})");
        }
        _stream.Keep(table.Offset, table.Bytes);
    }

    private void KeepSegments((long Offset, byte[] Bytes) table, bool isCore)
    {
        const uint Null = 0,
            Note = 4;
        ulong notes = 0;
        for (int at = 0; at < table.Bytes.Length; at += ProgramHeaderSize)
        {
            ulong size = U64(table.Bytes, at + 32);
            ulong offset = U64(table.Bytes, at + 8);
            CheckRange(offset, size, table.Offset + at + 8, $"segment {at / ProgramHeaderSize}");
            if (U32(table.Bytes, at) != Note)
                continue;
            if (!isCore || size == 0)
                BinaryPrimitives.WriteUInt32LittleEndian(table.Bytes.AsSpan(at), Null);
            else if ((notes += size) > MaximalNotes)
                ElfFormatException.Throw(_name, table.Offset + at + 32, $"the notes take more than {MaximalNotes} bytes");
            else
                KeepNotes((long)offset, (int)size);
        }
        _stream.Keep(table.Offset, table.Bytes);
    }

    private void KeepNotes(long offset, int size)
    {
        const int Header = 12;
        byte[] notes = _stream.TryRead(offset, size)
            ?? throw new ElfFormatException(_name, offset, $"the notes ({size} bytes) lead outside of the file");
        ulong note;
        for (int at = 0; at == 0 || size - at >= Header; at += (int)note)
        {
            note = size < Header ? Header : Header + Padded(U32(notes, at)) + Padded(U32(notes, at + 4));
            if (note > (ulong)(size - at))
                ElfFormatException.Throw(_name, offset + at, $"a note ({note} bytes) leads outside of its segment ({size} bytes)");
        }
        _stream.Keep(offset, notes);

        static ulong Padded(uint bytes) => (bytes + 3ul) & ~3ul;
    }

    private void CheckRange(ulong offset, ulong size, long usedAt, string what)
    {
        if (offset > _length || size > _length - offset)
            ElfFormatException.Throw(_name, usedAt, $"{what} ({size} bytes at {offset}) leads outside of the file ({_length} bytes)");
    }

    private static ushort U16(byte[] bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at));

    private static uint U32(byte[] bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at));

    private static ulong U64(byte[] bytes, int at) => BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(at));
}
