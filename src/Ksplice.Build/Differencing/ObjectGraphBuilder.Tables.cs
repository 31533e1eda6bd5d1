// SPDX-License-Identifier: MIT
// The entries of special sections, and the code that only they or jumps lead to.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

internal sealed partial class ObjectGraphBuilder
{
    private static Node Root(Node node) => (Node)node.Root;

    // .altinstr_aux: one run of instructions for each jump into it; it belongs to the function that jumps.
    private void CutAuxiliary()
    {
        foreach (var section in _elf.Sections)
        {
            if (SectionCatalog.Role(section) != SectionRole.Auxiliary || section.Size == 0)
                continue;
            var entries = _edges
                .Where(edge => edge.Place?.Section == section.Index && edge.Holder.IsCode)
                .GroupBy(edge => edge.Place!.Value.Offset)
                .OrderBy(group => group.Key)
                .ToList();
            Cut(section, entries.Select(group => (group.Key, Root(group.First().Holder))).ToList());
        }

        void Cut(ElfSection section, List<(long Offset, Node Owner)> entries)
        {
            for (int i = 0; i < entries.Count; i++)
            {
                ulong start = (ulong)entries[i].Offset;
                ulong end = i + 1 < entries.Count ? (ulong)entries[i + 1].Offset : section.Size;
                if (end > section.Size || start >= end)
                    Throw(section, (long)start, $"a jump leads out of {section.Name}");
                var node = Add(NodeKind.Auxiliary, SectionRole.Auxiliary, section, start, end - start, []);
                node.BelongTo(entries[i].Owner);
                AddCodeReferences(node);
            }
        }
    }

    private void CutReplacements()
    {
        foreach (var table in _elf.Sections.Where(section => section.Name == ".altinstructions" && section.Size != 0))
        {
            foreach (var (start, size, relocations) in Entries(table, SectionCatalog.Shape(table.Name)!))
            {
                int length = table.Data.Span[(int)(start + size) - 1];
                if (length == 0)
                    continue;
                var owner = Owner(relocations[0]);
                var replacement = _elf.Symbols[relocations[1].SymbolIndex];
                if (owner is null || !replacement.IsInSection)
                    Throw(table, (long)start, $"an entry of {table.Name} points at nothing");
                var section = _elf.Sections[replacement.SectionIndex];
                ulong from = replacement.Value + (ulong)relocations[1].Addend;
                if (from > section.Size || (ulong)length > section.Size - from)
                    Throw(table, (long)start, $"an entry of {table.Name} points out of {section.Name}");
                var node = Add(NodeKind.Replacement, SectionRole.Replacement, section, from, (ulong)length, []);
                node.BelongTo(Root(owner));
                AddCodeReferences(node);
            }
        }
        foreach (var nodes in _bySection)
            nodes.Sort((a, b) => a.Start.CompareTo(b.Start));
    }

    private Node? Owner(ElfRelocation key)
    {
        var symbol = _elf.Symbols[key.SymbolIndex];
        return symbol.IsInSection ? Find(symbol.SectionIndex, (long)symbol.Value + key.Addend) : null;
    }

    // The no-ops of -fpatchable-function-entry stand before the function.
    private Node? OwnerOfPadding(ElfRelocation key)
    {
        var nearest = Owner(key);
        var symbol = _elf.Symbols[key.SymbolIndex];
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
        foreach (var section in _elf.Sections)
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
                    Throw(section, (long)start, $"an entry of {section.Name} points at nothing");
                var key = _elf.Symbols[relocations[0].SymbolIndex];
                List<ObjectReference> references = [];
                TableEntry entry = new()
                {
                    Shape = shape,
                    Section = section,
                    Start = start,
                    Size = size,
                    Owner = owner,
                    KeyOffset = (long)key.Value + relocations[0].Addend - (long)owner.Start,
                    References = references,
                    Orc = orc is null ? null : new ObjectRange(orc.Value.Section, (ulong)i * orc.Value.EntrySize, orc.Value.EntrySize),
                };
                owner.Entries.Add(entry);
                for (int f = 0; f < relocations.Length; f++)
                {
                    var (offset, field) = shape.Fields[f];
                    // A replacement of no bytes points at whatever stands there.
                    bool nowhere = field == TableField.Replacement && entry.Bytes[^1] == 0;
                    _edges.Add(
                        nowhere
                            ? new Edge
                            {
                                Holder = owner,
                                Among = references,
                                Offset = offset,
                                Type = relocations[f].Type,
                                Adjustment = 0,
                                Field = field,
                            }
                            : ByRelocation(owner, references, offset, relocations[f], 0) with
                            {
                                Field = field,
                            }
                    );
                }
            }
        }
        Resolve();
    }

    private (int Section, ulong EntrySize)? OrcTwin(ElfSection pointers, int count)
    {
        var entries = _elf.Sections.FirstOrDefault(section => section.Name == ".orc_unwind");
        if (entries is null || entries.Size % (ulong)count != 0)
            Throw(pointers, 0, $".orc_unwind does not run parallel to .orc_unwind_ip ({count} entries)");
        return (entries.Index, entries.Size / (ulong)count);
    }
}
