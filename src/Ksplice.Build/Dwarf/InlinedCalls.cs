// SPDX-License-Identifier: MIT
// Which functions an instruction was inlined from: DW_TAG_inlined_subroutine entries below the function's own, with the
// ranges of code that each covers (DWARF 4 and 5, sections 2.17 and 3.3.8). To find the function, its unit is walked from
// sibling to sibling; only the entries of that one function are read whole.
using System.Runtime.InteropServices;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

/// <summary>A part of a section.</summary>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct CodeRange(int Section, ulong Start, ulong End)
{
    public bool Contains(int section, ulong offset) => section == Section && offset >= Start && offset < End;
}

/// <summary>A call that was inlined.</summary>
/// <param name="Name">The inlined function.</param>
/// <param name="Ranges">The code that came of it.</param>
internal sealed record InlinedCall(string Name, IReadOnlyList<CodeRange> Ranges)
{
    public bool Contains(int section, ulong offset) => Ranges.Any(range => range.Contains(section, offset));
}

/// <summary>Finds inlined calls.</summary>
internal static class InlinedCalls
{
    /// <summary>All calls inlined into the function whose code the place is; an outer one stands before those inlined into it.</summary>
    /// <exception cref="ElfFormatException">The debug data is malformed.</exception>
    public static IReadOnlyList<InlinedCall> In(DebugInfo info, int section, ulong offset)
    {
        foreach (var unit in info.Units)
        {
            var root = info.At(unit, unit.First);
            if (!root.HasChildren)
                continue;
            for (int position = root.Next; position < unit.End; )
            {
                var entry = info.At(unit, position);
                if (entry.Tag == 0)
                    break;
                if (entry.Tag == DebugTag.Subprogram && Ranges(info, unit, entry).Any(range => range.Contains(section, offset)))
                    return Below(info, unit, entry);
                position = After(info, unit, entry);
            }
        }
        return [];
    }

    // Producers give entries with children the place of their next sibling; without it the children have to be read.
    private static int After(DebugInfo info, DebugUnit unit, in DebugEntry entry)
    {
        if (!entry.HasChildren)
            return entry.Next;
        if (
            entry.Sibling.IsReference
            && entry.Sibling.Value > (ulong)(entry.Position - unit.Start)
            && entry.Sibling.Value <= (ulong)(unit.End - unit.Start)
        )
            return unit.Start + (int)entry.Sibling.Value;
        int position = entry.Next;
        for (int depth = 1; depth > 0 && position < unit.End; )
        {
            var child = info.At(unit, position);
            depth +=
                child.Tag == 0 ? -1
                : child.HasChildren ? 1
                : 0;
            position = child.Next;
        }
        return position;
    }

    private static List<InlinedCall> Below(DebugInfo info, DebugUnit unit, in DebugEntry function)
    {
        List<InlinedCall> calls = [];
        int position = function.Next;
        for (int depth = function.HasChildren ? 1 : 0; depth > 0 && position < unit.End; )
        {
            var entry = info.At(unit, position);
            if (entry.Tag == DebugTag.InlinedSubroutine)
                calls.Add(new InlinedCall(NameOf(info, unit, entry), Ranges(info, unit, entry)));
            depth +=
                entry.Tag == 0 ? -1
                : entry.HasChildren ? 1
                : 0;
            position = entry.Next;
        }
        return calls;
    }

    private static string NameOf(DebugInfo info, DebugUnit unit, DebugEntry entry)
    {
        // An origin's declaration is at most a step or two away; a circle is malformed.
        for (int step = 0; step < 4 && entry.Name.Form == 0; step++)
        {
            if (info.Follow(unit, entry.Origin.Form != 0 ? entry.Origin : entry.Specification) is not { } next)
                return "";
            entry = next;
        }
        return entry.Name.Form == 0 ? "" : info.Text(entry.Name);
    }

    private static List<CodeRange> Ranges(DebugInfo info, DebugUnit unit, in DebugEntry entry)
    {
        if (entry.LowPc.Form != 0 && info.Place(entry.LowPc.Position) is { } low)
        {
            const ulong Address = 0x01;
            if (entry.HighPc.Form != Address)
                return [new CodeRange(low.Section, low.Offset, low.Offset + entry.HighPc.Value)];
            return info.Place(entry.HighPc.Position) is { } high && high.Section == low.Section
                ? [new CodeRange(low.Section, low.Offset, high.Offset)]
                : [];
        }
        if (entry.Ranges.Form != 0x17)
            return [];
        return info.Elf.FindSection(unit.Version == 5 ? ".debug_rnglists" : ".debug_ranges") is { } lists
            ? List(info, lists, info.OffsetOf(entry.Ranges), unit.Version)
            : [];
    }

    private static List<CodeRange> List(DebugInfo info, ElfSection lists, ulong offset, int version)
    {
        List<CodeRange> ranges = [];
        DwarfCursor cursor = new(info.Elf, lists);
        cursor.Skip(offset);
        (int Section, ulong Offset)? start = null;
        void Add(ulong from, ulong to)
        {
            if (start is { } place && to > from)
                ranges.Add(new CodeRange(place.Section, place.Offset + from, place.Offset + to));
        }
        while (version == 5)
        {
            switch (cursor.Byte())
            {
                case 0:
                    return ranges;
                case 4:
                    Add(cursor.Unsigned(), cursor.Unsigned());
                    break;
                case 5:
                    start = Address(info, lists, ref cursor);
                    break;
                case 6:
                    start = Address(info, lists, ref cursor);
                    if (Address(info, lists, ref cursor) is { } end && end.Section == start?.Section)
                        ranges.Add(new CodeRange(end.Section, start.Value.Offset, end.Offset));
                    break;
                case 7:
                    start = Address(info, lists, ref cursor);
                    Add(0, cursor.Unsigned());
                    break;
                default:
                    return ranges; // Indexed addresses: of split debug data, which kernels do not have.
            }
        }
        while (true)
        {
            int at = cursor.Position;
            var (from, to) = (Address(info, lists, ref cursor), Address(info, lists, ref cursor));
            if (from is null && to is null && lists.Data.Span.Slice(at, 16).IndexOfAnyExcept((byte)0) < 0)
                return ranges;
            if (from is { } first && to is { } last && first.Section == last.Section)
                ranges.Add(new CodeRange(first.Section, first.Offset, last.Offset));
        }
    }

    private static (int Section, ulong Offset)? Address(DebugInfo info, ElfSection lists, ref DwarfCursor cursor)
    {
        ulong at = (ulong)cursor.Position;
        cursor.Skip(8);
        if (lists.RelocationAt(at) is not { } relocation)
            return null;
        var symbol = info.Elf.Symbols[relocation.SymbolIndex];
        return symbol.IsInSection ? (symbol.SectionIndex, symbol.Value + (ulong)relocation.Addend) : null;
    }
}
