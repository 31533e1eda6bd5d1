// SPDX-License-Identifier: MIT
// Where a variable is while its function runs: an expression for all of the time, or a list of expressions for ranges of code (DWARF 5,
// sections 2.6.2 and 7.7.3). Of the expressions only "in that register" is understood, and of lists only those of DWARF 5; all else
// has no answer.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

/// <summary>The location of a variable or parameter.</summary>
/// <param name="info">The object's debug data.</param>
/// <param name="unit">The unit of the entry.</param>
/// <param name="attribute">DW_AT_location.</param>
internal sealed class DebugLocation(DebugInfo info, DebugUnit unit, DebugAttribute attribute)
{
    private const ulong Expression = 0x18,
        ListOffset = 0x17;
    private const byte Register0 = 0x50,
        Register31 = 0x6f;

    /// <summary>The register (DWARF's number) that holds the value at a place of the code, or null.</summary>
    /// <exception cref="ElfFormatException">The debug data is malformed.</exception>
    public int? RegisterAt(int section, ulong offset)
    {
        if (attribute.Form == Expression)
            return attribute.Value == 1 ? Register(info.Bytes[attribute.Position + 1]) : null;
        if (attribute.Form != ListOffset || unit.Version != 5 || info.Elf.FindSection(".debug_loclists") is not { } lists)
            return null;
        DwarfCursor cursor = new(info.Elf, lists);
        cursor.Skip(info.OffsetOf(attribute));
        var root = info.At(unit, unit.First);
        var start = root.LowPc.Form == 0 ? null : info.Place(root.LowPc.Position);
        while (true)
        {
            CodeRange? range;
            switch (cursor.Byte())
            {
                case 4: // DW_LLE_offset_pair
                    var (from, to) = (cursor.Unsigned(), cursor.Unsigned());
                    range = start is { } place ? new(place.Section, place.Offset + from, place.Offset + to) : null;
                    break;
                case 6: // DW_LLE_base_address
                    start = Address(lists, ref cursor);
                    continue;
                case 7: // DW_LLE_start_end
                    var (first, end) = (Address(lists, ref cursor), Address(lists, ref cursor));
                    range = first is { } low && end is { } high ? new(low.Section, low.Offset, high.Offset) : null;
                    break;
                case 8: // DW_LLE_start_length
                    var begin = Address(lists, ref cursor);
                    ulong length = cursor.Unsigned();
                    range = begin is { } at ? new(at.Section, at.Offset, at.Offset + length) : null;
                    break;
                case 9: // DW_LLE_GNU_view_pair, gcc's own: it splits an address further
                    cursor.Unsigned();
                    cursor.Unsigned();
                    continue;
                default:
                    return null;
            }
            ulong size = cursor.Unsigned();
            byte operation = size == 0 ? (byte)0 : cursor.Byte();
            if (range?.Contains(section, offset) == true)
                return size == 1 ? Register(operation) : null;
            cursor.Skip(size == 0 ? 0 : size - 1);
        }
    }

    private static int? Register(byte operation) => operation is >= Register0 and <= Register31 ? operation - Register0 : null;

    private (int Section, ulong Offset)? Address(ElfSection lists, ref DwarfCursor cursor)
    {
        ulong at = (ulong)cursor.Position;
        cursor.Skip(8);
        if (lists.RelocationAt(at) is not { } relocation)
            return null;
        var symbol = info.Elf.Symbols[relocation.SymbolIndex];
        return symbol.IsInSection ? (symbol.SectionIndex, symbol.Value + (ulong)relocation.Addend) : null;
    }
}
