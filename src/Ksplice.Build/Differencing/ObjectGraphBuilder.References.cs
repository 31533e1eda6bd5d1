// SPDX-License-Identifier: MIT
// The edges of the graph.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

internal sealed partial class ObjectGraphBuilder
{
    /// <summary>A reference before its target is known.</summary>
    private sealed record Edge
    {
        public required Node Holder { get; init; }

        /// <summary>The references that it will be one of: a node's or a table entry's.</summary>
        public required List<ObjectReference> Among { get; init; }

        public required ulong Offset { get; init; }
        public required ElfRelocationType Type { get; init; }
        public required long Adjustment { get; init; }

        /// <summary>Where in this object it points to, and the symbol that says which thing is meant; null if nowhere.</summary>
        public (int Section, long Offset, ElfSymbol? Symbol)? Place { get; init; }

        /// <summary>Whose the place is, where it does not tell by itself: the no-ops before a function are that function's.</summary>
        public Node? PlaceOf { get; init; }

        public string? External { get; init; }

        /// <summary>Bytes from an external symbol.</summary>
        public long Addend { get; init; }

        public bool IsBranch { get; init; }
        public bool TakesAddress { get; init; }
        public TableField? Field { get; init; }
    }

    private readonly List<Edge> _edges = [];

    private void AddReferences()
    {
        foreach (var node in _nodes)
        {
            if (node.Role is SectionRole.Strings or SectionRole.Constants)
                continue;
            if (node.IsCode)
                AddCodeReferences(node);
            else
                AddDataReferences(node);
        }
        CutAuxiliary();
        CutReplacements();
        Resolve();
    }

    private void AddReferrers()
    {
        foreach (var node in _nodes)
        {
            foreach (var reference in node.References)
                ((Node?)reference.Target)?.Referrers.Add(reference);
            foreach (var reference in node.Entries.SelectMany(entry => entry.References))
            {
                if (reference.Field == TableField.Code)
                    ((Node?)reference.Target)?.TableReferrers.Add(reference);
            }
        }
    }

    private static IEnumerable<ElfRelocation> RelocationsIn(ElfSection section, ulong start, ulong size)
    {
        var relocations = section.Relocations;
        int low = 0,
            high = relocations.Count;
        while (low < high)
        {
            int middle = (low + high) / 2;
            if (relocations[middle].Offset < start)
                low = middle + 1;
            else
                high = middle;
        }
        for (; low < relocations.Count && relocations[low].Offset - start < size; low++)
            yield return relocations[low];
    }

    private void AddCodeReferences(Node node)
    {
        var fields = CodeFields.Decode(node.Bytes.ToArray(), out int undecodable);
        if (undecodable >= 0)
            node.CannotMove($"no instruction can be decoded at offset 0x{undecodable:x}");
        var byOffset = fields.ToDictionary(field => field.Offset);
        List<Edge> edges = [];
        foreach (var relocation in RelocationsIn(node.Section, node.Start, node.Size))
        {
            int offset = (int)(relocation.Offset - node.Start);
            if (relocation.Type == ElfRelocationType.None)
                continue;
            if (!byOffset.Remove(offset, out var field))
            {
                node.CannotMove($"the relocation at offset 0x{offset:x} lies in no instruction's field");
                field = new CodeField(offset, 4, offset + 4, false, true, null);
            }
            edges.Add(
                ByRelocation(
                    node,
                    node.References,
                    (ulong)offset,
                    relocation,
                    IsRelative(relocation.Type) ? offset - field.InstructionEnd : 0
                ) with
                {
                    IsBranch = field.IsBranch,
                    TakesAddress = field.TakesAddress,
                }
            );
        }
        // What the assembler resolved by itself points from node to node of one section, and moves with neither.
        foreach (var field in byOffset.Values)
        {
            if (field.RelativeTarget is not long target || (target >= 0 && target < (long)node.Size))
                continue;
            edges.Add(
                new Edge
                {
                    Holder = node,
                    Among = node.References,
                    Offset = (ulong)field.Offset,
                    Type =
                        field.Size == 1 ? ElfRelocationType.Pc8
                        : field.IsBranch ? ElfRelocationType.Plt32
                        : ElfRelocationType.Pc32,
                    Adjustment = field.Offset - field.InstructionEnd,
                    Place = (node.Section.Index, (long)node.Start + target, null),
                    IsBranch = field.IsBranch,
                    TakesAddress = field.TakesAddress,
                }
            );
        }
        _edges.AddRange(edges.OrderBy(edge => edge.Offset));
    }

