// SPDX-License-Identifier: MIT
// Cuts a table into entries. An entry begins at the relocation of its key, so the first relocations tell how far apart entries are. Of all
// shapes and sizes that this leaves, those remain by which each relocation of the table is one of an entry; two of them are told apart by
// what the relocations lead to. Where one remains, that is the table's layout, whatever the release. Else the object is refused.
using System.Runtime.InteropServices;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

internal sealed partial class ObjectGraphBuilder
{
    [StructLayout(LayoutKind.Auto)]
    private readonly record struct CutEntry(ulong Start, ulong Size, IReadOnlyList<(TableSlot Slot, ElfRelocation Relocation)> Relocations)
    {
        public ElfRelocation Key => Relocations[0].Relocation;

        public ElfRelocation? Relocation(TableField field)
        {
            foreach (var (slot, relocation) in Relocations)
            {
                if (slot.Field == field)
                    return relocation;
            }
            return null;
        }
    }

    private readonly Dictionary<int, List<CutEntry>> _entries = [];

    private List<CutEntry> Entries(ElfSection table)
    {
        if (!_entries.TryGetValue(table.Index, out var entries))
            _entries[table.Index] = entries = CutEntries(table);
        return entries;
    }

    private List<CutEntry> CutEntries(ElfSection table)
    {
        List<(ulong Stride, List<CutEntry> Entries)> ways =
        [
            .. from shape in SectionCatalog.Shapes(table.Name)
            from stride in Strides(table, shape)
            let entries = Cut(table, shape, stride)
            where entries is not null
            select (stride, entries),
        ];
        if (ways.Count > 1 && ways.Exists(way => way.Stride == table.EntrySize))
            ways.RemoveAll(way => way.Stride != table.EntrySize);
        if (ways.Count > 1)
            ways.RemoveAll(way => !way.Entries.TrueForAll(IsLikely));
        if (ways.Count == 1)
            return ways[0].Entries;
        string size = $"{table.Name} of {table.Size} bytes with {table.Relocations.Count} relocations";
        Throw(
            table,
            0,
            ways.Count == 0
                ? $"{size} does not divide into entries of a layout that is known"
                : $"{size} divides into entries in several ways, and the object does not tell which is right"
        );
        return [];
    }

    // The second key is one of the relocations that follow the first entry's; a table of one entry is that entry.
    private static IEnumerable<ulong> Strides(ElfSection table, TableShape shape)
    {
        var relocations = table.Relocations;
        var seconds = Enumerable
            .Range(1, Math.Max(Math.Min(shape.Slots.Length, relocations.Count - 1), 0))
            .Select(index => relocations[index].Offset);
        return seconds.Append(table.Size).Where(stride => stride >= shape.SmallestSize).Distinct();
    }

    private static List<CutEntry>? Cut(ElfSection table, TableShape shape, ulong stride)
    {
        var relocations = table.Relocations;
        ulong count = (table.Size - 1) / stride + 1;
        // The last entry of a table whose entries begin aligned may lack its padding.
        ulong missing = stride * count - table.Size;
        if (missing != 0 && missing >= table.Alignment)
            return null;
        List<CutEntry> entries = [];
        int next = 0;
        for (ulong start = 0; start < table.Size; start += stride)
        {
            List<(TableSlot, ElfRelocation)> own = [];
            foreach (var slot in shape.Slots)
            {
                bool has = slot.Offset < stride && next < relocations.Count && relocations[next].Offset == start + slot.Offset;
                if (has && (slot.Size == 0 || slot.Size == ObjectReference.SizeOf(relocations[next].Type)))
                    own.Add((slot, relocations[next++]));
                else if (has || !slot.MayLack)
                    return null;
            }
            entries.Add(new CutEntry(start, Math.Min(stride, table.Size - start), own));
        }
        return next == relocations.Count ? entries : null;
    }

    // Keys and fixups are places in code of the object; a handler is a function that all use.
    private bool IsLikely(CutEntry entry) =>
        entry.Relocations.All(pair =>
            pair.Slot.Field switch
            {
                TableField.Key or TableField.Code => CodePlace(pair.Relocation) is not null,
                TableField.Handler => _elf.Symbols[pair.Relocation.SymbolIndex]
                    is { IsUndefined: true }
                        or { Type: ElfSymbolType.Function, Binding: not ElfSymbolBinding.Local },
                _ => true,
            }
        );

    private (int Original, int Replacement) Lengths(ElfSection table, CutEntry entry)
    {
        if (SectionCatalog.AlternativeLengths(entry.Size) is not { } at)
        {
            Throw(table, (long)entry.Start, $"it is not known where an entry of {entry.Size} bytes of {table.Name} has its lengths");
            return default;
        }
        var bytes = table.Data.Span.Slice((int)entry.Start, (int)entry.Size);
        return (bytes[at.Original], bytes[at.Replacement]);
    }

    // What code refers to in a table is the entry there: what that is about stands for it.
    private (Node? Target, long Offset) TargetInTable(ElfSection table, long offset)
    {
        foreach (var entry in Entries(table))
        {
            if ((long)entry.Start == offset && Owner(entry.Key) is { } owner)
                return (owner, (long)_elf.Symbols[entry.Key.SymbolIndex].Value + entry.Key.Addend - (long)owner.Start);
        }
        Throw(table, offset, $"a reference leads into {table.Name} and to no entry");
        return default;
    }
}
