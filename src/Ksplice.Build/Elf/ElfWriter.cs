// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;

namespace Ksplice.Build.Elf;

/// <summary>
/// Writes a relocatable object. Every section keeps its place and index; the contents of the symbol table, of its string and
/// extended-index tables, of the section name table and of the relocation sections are made anew from
/// <see cref="ElfObject.Symbols"/>, <see cref="ElfSection.Name"/> and <see cref="ElfSection.Relocations"/>.
/// The same object gives the same bytes.
/// </summary>
public static class ElfWriter
{
    private const int HeaderSize = 64;
    private const int SectionHeaderSize = 64;
    private const int SymbolSize = 24;
    private const int ExtendedIndex = 0xffff;
    private const int FirstReservedIndex = 0xff00;

    /// <summary>Writes <paramref name="value"/> as an ET_REL file.</summary>
    /// <exception cref="ArgumentException">The object has no tables to hold its names or symbols, its relocated sections have no
    /// relocation sections, or a local symbol stands behind a global one. <see cref="ElfBuilder"/>
    /// makes none of these mistakes.</exception>
    public static byte[] Write(ElfObject value)
    {
        ArgumentNullException.ThrowIfNull(value);
        var sections = value.Sections;
        int nameTable = IndexOf(sections, section => section.Type == ElfSectionType.StringTable && section.Name == ".shstrtab");
        if (nameTable < 0)
            throw new ArgumentException($"{value.Name} has no section .shstrtab to hold its section names", nameof(value));
        int symbolTable = IndexOf(sections, section => section.Type == ElfSectionType.SymbolTable);
        if (symbolTable < 0 && value.Symbols.Count > 0)
            throw new ArgumentException($"{value.Name} has symbols and no symbol table section", nameof(value));

        var contents = new ReadOnlyMemory<byte>[sections.Count];
        var strings = new Dictionary<int, StringTable> { [nameTable] = new() };
        uint[] names = [.. sections.Select(section => strings[nameTable].Add(section.Name))];
        int firstGlobal = 0;
        for (int index = 0; index < sections.Count; index++)
            contents[index] = sections[index].Data;
        if (symbolTable >= 0)
        {
            int stringTable = (int)sections[symbolTable].Link;
            if (!strings.TryGetValue(stringTable, out var symbolNames))
                strings.Add(stringTable, symbolNames = new StringTable());
            firstGlobal = CountLocals(value);
            int extended = IndexOf(sections, section => section.Type == ElfSectionType.SymbolTableExtendedIndex);
            (contents[symbolTable], var indexes) = EncodeSymbols(value, symbolNames, extended >= 0);
            if (extended >= 0)
                contents[extended] = indexes;
        }

        var relocated = new HashSet<int>();
        foreach (var section in sections)
        {
            if (section.Type == ElfSectionType.Rela && relocated.Add((int)section.Info))
                contents[section.Index] = EncodeRelocations(sections[(int)section.Info].Relocations);
        }

        var missing = sections.FirstOrDefault(section => section.Relocations.Count > 0 && !relocated.Contains(section.Index));
        if (missing is not null)
            throw new ArgumentException($"{value.Name}: {missing.Name} has relocations and no relocation section", nameof(value));
        foreach (var (index, table) in strings)
            contents[index] = table.ToArray();
        return Lay(sections, contents, names, nameTable, symbolTable, firstGlobal);
    }

    private static byte[] Lay(
        IReadOnlyList<ElfSection> sections,
        ReadOnlyMemory<byte>[] contents,
        uint[] names,
        int nameTable,
        int symbolTable,
        int firstGlobal
    )
    {
        var offsets = new long[sections.Count];
        long end = HeaderSize;
        for (int index = 1; index < sections.Count; index++)
        {
            long alignment = Math.Max(1, (long)sections[index].Alignment);
            end = (end + alignment - 1) / alignment * alignment;
            offsets[index] = end;
            if (sections[index].Type != ElfSectionType.NoBits)
                end += contents[index].Length;
        }

        long headers = (end + 7) & ~7L;
        var file = new byte[headers + (long)sections.Count * SectionHeaderSize];
        var span = file.AsSpan();
        bool many = sections.Count >= FirstReservedIndex;
        ReadOnlySpan<byte> identification = [0x7f, (byte)'E', (byte)'L', (byte)'F', 2, 1, 1];
        identification.CopyTo(span);
        Put16(span[16..], 1);
        Put16(span[18..], 62);
        Put32(span[20..], 1);
        Put64(span[40..], (ulong)headers);
        Put16(span[52..], HeaderSize);
        Put16(span[58..], SectionHeaderSize);
        Put16(span[60..], many ? 0 : sections.Count);
        Put16(span[62..], nameTable >= FirstReservedIndex ? ExtendedIndex : nameTable);

        for (int index = 0; index < sections.Count; index++)
        {
            var section = sections[index];
            var header = span.Slice((int)headers + index * SectionHeaderSize, SectionHeaderSize);
            bool first = index == 0;
            contents[index].Span.CopyTo(section.Type == ElfSectionType.NoBits || first ? default : span[(int)offsets[index]..]);
            Put32(header, names[index]);
            Put32(header[4..], (uint)section.Type);
            Put64(header[8..], (ulong)section.Flags);
            Put64(header[24..], (ulong)offsets[index]);
            Put64(
                header[32..],
                first ? (many ? (ulong)sections.Count : 0)
                    : section.Type == ElfSectionType.NoBits ? section.Size
                    : (ulong)contents[index].Length
            );
            Put32(header[40..], first && nameTable >= FirstReservedIndex ? (uint)nameTable : section.Link);
            Put32(header[44..], index == symbolTable ? (uint)firstGlobal : section.Info);
            Put64(header[48..], section.Alignment);
            Put64(header[56..], section.EntrySize);
        }

        return file;
    }

