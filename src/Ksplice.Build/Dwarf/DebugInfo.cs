// SPDX-License-Identifier: MIT
// The entries of .debug_info (DWARF 4 and 5, sections 7.5.1 to 7.5.6). Objects of the kernel have some hundred thousand, of
// which a question needs a few: entries are decoded where they stand, when they are asked for, and of their attributes only
// those that this project reads are kept.
using System.Runtime.InteropServices;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

/// <summary>DW_TAG_…</summary>
internal static class DebugTag
{
    public const ulong Array = 0x01,
        Enumeration = 0x04,
        Parameter = 0x05,
        Member = 0x0d,
        Pointer = 0x0f,
        Structure = 0x13,
        SubroutineType = 0x15,
        Typedef = 0x16,
        Union = 0x17,
        InlinedSubroutine = 0x1d,
        Const = 0x26,
        Subprogram = 0x2e,
        Variable = 0x34,
        Volatile = 0x35,
        Restrict = 0x37;
}

/// <summary>An attribute as it stands in an entry.</summary>
/// <param name="Form">DW_FORM_…; 0 if the entry does not have the attribute.</param>
/// <param name="Position">Where the value stands in the section, which is how relocations find it.</param>
/// <param name="Value">As <see cref="DwarfCursor.Value"/> gives it.</param>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct DebugAttribute(ulong Form, int Position, ulong Value)
{
    /// <summary>True for a reference to another entry of the same unit.</summary>
    public bool IsReference => Form is >= 0x11 and <= 0x15;
}

/// <summary>One entry.</summary>
internal struct DebugEntry
{
    /// <summary>DW_TAG_…; 0 for the mark that ends a list of children.</summary>
    public ulong Tag;
    public bool HasChildren;
    public int Position,
        Next;
    public DebugAttribute Sibling,
        Location,
        Name,
        Statements,
        LowPc,
        HighPc,
        Origin,
        Column,
        File,
        Line,
        Declaration,
        Specification,
        Type,
        Ranges;
}

/// <summary>The meaning of an entry's bytes.</summary>
internal sealed record DebugAbbreviation(ulong Tag, bool HasChildren, (ulong Attribute, ulong Form, long Constant)[] Attributes);

/// <summary>A unit of .debug_info.</summary>
/// <param name="Start">Where it begins; references count from here.</param>
/// <param name="First">Where its first entry stands.</param>
/// <param name="End">Where it ends.</param>
/// <param name="Version">4 or 5.</param>
/// <param name="Abbreviations">Its abbreviations by code.</param>
internal sealed record DebugUnit(int Start, int First, int End, int Version, Dictionary<ulong, DebugAbbreviation> Abbreviations);

/// <summary>The debug entries of an object.</summary>
internal sealed class DebugInfo
{
    private readonly ElfSection _section;

    private DebugInfo(ElfObject elf, ElfSection section, ElfSection abbreviations)
    {
        (Elf, _section) = (elf, section);
        List<DebugUnit> units = [];
        DwarfCursor cursor = new(elf, section);
        while (!cursor.AtEnd)
        {
            if (ReadUnit(ref cursor, abbreviations) is { } unit)
                units.Add(unit);
        }
        Units = units;
    }

    public ElfObject Elf { get; }

    /// <summary>The units of which the encoding is known; others are passed over.</summary>
    public IReadOnlyList<DebugUnit> Units { get; }

    public ReadOnlySpan<byte> Bytes => _section.Data.Span;

    /// <summary>The debug entries of <paramref name="elf"/>, or null if it has none that can be read.</summary>
    /// <exception cref="ElfFormatException">The debug data is malformed.</exception>
    public static DebugInfo? Read(ElfObject elf) =>
        elf.FindSection(".debug_info") is { } info && elf.FindSection(".debug_abbrev") is { } abbreviations
            ? new DebugInfo(elf, info, abbreviations)
            : null;

    private DebugUnit? ReadUnit(ref DwarfCursor cursor, ElfSection abbreviations)
    {
        int start = cursor.Position;
        uint length = cursor.UInt32();
        if (length >= 0xfffffff0 || length > cursor.Left)
            throw new ElfFormatException(Elf.Name, start, $".debug_info has a unit of {length} bytes at 0x{start:x}");
        int end = cursor.Position + (int)length;
        int version = cursor.UInt16();
        bool known = version is 4 or 5;
        if (version == 5)
        {
            known = cursor.Byte() is 1 or 3;
            cursor.Skip(1);
        }
        ulong table = (ulong)(_section.RelocationAt((ulong)cursor.Position)?.Addend ?? 0);
        table += cursor.UInt32();
        if (version == 4)
            cursor.Skip(1);
        int first = cursor.Position;
        cursor.Position = end;
        return known ? new DebugUnit(start, first, end, version, Abbreviations(abbreviations, table)) : null;
    }

