// SPDX-License-Identifier: MIT
// The entries of special sections, and the code that only they or jumps lead to.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

internal sealed partial class ObjectGraphBuilder
{
    private static Node Root(Node node) => (Node)node.Root;

    // One run of instructions for each jump into the section, or for each exception that goes on there; it belongs to the function that
    // jumps, or that the exception is in. The code that jumps leads to may have exceptions too, so it is cut first.
    private void CutAuxiliary()
    {
        foreach (
            var section in _elf
                .Sections.Where(section => SectionCatalog.Role(section) == SectionRole.Auxiliary && section.Size != 0)
                .OrderBy(section => section.Name == ".fixup")
        )
        {
            var jumps = _edges
                .Where(edge => edge.Place?.Section == section.Index && edge.Holder.IsCode)
                .Select(edge => (edge.Place!.Value.Offset, Owner: Root(edge.Holder)));
            Cut(section, [.. jumps.Concat(ExceptionsIn(section)).DistinctBy(entry => entry.Offset).OrderBy(entry => entry.Offset)]);
        }

        void Cut(ElfSection section, List<(long Offset, Node Owner)> entries)
        {
            ulong first = entries.Count == 0 ? section.Size : (ulong)entries[0].Offset;
            if (first != 0)
                Add(NodeKind.Unknown, SectionRole.Unknown, section, 0, Math.Min(first, section.Size), []);
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

    private IEnumerable<(long Offset, Node Owner)> ExceptionsIn(ElfSection section)
    {
        foreach (var table in _elf.Sections.Where(table => table.Name == "__ex_table" && table.Size != 0))
        {
            foreach (var entry in Entries(table))
            {
                if (
                    entry.Relocation(TableField.Code) is { } fixup
                    && CodePlace(fixup) is { } place
                    && place.Section == section.Index
                    && Owner(entry.Key) is { } owner
                )
                    yield return ((long)place.Place, Root(owner));
            }
        }
    }

    private void CutReplacements()
    {
        foreach (var table in _elf.Sections.Where(section => section.Name == ".altinstructions" && section.Size != 0))
        {
            foreach (var entry in Entries(table))
            {
                int length = Lengths(table, entry).Replacement;
                if (length == 0)
                    continue;
                var owner = Owner(entry.Key);
                var relocation = entry.Relocation(TableField.Replacement) ?? default;
                var replacement = _elf.Symbols[relocation.SymbolIndex];
                if (owner is null || relocation.SymbolIndex == 0 || replacement.IsReserved)
                    Throw(table, (long)entry.Start, $"an entry of {table.Name} points at nothing");
                // A thunk of another unit.
                if (replacement.IsUndefined)
                    continue;
                var section = _elf.Sections[replacement.SectionIndex];
                ulong from = replacement.Value + (ulong)relocation.Addend;
                if (from > section.Size || (ulong)length > section.Size - from)
                    Throw(table, (long)entry.Start, $"an entry of {table.Name} points out of {section.Name}");
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

    private void AddTables()
    {
        foreach (var section in _elf.Sections)
        {
            if (!SectionCatalog.IsTable(section.Name) || section.Size == 0)
                continue;
            var entries = Entries(section);
            var orc = section.Name == ".orc_unwind_ip" ? OrcTwin(section, entries.Count) : null;
            for (int i = 0; i < entries.Count; i++)
            {
                var cut = entries[i];
                var owner = SectionCatalog.IsOfPadding(section.Name) ? OwnerOfPadding(cut.Key) : Owner(cut.Key);
                if (owner is null && SectionCatalog.IsAnnotation(section.Name))
                    continue;
                if (owner is null)
                    Throw(section, (long)cut.Start, $"an entry of {section.Name} points at nothing");
                var key = _elf.Symbols[cut.Key.SymbolIndex];
                List<ObjectReference> references = [];
                TableEntry entry = new()
                {
                    Section = section,
                    Start = cut.Start,
                    Size = cut.Size,
                    Owner = owner,
                    KeyOffset = (long)key.Value + cut.Key.Addend - (long)owner.Start,
                    References = references,
                    Orc = orc is null ? null : new ObjectRange(orc.Value.Section, (ulong)i * orc.Value.EntrySize, orc.Value.EntrySize),
                };
                owner.Entries.Add(entry);
                foreach (var (slot, relocation) in cut.Relocations)
                {
                    // A replacement of no bytes points at whatever stands there.
                    bool nowhere = slot.Field == TableField.Replacement && Lengths(section, cut).Replacement == 0;
                    _edges.Add(
                        nowhere
                            ? new Edge
                            {
                                Holder = owner,
                                Among = references,
                                Offset = slot.Offset,
                                Type = relocation.Type,
                                Adjustment = 0,
                                Field = slot.Field,
                            }
                            : ByRelocation(owner, references, slot.Offset, relocation, 0) with
                            {
                                Field = slot.Field,
                                PlaceOf = slot.Field == TableField.Key && SectionCatalog.IsOfPadding(section.Name) ? owner : null,
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