    private static int CountLocals(ElfObject value)
    {
        int locals = value.Symbols.TakeWhile(symbol => symbol.Binding == ElfSymbolBinding.Local).Count();
        var late = value.Symbols.Skip(locals).FirstOrDefault(symbol => symbol.Binding == ElfSymbolBinding.Local);
        return late is null
            ? locals
            : throw new ArgumentException($"{value.Name}: the local symbol '{late.Name}' stands behind a global one", nameof(value));
    }

    private static (byte[] Table, byte[] ExtendedIndexes) EncodeSymbols(ElfObject value, StringTable strings, bool hasExtended)
    {
        var table = new byte[value.Symbols.Count * SymbolSize];
        var indexes = new byte[value.Symbols.Count * 4];
        for (int index = 0; index < value.Symbols.Count; index++)
        {
            var symbol = value.Symbols[index];
            var entry = table.AsSpan(index * SymbolSize, SymbolSize);
            bool extended = !symbol.IsReserved && symbol.SectionIndex >= FirstReservedIndex;
            if (extended && !hasExtended)
                throw new ArgumentException(
                    $"{value.Name}: symbol '{symbol.Name}' needs a table of extended section indexes",
                    nameof(value)
                );
            Put32(entry, symbol.Type == ElfSymbolType.Section ? 0 : strings.Add(symbol.Name));
            entry[4] = (byte)((int)symbol.Binding << 4 | (int)symbol.Type);
            entry[5] = symbol.Other;
            Put16(entry[6..], extended ? ExtendedIndex : symbol.SectionIndex);
            Put64(entry[8..], symbol.Value);
            Put64(entry[16..], symbol.Size);
            if (extended)
                Put32(indexes.AsSpan(index * 4), (uint)symbol.SectionIndex);
        }

        return (table, indexes);
    }

    private static byte[] EncodeRelocations(IReadOnlyList<ElfRelocation> relocations)
    {
        var table = new byte[relocations.Count * ElfRelocationTable.EntrySize];
        for (int index = 0; index < relocations.Count; index++)
        {
            var entry = table.AsSpan(index * ElfRelocationTable.EntrySize, ElfRelocationTable.EntrySize);
            Put64(entry, relocations[index].Offset);
            Put64(entry[8..], (ulong)(uint)relocations[index].SymbolIndex << 32 | (uint)relocations[index].Type);
            Put64(entry[16..], (ulong)relocations[index].Addend);
        }

        return table;
    }

    private static int IndexOf(IReadOnlyList<ElfSection> sections, Predicate<ElfSection> wanted)
    {
        for (int index = 0; index < sections.Count; index++)
        {
            if (wanted(sections[index]))
                return index;
        }

        return -1;
    }

    private static void Put16(Span<byte> at, int value) => BinaryPrimitives.WriteUInt16LittleEndian(at, (ushort)value);

    private static void Put32(Span<byte> at, uint value) => BinaryPrimitives.WriteUInt32LittleEndian(at, value);

    private static void Put64(Span<byte> at, ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(at, value);

    /// <summary>A string table in the making: each string once, in the order of first use.</summary>
    private sealed class StringTable
    {
        private readonly Dictionary<string, uint> _offsets = new(StringComparer.Ordinal) { [""] = 0 };
        private readonly List<byte> _content = [0];

        public uint Add(string text)
        {
            if (!_offsets.TryGetValue(text, out uint offset))
            {
                _offsets.Add(text, offset = (uint)_content.Count);
                _content.AddRange(Encoding.Latin1.GetBytes(text));
                _content.Add(0);
            }

            return offset;
        }

        public byte[] ToArray() => [.. _content];
    }
}