    private Dictionary<ulong, DebugAbbreviation> Abbreviations(ElfSection section, ulong offset)
    {
        Dictionary<ulong, DebugAbbreviation> table = [];
        DwarfCursor cursor = new(Elf, section);
        cursor.Skip(offset);
        List<(ulong, ulong, long)> attributes = [];
        while (cursor.Unsigned() is var code and not 0)
        {
            ulong tag = cursor.Unsigned();
            bool children = cursor.Byte() != 0;
            attributes.Clear();
            while (true)
            {
                ulong attribute = cursor.Unsigned(),
                    form = cursor.Unsigned();
                long constant = form == 0x21 ? cursor.Signed() : 0;
                if (attribute == 0 && form == 0)
                    break;
                attributes.Add((attribute, form, constant));
            }
            table[code] = new DebugAbbreviation(tag, children, [.. attributes]);
        }
        return table;
    }

    /// <summary>The entry at <paramref name="position"/>.</summary>
    /// <exception cref="ElfFormatException">There is none.</exception>
    public DebugEntry At(DebugUnit unit, int position)
    {
        DwarfCursor cursor = new(Elf, _section) { Position = position };
        DebugEntry entry = new() { Position = position };
        ulong code = cursor.Unsigned();
        if (code != 0)
        {
            if (!unit.Abbreviations.TryGetValue(code, out var abbreviation))
                throw new ElfFormatException(
                    Elf.Name,
                    position,
                    $".debug_info uses abbreviation {code}, which .debug_abbrev does not have"
                );
            (entry.Tag, entry.HasChildren) = (abbreviation.Tag, abbreviation.HasChildren);
            foreach (var (attribute, form, constant) in abbreviation.Attributes)
            {
                int at = cursor.Position;
                Keep(ref entry, attribute, new DebugAttribute(form, at, cursor.Value(form, constant)));
            }
        }
        entry.Next = cursor.Position;
        return entry;
    }

    private static void Keep(ref DebugEntry entry, ulong attribute, DebugAttribute value)
    {
        switch (attribute)
        {
            case 0x01:
                entry.Sibling = value;
                break;
            case 0x02:
                entry.Location = value;
                break;
            case 0x03:
                entry.Name = value;
                break;
            case 0x10:
                entry.Statements = value;
                break;
            case 0x11:
                entry.LowPc = value;
                break;
            case 0x12:
                entry.HighPc = value;
                break;
            case 0x31:
                entry.Origin = value;
                break;
            case 0x39:
                entry.Column = value;
                break;
            case 0x3a:
                entry.File = value;
                break;
            case 0x3b:
                entry.Line = value;
                break;
            case 0x3c:
                entry.Declaration = value;
                break;
            case 0x47:
                entry.Specification = value;
                break;
            case 0x49:
                entry.Type = value;
                break;
            case 0x55:
                entry.Ranges = value;
                break;
        }
    }

    /// <summary>The entry that a reference of <paramref name="unit"/> leads to, or null if it leads elsewhere.</summary>
    public DebugEntry? Follow(DebugUnit unit, DebugAttribute reference) =>
        reference.IsReference && reference.Value >= (ulong)(unit.First - unit.Start) && reference.Value < (ulong)(unit.End - unit.Start)
            ? At(unit, unit.Start + (int)reference.Value)
            : null;

    /// <summary>The place that an address of the section stands for, or null.</summary>
    public (int Section, ulong Offset)? Place(int position)
    {
        if (_section.RelocationAt((ulong)position) is not { } relocation)
            return null;
        var symbol = Elf.Symbols[relocation.SymbolIndex];
        return symbol.IsInSection ? (symbol.SectionIndex, symbol.Value + (ulong)relocation.Addend) : null;
    }

    /// <summary>The offset into another debug section that an attribute holds.</summary>
    public ulong OffsetOf(DebugAttribute attribute) => DwarfText.Offset(Elf, _section, attribute.Position, attribute.Value);

    /// <summary>The text of a name.</summary>
    public string Text(DebugAttribute attribute) => DwarfText.Read(Elf, _section, attribute.Position, attribute.Form, attribute.Value);
}
