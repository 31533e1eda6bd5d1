// SPDX-License-Identifier: MIT
// All entries of .debug_info as a tree, for questions about the whole object: where a type, member, function or variable is
// declared, and which functions have variables of which type. Made only when such a question is asked.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

/// <summary>An entry in the tree.</summary>
/// <param name="tag">DW_TAG_…</param>
/// <param name="parent">The entry that it is a child of; null for a unit.</param>
internal sealed class DebugNode(ulong tag, DebugNode? parent)
{
    private DebugLocation? _location;
    private string? _file;
    private int _line,
        _column;

    public ulong Tag => tag;

    public DebugNode? Parent => parent;

    /// <summary>Its own name, or that of what it is an instance of.</summary>
    public string Name => OwnName.Length != 0 ? OwnName : Origin?.OwnName ?? "";

    /// <summary>Its own type, or that of what it is an instance of.</summary>
    public DebugNode? Type => OwnType ?? Origin?.OwnType;

    /// <summary>True for a declaration without a definition.</summary>
    public bool IsDeclaration { get; private init; }

    /// <summary>Where a function's code starts or a variable stands: a section and an offset in it.</summary>
    public (int Section, ulong Offset)? Place { get; private init; }

    /// <summary>Where it is declared, or null.</summary>
    public SourceLocation? Location => Declared ?? Origin?.Declared;

    /// <summary>
    /// The register (DWARF's number) that holds a parameter when its function, whose code begins at the place, is entered; null if the
    /// debug data knows none.
    /// </summary>
    public int? RegisterAt(int section, ulong offset) => _location?.RegisterAt(section, offset);

    private string OwnName { get; init; } = "";

    private DebugNode? OwnType { get; set; }

    private DebugNode? Origin { get; set; }

    private SourceLocation? Declared => _line > 0 && _file is not null ? new SourceLocation(_file, _line, _column) : null;

    /// <summary>Every entry of <paramref name="elf"/>, in the section's order; none without debug data.</summary>
    /// <exception cref="ElfFormatException">The debug data is malformed.</exception>
    public static IReadOnlyList<DebugNode> Read(ElfObject elf, LineTable? lines)
    {
        List<DebugNode> nodes = [];
        if (DebugInfo.Read(elf) is { } info)
        {
            foreach (var unit in info.Units)
                ReadUnit(info, unit, lines, nodes);
        }
        return nodes;
    }

    private static void ReadUnit(DebugInfo info, DebugUnit unit, LineTable? lines, List<DebugNode> nodes)
    {
        Stack<DebugNode> parents = [];
        Dictionary<int, DebugNode> byPosition = [];
        List<(DebugNode Node, DebugEntry Entry)> links = [];
        ulong program = 0;
        for (int position = unit.First; position < unit.End; )
        {
            var entry = info.At(unit, position);
            position = entry.Next;
            if (entry.Tag == 0)
            {
                parents.TryPop(out _);
                continue;
            }
            if (parents.Count == 0)
                program = entry.Statements.Form == 0 ? 0 : info.OffsetOf(entry.Statements);
            DebugNode node = new(entry.Tag, parents.TryPeek(out var parent) ? parent : null)
            {
                OwnName = entry.Name.Form == 0 ? "" : info.Text(entry.Name),
                IsDeclaration = entry.Declaration.Form != 0,
                Place = PlaceOf(info, entry),
                _location =
                    entry.Tag == DebugTag.Parameter && entry.Location.Form != 0 ? new DebugLocation(info, unit, entry.Location) : null,
                _line = Number(entry.Line),
                _column = Number(entry.Column),
                _file = entry.Line.Form == 0 ? null : lines?.File(program, Number(entry.File)),
            };
            byPosition[entry.Position] = node;
            nodes.Add(node);
            if (entry.Type.Form != 0 || entry.Origin.Form != 0 || entry.Specification.Form != 0)
                links.Add((node, entry));
            if (entry.HasChildren)
                parents.Push(node);
        }
        DebugNode? Linked(DebugAttribute reference) =>
            reference.IsReference ? byPosition.GetValueOrDefault(unit.Start + (int)Math.Min(reference.Value, int.MaxValue / 2)) : null;
        foreach (var (node, entry) in links)
        {
            node.OwnType = Linked(entry.Type);
            node.Origin = Linked(entry.Origin) ?? Linked(entry.Specification);
        }
    }

    private static int Number(DebugAttribute attribute) => (int)Math.Min(attribute.Value, int.MaxValue);

    private static (int, ulong)? PlaceOf(DebugInfo info, in DebugEntry entry)
    {
        if (entry.LowPc.Form != 0)
            return info.Place(entry.LowPc.Position);
        // Code in several pieces has no one start; that it has code is what counts.
        if (entry.Ranges.Form != 0)
            return (0, 0);
        // One byte of length, DW_OP_addr and the address: what a variable with a place in memory has.
        var location = entry.Location;
        return location is { Form: 0x18, Value: 9 } && info.Bytes[location.Position + 1] == 0x03 ? info.Place(location.Position + 2) : null;
    }
}
