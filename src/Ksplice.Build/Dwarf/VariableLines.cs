// SPDX-License-Identifier: MIT
// On which source line a variable is declared: all that tells static locals of one name apart when nothing else does.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

/// <summary>The declarations of an object's variables.</summary>
internal static class VariableLines
{
    private const byte OperationAddress = 0x03;
    private const ulong Expression = 0x18;

    /// <summary>The lines, by section index and offset of the variable; empty without debug data.</summary>
    /// <exception cref="ElfFormatException">The debug data is malformed.</exception>
    public static IReadOnlyDictionary<(int Section, ulong Offset), int> Read(ElfObject elf)
    {
        Dictionary<(int, ulong), int> lines = [];
        if (DebugInfo.Read(elf) is not { } info)
            return lines;
        foreach (var unit in info.Units)
        {
            DebugEntry entry;
            for (int position = unit.First; position < unit.End; position = entry.Next)
            {
                entry = info.At(unit, position);
                if (entry.Tag == DebugTag.Variable && PlaceOf(info, entry) is { } place && LineOf(info, unit, entry) is > 0 and var line)
                    lines[place] = line;
            }
        }
        return lines;
    }

    // One byte of length, DW_OP_addr, and the address: what a variable with a place in memory has.
    private static (int Section, ulong Offset)? PlaceOf(DebugInfo info, in DebugEntry entry) =>
        entry.Location is { Form: Expression, Value: 9 } location && info.Bytes[location.Position + 1] == OperationAddress
            ? info.Place(location.Position + 2)
            : null;

    private static int LineOf(DebugInfo info, DebugUnit unit, DebugEntry entry)
    {
        if (entry.Line.Form == 0 && info.Follow(unit, entry.Origin.Form != 0 ? entry.Origin : entry.Specification) is { } declaration)
            entry = declaration;
        return entry.Line.Value <= int.MaxValue ? (int)entry.Line.Value : 0;
    }
}
