// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;

namespace Ksplice.Build.Elf;

public sealed partial record ElfObject
{
    /// <summary>
    /// Reads a relocatable 64-bit little-endian x86-64 object. One pass over the section headers, one over the symbol table, one over each
    /// relocation section; section contents are slices of <paramref name="bytes"/>, nothing is copied but names and what is compressed.
    /// </summary>
    /// <param name="bytes">The whole file.</param>
    /// <param name="name">The file's name, for messages.</param>
    /// <exception cref="ElfFormatException">The bytes are no such object, or some part of it leads outside of it.</exception>
    public static ElfObject Read(ReadOnlyMemory<byte> bytes, string name) => new ElfReader(bytes, name).Read();

    /// <summary>The first section of that name, or null.</summary>
    public ElfSection? FindSection(string sectionName)
    {
        foreach (var section in Sections)
        {
            if (section.Name == sectionName)
                return section;
        }

        return null;
    }
}

/// <summary>Decodes the file layout of the System V ABI, chapter 4, with the extensions for many sections (e_shnum and
/// e_shstrndx in section 0, SHT_SYMTAB_SHNDX).</summary>
internal sealed class ElfReader(ReadOnlyMemory<byte> bytes, string name)
{
    // A huge page: nothing in a kernel is aligned to more.
    private const ulong LargestAlignment = 1 << 30;
    private const int HeaderSize = 64;
    private const int SectionHeaderSize = 64;
    private const int SymbolSize = 24;
    private const ushort Relocatable = 1;
    private const ushort MachineX86_64 = 62;
    private const ushort ExtendedIndex = 0xffff;
    private const ushort FirstReservedIndex = 0xff00;

    public ElfObject Read()
    {
        var file = bytes.Span;
        if (file.Length < HeaderSize)
            ElfFormatException.Throw(name, 0, $"an ELF header takes {HeaderSize} bytes, the file has {file.Length}");
        if (!file[..4].SequenceEqual("\u007fELF"u8))
            ElfFormatException.Throw(name, 0, "not an ELF file");
        if (file[4] != 2 || file[5] != 1)
            ElfFormatException.Throw(name, 4, "not a 64-bit little-endian file");
        if (U16(18) != MachineX86_64)
            ElfFormatException.Throw(name, 18, $"machine {U16(18)} where x86-64 ({MachineX86_64}) is wanted");
        if (U16(16) != Relocatable)
            ElfFormatException.Throw(name, 16, $"ELF type {U16(16)}, an image or a core, and no relocatable object ({Relocatable})");

        var (sections, stringIndex) = ReadSectionHeaders();
        if (sections.Length > 0)
            NameSections(sections, stringIndex);
        for (int index = 0; index < sections.Length; index++)
            sections[index] = CompressedSection.Plain(sections[index], name);
        var symbols = ReadSymbols(sections);
        ReadRelocations(sections, symbols.Length);
        return new ElfObject(name, sections, symbols);
    }

    private (ElfSection[] Sections, uint StringIndex) ReadSectionHeaders()
    {
        ulong offset = U64(40);
        ulong count = U16(60);
        uint stringIndex = U16(62);
        if (offset == 0)
            return ([], 0);
        if (U16(58) != SectionHeaderSize)
            ElfFormatException.Throw(name, 58, $"section headers of {U16(58)} bytes where {SectionHeaderSize} are wanted");
        CheckRange(offset, SectionHeaderSize, 40, "the section header table");
        if (count == 0)
            count = U64((int)offset + 32);
        if (stringIndex == ExtendedIndex)
            stringIndex = U32((int)offset + 40);
        if (count > (ulong)bytes.Length / SectionHeaderSize)
            ElfFormatException.Throw(name, 60, $"{count} section headers do not fit in the file");
        CheckRange(offset, count * SectionHeaderSize, 40, "the section header table");

        var sections = new ElfSection[count];
        for (int index = 0; index < sections.Length; index++)
        {
            int header = (int)offset + index * SectionHeaderSize;
            var type = (ElfSectionType)U32(header + 4);
            ulong start = U64(header + 24);
            ulong size = U64(header + 32);
            bool hasBytes = type is not (ElfSectionType.Null or ElfSectionType.NoBits);
            if (hasBytes)
                CheckRange(start, size, header + 24, $"section {index}");
            ulong alignment = U64(header + 48);
            if (alignment > LargestAlignment || (alignment & (alignment - 1)) != 0)
                ElfFormatException.Throw(
                    name,
                    header + 48,
                    $"section {index} has alignment 0x{alignment:x}, no power of two up to 0x{LargestAlignment:x}"
                );
            sections[index] = new ElfSection
            {
                Index = index,
                Name = "",
                Type = type,
                Flags = (ElfSectionFlags)U64(header + 8),
                Size = type == ElfSectionType.Null ? 0 : size,
                Link = U32(header + 40),
                Info = U32(header + 44),
                Alignment = alignment,
                EntrySize = U64(header + 56),
                Data = hasBytes ? bytes.Slice((int)start, (int)size) : default,
                HeaderOffset = header,
            };
        }

        return (sections, stringIndex);
    }

