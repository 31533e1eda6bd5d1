// On which source line a variable is declared: all that tells static locals of one name apart when nothing else does.
// Only this is read of .debug_info (DWARF 4 and 5, sections 7.5.3 to 7.5.6); what stands in other units is passed over.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

/// <summary>The declarations of an object's variables.</summary>
internal static class VariableLines
{
    private const ulong TagVariable = 0x34;
    private const ulong Location = 0x02, AbstractOrigin = 0x31, DeclarationLine = 0x3b, Specification = 0x47;
    private const byte OperationAddress = 0x03;

    private sealed record Abbreviation(ulong Tag, List<(ulong Attribute, ulong Form, long Constant)> Attributes);

    /// <summary>The lines, by section index and offset of the variable; empty without debug data.</summary>
    /// <exception cref="ElfFormatException">The debug data is malformed.</exception>
    public static IReadOnlyDictionary<(int Section, ulong Offset), int> Read(ElfObject elf)
    {
        Dictionary<(int, ulong), int> lines = [];
        if (elf.FindSection(".debug_info") is not { } info || elf.FindSection(".debug_abbrev") is not { } abbreviations
            || ((info.Flags | abbreviations.Flags) & ElfSectionFlags.Compressed) != 0)
            return lines;
        var relocations = info.Relocations.ToLookup(relocation => relocation.Offset);
        DwarfCursor cursor = new(elf, info);
        while (!cursor.AtEnd)
        {
            int start = cursor.Position;
            uint length = cursor.UInt32();
            int end = start + 4 + (int)Math.Min(length, int.MaxValue / 2);
            if (length >= 0xfffffff0 || end > info.Data.Length)
                throw new ElfFormatException(elf.Name, start, $".debug_info has a unit of {length} bytes at 0x{start:x}");
            int version = cursor.UInt16();
            bool known = version is 4 or 5;
            if (version == 5)
                known = cursor.Byte() is 1 or 3;
            if (version == 5)
                cursor.Skip(1);
            ulong table = relocations[(ulong)cursor.Position].Select(relocation => (ulong?)relocation.Addend).FirstOrDefault() ?? 0;
            table += cursor.UInt32();
            if (version == 4)
                cursor.Skip(1);
            if (known)
                ReadUnit(elf, info, ref cursor, start, end, Abbreviations(elf, abbreviations, table), relocations, lines);
            cursor.Position = end;
        }
        return lines;
    }

    private static Dictionary<ulong, Abbreviation> Abbreviations(ElfObject elf, ElfSection section, ulong offset)
    {
        Dictionary<ulong, Abbreviation> table = [];
        DwarfCursor cursor = new(elf, section);
        cursor.Skip(offset);
        while (cursor.Unsigned() is var code and not 0)
        {
            ulong tag = cursor.Unsigned();
            cursor.Skip(1);
            List<(ulong, ulong, long)> attributes = [];
            while (true)
            {
                ulong attribute = cursor.Unsigned(), form = cursor.Unsigned();
                long constant = form == 0x21 ? cursor.Signed() : 0;
                if (attribute == 0 && form == 0)
                    break;
                attributes.Add((attribute, form, constant));
            }
            table[code] = new Abbreviation(tag, attributes);
        }
        return table;
    }

    private static void ReadUnit(ElfObject elf, ElfSection info, ref DwarfCursor cursor, int start, int end, Dictionary<ulong, Abbreviation> table,
        ILookup<ulong, ElfRelocation> relocations, Dictionary<(int, ulong), int> lines)
    {
        Dictionary<ulong, int> declared = [];
        List<(ElfRelocation Place, ulong Origin)> instances = [];
        while (cursor.Position < end)
        {
            ulong entry = (ulong)(cursor.Position - start);
            ulong code = cursor.Unsigned();
            if (code == 0)
                continue;
            if (!table.TryGetValue(code, out var abbreviation))
                throw new ElfFormatException(elf.Name, cursor.Position, $".debug_info uses abbreviation {code}, which .debug_abbrev does not have");
            ElfRelocation? place = null;
            ulong line = 0, origin = entry;
            foreach (var (attribute, form, constant) in abbreviation.Attributes)
            {
                int at = cursor.Position;
                ulong value = cursor.Value(form, constant);
                if (abbreviation.Tag != TagVariable)
                    continue;
                if (attribute == DeclarationLine)
                    line = value;
                else if (attribute is AbstractOrigin or Specification)
                    origin = value;
                // One byte of length, DW_OP_addr, and the address: what a variable with a place in memory has.
                else if (attribute == Location && form == 0x18 && value == 9 && info.Data.Span[at + 1] == OperationAddress)
                    place = relocations[(ulong)at + 2].Select(relocation => (ElfRelocation?)relocation).FirstOrDefault();
            }
            if (line is > 0 and <= int.MaxValue)
                declared[entry] = (int)line;
            if (place is { } found)
                instances.Add((found, line == 0 ? origin : entry));
        }
        foreach (var (place, origin) in instances)
        {
            var symbol = elf.Symbols[place.SymbolIndex];
            if (declared.TryGetValue(origin, out int line) && !symbol.IsUndefined && !symbol.IsReserved)
                lines[(symbol.SectionIndex, symbol.Value + (ulong)place.Addend)] = line;
        }
    }
}
