// SPDX-License-Identifier: MIT
// The edges of the graph, and the entries of special sections.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

internal sealed partial class ObjectGraph
{
    private sealed record Pending(ObjectReference Reference, int Section, long Offset, ElfSymbol? Symbol);

    private readonly List<Pending> _pending = [];

    private void AddReferences()
    {
        foreach (var node in _nodes.ToList())
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
        foreach (var pending in _pending)
            Resolve(pending);
        _pending.Clear();
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

    private void AddCodeReferences(ObjectNode node)
    {
        var fields = CodeFields.Decode(node.Bytes.ToArray(), out int undecodable);
        if (undecodable >= 0)
            node.Immovable = $"no instruction can be decoded at offset 0x{undecodable:x}";
        var byOffset = fields.ToDictionary(field => field.Offset);
        foreach (var relocation in RelocationsIn(node.Section, node.Start, node.Size))
        {
            int offset = (int)(relocation.Offset - node.Start);
            if (relocation.Type == ElfRelocationType.None)
                continue;
            if (!byOffset.Remove(offset, out var field))
            {
                node.Immovable ??= $"the relocation at offset 0x{offset:x} lies in no instruction's field";
                field = new CodeField(offset, 4, offset + 4, false, true, null);
            }
            bool relative = IsRelative(relocation.Type);
            AddPending(
                node,
                node.References,
                (ulong)offset,
                relocation,
                relative ? offset - field.InstructionEnd : 0,
                field.IsBranch,
                field.TakesAddress,
                null
            );
        }
        // What the assembler resolved by itself points from node to node of one section, and moves with neither.
        foreach (var field in byOffset.Values.OrderBy(field => field.Offset))
        {
            if (field.RelativeTarget is not long target || (target >= 0 && target < (long)node.Size))
                continue;
            var reference = new ObjectReference
            {
                Holder = node,
                Offset = (ulong)field.Offset,
                Type =
                    field.Size == 1 ? ElfRelocationType.Pc8
                    : field.IsBranch ? ElfRelocationType.Plt32
                    : ElfRelocationType.Pc32,
                Adjustment = field.Offset - field.InstructionEnd,
                IsBranch = field.IsBranch,
                TakesAddress = field.TakesAddress,
            };
            node.References.Add(reference);
            _pending.Add(new Pending(reference, node.Section.Index, (long)node.Start + target, null));
        }
        node.References.Sort((a, b) => a.Offset.CompareTo(b.Offset));
    }

    private void AddDataReferences(ObjectNode node)
    {
        foreach (var relocation in RelocationsIn(node.Section, node.Start, node.Size))
        {
            if (relocation.Type != ElfRelocationType.None)
                AddPending(node, node.References, relocation.Offset - node.Start, relocation, 0, false, true, null);
        }
    }

    private static bool IsRelative(ElfRelocationType type) =>
        type is ElfRelocationType.Pc8 or ElfRelocationType.Pc32 or ElfRelocationType.Plt32 or ElfRelocationType.Pc64;

    private ObjectReference AddPending(
        ObjectNode holder,
        List<ObjectReference> to,
        ulong offset,
        ElfRelocation relocation,
        long adjustment,
        bool branch,
        bool takesAddress,
        TableField? field
    )
    {
        var symbol = Elf.Symbols[relocation.SymbolIndex];
        if (symbol.IsReserved)
            Throw(holder.Section, (long)relocation.Offset, $"relocation against symbol {symbol.Name}, which is in no section");
        var reference = new ObjectReference
        {
            Holder = holder,
            Offset = offset,
            Type = relocation.Type,
            Adjustment = adjustment,
            External = symbol.IsUndefined ? symbol.Name : null,
            TargetOffset = relocation.Addend - adjustment,
            IsBranch = branch,
            TakesAddress = takesAddress,
            Field = field,
        };
        to.Add(reference);
        if (reference.External is null)
        {
            _pending.Add(
                new Pending(
                    reference,
                    symbol.SectionIndex,
                    (long)symbol.Value + reference.TargetOffset,
                    symbol.Type == ElfSymbolType.Section ? null : symbol
                )
            );
        }
        return reference;
    }

    private void Resolve(Pending pending)
    {
        var (reference, section, offset, symbol) = pending;
        // A named symbol says which object is meant even where the addend leads out of it.
        var target = symbol is null ? Find(section, offset) : Find(section, (long)symbol.Value);
        if (target is null && SectionCatalog.Role(Elf.Sections[section]) != SectionRole.Ignored && Elf.Sections[section].IsAllocated)
            target = Add(
                NodeKind.Data,
                SectionCatalog.Role(Elf.Sections[section]),
                Elf.Sections[section],
                0,
                Elf.Sections[section].Size,
                []
            );
        reference.Target = target;
        reference.TargetOffset = target is null ? offset : offset - (long)target.Start;
    }

    // .altinstr_aux: one run of instructions for each jump into it; it belongs to the function that jumps.
    private void CutAuxiliary()
    {
        foreach (var section in Elf.Sections)
        {
            if (SectionCatalog.Role(section) != SectionRole.Auxiliary || section.Size == 0)
                continue;
            var entries = _pending
                .Where(pending => pending.Section == section.Index && pending.Reference.Holder.IsCode)
                .GroupBy(pending => pending.Offset)
                .OrderBy(group => group.Key)
                .ToList();
            Cut(section, entries.Select(group => (group.Key, group.First().Reference.Holder.Root)).ToList());
        }

        void Cut(ElfSection section, List<(long Offset, ObjectNode Owner)> entries)
        {
            for (int i = 0; i < entries.Count; i++)
            {
                ulong start = (ulong)entries[i].Offset;
                ulong end = i + 1 < entries.Count ? (ulong)entries[i + 1].Offset : section.Size;
                if (end > section.Size || start >= end)
                    Throw(section, (long)start, $"a jump leads out of {section.Name}");
                var node = Add(NodeKind.Auxiliary, SectionRole.Auxiliary, section, start, end - start, []);
                node.Parent = entries[i].Owner;
                node.Parent.Parts.Add(node);
                AddCodeReferences(node);
            }
        }
    }

    private void CutReplacements()
    {
        foreach (var table in Elf.Sections.Where(section => section.Name == ".altinstructions" && section.Size != 0))
        {
            foreach (var (start, size, relocations) in Entries(table, SectionCatalog.Shape(table.Name)!))
            {
                int length = table.Data.Span[(int)(start + size) - 1];
                if (length == 0)
                    continue;
                var owner = Owner(relocations[0]);
                var replacement = Elf.Symbols[relocations[1].SymbolIndex];
                if (owner is null || !replacement.IsInSection)
                    Throw(table, (long)start, $"an entry of {table.Name} points at nothing");
                var section = Elf.Sections[replacement.SectionIndex];
                ulong from = replacement.Value + (ulong)relocations[1].Addend;
                if (from > section.Size || (ulong)length > section.Size - from)
                    Throw(table, (long)start, $"an entry of {table.Name} points out of {section.Name}");
                var node = Add(NodeKind.Replacement, SectionRole.Replacement, section, from, (ulong)length, []);
                node.Parent = owner!.Root;
                node.Parent.Parts.Add(node);
                AddCodeReferences(node);
            }
        }
        foreach (var nodes in _bySection)
            nodes.Sort((a, b) => a.Start.CompareTo(b.Start));
    }

    private ObjectNode? Owner(ElfRelocation key)
    {
        var symbol = Elf.Symbols[key.SymbolIndex];
        return symbol.IsInSection ? Find(symbol.SectionIndex, (long)symbol.Value + key.Addend) : null;
    }

    // The no-ops of -fpatchable-function-entry stand before the function.
    private ObjectNode? OwnerOfPadding(ElfRelocation key)
    {
        var nearest = Owner(key);
        var symbol = Elf.Symbols[key.SymbolIndex];
        long offset = (long)symbol.Value + key.Addend;
        return nearest is null || offset < (long)nearest.End
            ? nearest
            : _bySection[symbol.SectionIndex].Find(node => (long)node.Start > offset) ?? nearest;
    }

    // An entry begins where its first relocation is; the next one's first tells its size.
    private List<(ulong Start, ulong Size, ElfRelocation[] Relocations)> Entries(ElfSection section, TableShape shape)
    {
        int perEntry = shape.Fields.Length;
        var relocations = section.Relocations;
        int count = relocations.Count / perEntry;
        if (relocations.Count % perEntry != 0 || count == 0)
            Throw(section, 0, $"{section.Name} has {relocations.Count} relocations, no multiple of {perEntry}");
        ulong stride = count > 1 ? relocations[perEntry].Offset - relocations[0].Offset : section.Size;
        List<(ulong, ulong, ElfRelocation[])> entries = new(count);
        for (int i = 0; i < count; i++)
        {
            ulong start = stride * (ulong)i;
            // The last entry of a table whose entries begin aligned may lack its padding.
            ulong size = Math.Min(stride, section.Size - start);
            ElfRelocation[] own = [.. Enumerable.Range(i * perEntry, perEntry).Select(index => relocations[index])];
            for (int f = 0; f < perEntry; f++)
            {
                if (own[f].Offset != start + shape.Fields[f].Offset)
                    Throw(
                        section,
                        (long)own[f].Offset,
                        $"{section.Name}: a relocation at 0x{own[f].Offset:x}, expected at 0x{start + shape.Fields[f].Offset:x}"
                    );
            }
            entries.Add((start, size, own));
        }
        ulong total = stride * (ulong)(count - 1) + entries[^1].Item2;
        ulong missing = stride - entries[^1].Item2;
        if (total != section.Size || (missing != 0 && missing >= section.Alignment))
            Throw(section, (long)total, $"{section.Name} of {section.Size} bytes does not divide into {count} entries of {stride} bytes");
        return entries;
    }

    private void AddTables()
    {
        foreach (var section in Elf.Sections.ToList())
        {
            if (SectionCatalog.Shape(section.Name) is not { } shape || section.Size == 0)
                continue;
            var entries = Entries(section, shape);
            var orc = section.Name == ".orc_unwind_ip" ? OrcTwin(section, entries.Count) : null;
            for (int i = 0; i < entries.Count; i++)
            {
                var (start, size, relocations) = entries[i];
                var owner = section.Name == "__patchable_function_entries" ? OwnerOfPadding(relocations[0]) : Owner(relocations[0]);
                if (owner is null && SectionCatalog.IsAnnotation(section.Name))
                    continue;
                if (owner is null)
                {
                    Throw(section, (long)start, $"an entry of {section.Name} points at nothing");
                    continue;
                }
                var key = Elf.Symbols[relocations[0].SymbolIndex];
                var entry = new TableEntry
                {
                    Shape = shape,
                    Section = section,
                    Start = start,
                    Size = size,
                    Owner = owner,
                    KeyOffset = (long)key.Value + relocations[0].Addend - (long)owner.Start,
                    Orc = orc is null ? null : new ObjectRange(orc.Value.Section, (ulong)i * orc.Value.EntrySize, orc.Value.EntrySize),
                };
                owner.Entries.Add(entry);
                for (int f = 0; f < relocations.Length; f++)
                {
                    var (offset, field) = shape.Fields[f];
                    // A replacement of no bytes points at whatever stands there.
                    if (field == TableField.Replacement && entry.Bytes[^1] == 0)
                        entry.References.Add(
                            new ObjectReference
                            {
                                Holder = owner,
                                Offset = offset,
                                Type = relocations[f].Type,
                                Adjustment = 0,
                                Field = field,
                            }
                        );
                    else
                        AddPending(owner, entry.References, offset, relocations[f], 0, false, false, field);
                }
            }
        }
        foreach (var pending in _pending)
            Resolve(pending);
        _pending.Clear();
    }

    private (int Section, ulong EntrySize)? OrcTwin(ElfSection pointers, int count)
    {
        var entries = Elf.Sections.FirstOrDefault(section => section.Name == ".orc_unwind");
        if (entries is null || entries.Size % (ulong)count != 0)
            Throw(pointers, 0, $".orc_unwind does not run parallel to .orc_unwind_ip ({count} entries)");
        return (entries!.Index, entries.Size / (ulong)count);
    }
}