    private void NameSections(ElfSection[] sections, uint stringIndex)
    {
        if (stringIndex >= sections.Length || sections[stringIndex].Type != ElfSectionType.StringTable)
            ElfFormatException.Throw(name, 62, $"section {stringIndex} is no string table for section names");
        var strings = sections[stringIndex];
        for (int index = 0; index < sections.Length; index++)
            sections[index] = sections[index] with
            {
                Name = StringAt(strings, U32(sections[index].HeaderOffset), sections[index].HeaderOffset),
            };
    }

    private ElfSymbol[] ReadSymbols(ElfSection[] sections)
    {
        ElfSection? table = null;
        ReadOnlyMemory<byte> extended = default;
        foreach (var section in sections)
        {
            if (section.Type == ElfSectionType.SymbolTable)
            {
                if (table is not null)
                    ElfFormatException.Throw(name, section.HeaderOffset, "a second symbol table");
                table = section;
            }
        }

        if (table is null)
            return [];
        foreach (var section in sections)
        {
            if (section.Type == ElfSectionType.SymbolTableExtendedIndex && section.Link == table.Index)
                extended = section.Data;
        }

        if (table.Size % SymbolSize != 0)
            ElfFormatException.Throw(name, table.HeaderOffset + 32, $"a symbol table of {table.Size} bytes is no multiple of {SymbolSize}");
        if (table.Link >= sections.Length || sections[table.Link].Type != ElfSectionType.StringTable)
            ElfFormatException.Throw(name, table.HeaderOffset + 40, $"section {table.Link} is no string table for symbol names");
        var strings = sections[table.Link];
        var data = table.Data.Span;
        var symbols = new ElfSymbol[data.Length / SymbolSize];
        if (!extended.IsEmpty && extended.Length / 4 < symbols.Length)
            ElfFormatException.Throw(name, table.HeaderOffset, "the extended section indexes are fewer than the symbols");
        for (int index = 0; index < symbols.Length; index++)
        {
            var entry = data.Slice(index * SymbolSize, SymbolSize);
            uint sectionIndex = BinaryPrimitives.ReadUInt16LittleEndian(entry[6..]);
            bool reserved = sectionIndex >= FirstReservedIndex;
            if (sectionIndex == ExtendedIndex)
            {
                if (extended.IsEmpty)
                    ElfFormatException.Throw(
                        name,
                        table.HeaderOffset,
                        $"symbol {index} needs an extended section index and there is no table of them"
                    );
                sectionIndex = BinaryPrimitives.ReadUInt32LittleEndian(extended.Span[(index * 4)..]);
                reserved = false;
            }

            if (!reserved && sectionIndex >= sections.Length)
                ElfFormatException.Throw(name, table.HeaderOffset, $"symbol {index} stands in section {sectionIndex} of {sections.Length}");
            symbols[index] = new ElfSymbol
            {
                Index = index,
                Name = StringAt(strings, BinaryPrimitives.ReadUInt32LittleEndian(entry), table.HeaderOffset),
                Type = (ElfSymbolType)(entry[4] & 0xf),
                Binding = (ElfSymbolBinding)(entry[4] >> 4),
                Other = entry[5],
                SectionIndex = (int)sectionIndex,
                IsReserved = reserved,
                Value = BinaryPrimitives.ReadUInt64LittleEndian(entry[8..]),
                Size = BinaryPrimitives.ReadUInt64LittleEndian(entry[16..]),
            };
        }

        return symbols;
    }