    private void AddDataReferences(Node node)
    {
        foreach (var relocation in RelocationsIn(node.Section, node.Start, node.Size))
        {
            if (relocation.Type != ElfRelocationType.None)
                _edges.Add(ByRelocation(node, node.References, relocation.Offset - node.Start, relocation, 0) with { TakesAddress = true });
        }
    }

    private static bool IsRelative(ElfRelocationType type) =>
        type is ElfRelocationType.Pc8 or ElfRelocationType.Pc32 or ElfRelocationType.Plt32 or ElfRelocationType.Pc64;

    private Edge ByRelocation(Node holder, List<ObjectReference> among, ulong offset, ElfRelocation relocation, long adjustment)
    {
        var symbol = _elf.Symbols[relocation.SymbolIndex];
        if (symbol.IsReserved)
            Throw(holder.Section, (long)relocation.Offset, $"relocation against symbol {symbol.Name}, which is in no section");
        long addend = relocation.Addend - adjustment;
        return new Edge
        {
            Holder = holder,
            Among = among,
            Offset = offset,
            Type = relocation.Type,
            Adjustment = adjustment,
            Place = symbol.IsUndefined
                ? null
                : (symbol.SectionIndex, (long)symbol.Value + addend, symbol.Type == ElfSymbolType.Section ? null : symbol),
            External = symbol.IsUndefined ? symbol.Name : null,
            Addend = addend,
        };
    }

    // All nodes are cut: each edge becomes a reference.
    private void Resolve()
    {
        foreach (var edge in _edges)
        {
            var (target, offset) =
                edge.Place is not { } place ? (null, edge.Addend)
                : edge.PlaceOf is { } node ? (node, place.Offset - (long)node.Start)
                : Target(place);
            (ElfSection, ulong)? entry =
                edge is { Place: { } at, Field: null } && SectionCatalog.IsTable(_elf.Sections[at.Section].Name)
                    ? (_elf.Sections[at.Section], (ulong)at.Offset)
                    : null;
            edge.Among.Add(
                new ObjectReference
                {
                    Holder = edge.Holder,
                    Offset = edge.Offset,
                    Type = edge.Type,
                    Target = target,
                    External = edge.External,
                    TargetOffset = offset,
                    Adjustment = edge.Adjustment,
                    IsBranch = edge.IsBranch,
                    TakesAddress = edge.TakesAddress,
                    Field = entry is null ? edge.Field : TableField.Entry,
                    Entry = entry,
                }
            );
        }
        _edges.Clear();
    }

    private (Node? Target, long Offset) Target((int Section, long Offset, ElfSymbol? Symbol) place)
    {
        var section = _elf.Sections[place.Section];
        var role = SectionCatalog.Role(section);
        if (role == SectionRole.Table && !SectionCatalog.IsAnnotation(section.Name))
            return TargetInTable(section, place.Offset);
        // A named symbol says which object is meant even where the addend leads out of it.
        var target = Find(place.Section, place.Symbol is { } symbol ? (long)symbol.Value : place.Offset);
        if (target is null && role != SectionRole.Ignored && section.IsAllocated)
            target = Add(NodeKind.Data, role, section, 0, section.Size, []);
        return (target, target is null ? place.Offset : place.Offset - (long)target.Start);
    }
}