    private void ReadRelocations(ElfSection[] sections, int symbolCount)
    {
        foreach (var section in sections)
        {
            if (section.Type == ElfSectionType.Rel)
                ElfFormatException.Throw(
                    name,
                    section.HeaderOffset,
                    $"section {section.Name} holds REL relocations; x86-64 objects have RELA"
                );
            if (section.Type != ElfSectionType.Rela)
                continue;
            if (section.Info == 0 || section.Info >= sections.Length)
                ElfFormatException.Throw(
                    name,
                    section.HeaderOffset + 44,
                    $"relocations {section.Name} apply to section {section.Info} of {sections.Length}"
                );
            var target = sections[section.Info];
            if (target.Relocations.Count > 0)
                ElfFormatException.Throw(name, section.HeaderOffset, $"a second relocation section for {target.Name}");
            if (section.Size % ElfRelocationTable.EntrySize != 0)
                ElfFormatException.Throw(
                    name,
                    section.HeaderOffset + 32,
                    $"{section.Name}: {section.Size} bytes are no multiple of {ElfRelocationTable.EntrySize}"
                );
            sections[section.Info] = target with { Relocations = DecodeRelocations(section, target, symbolCount) };
        }
    }

    private IReadOnlyList<ElfRelocation> DecodeRelocations(ElfSection section, ElfSection target, int symbolCount)
    {
        var table = new ElfRelocationTable(section.Data);
        bool sorted = true;
        ulong last = 0;
        for (int index = 0; index < table.Count; index++)
        {
            var (offset, _, symbol, _) = table[index];
            if (offset >= (ulong)target.Data.Length)
                ElfFormatException.Throw(
                    name,
                    section.HeaderOffset,
                    $"{section.Name}: relocation {index} at {offset} lies outside of {target.Name} ({target.Data.Length} bytes in the file)"
                );
            if ((uint)symbol >= (uint)symbolCount)
                ElfFormatException.Throw(
                    name,
                    section.HeaderOffset,
                    $"{section.Name}: relocation {index} names symbol {(uint)symbol} of {symbolCount}"
                );
            sorted &= offset >= last;
            last = offset;
        }

        // OrderBy is stable: several relocations of one field keep their order.
        return sorted ? table : [.. table.OrderBy(relocation => relocation.Offset)];
    }

    private string StringAt(ElfSection strings, uint offset, long usedAt)
    {
        var table = strings.Data.Span;
        if (offset == 0 && table.IsEmpty)
            return "";
        if (offset >= (uint)table.Length)
            ElfFormatException.Throw(name, usedAt, $"a name at {offset} lies outside of its string table ({table.Length} bytes)");
        int length = table[(int)offset..].IndexOf((byte)0);
        if (length < 0)
            ElfFormatException.Throw(name, usedAt, $"the name at {offset} of its string table has no end");
        return length == 0 ? "" : Encoding.Latin1.GetString(table.Slice((int)offset, length));
    }

    private void CheckRange(ulong offset, ulong size, long usedAt, string what)
    {
        ulong length = (ulong)bytes.Length;
        if (offset > length || size > length - offset)
            ElfFormatException.Throw(name, usedAt, $"{what} ({size} bytes at {offset}) leads outside of the file ({length} bytes)");
    }

    private ushort U16(int offset) => BinaryPrimitives.ReadUInt16LittleEndian(bytes.Span[offset..]);

    private uint U32(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.Span[offset..]);

    private ulong U64(int offset) => BinaryPrimitives.ReadUInt64LittleEndian(bytes.Span[offset..]);
}
