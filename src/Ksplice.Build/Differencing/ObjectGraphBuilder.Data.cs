// SPDX-License-Identifier: MIT
// Cuts sections of data: variables at symbols, strings at their zeros, constants at their size.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

internal sealed partial class ObjectGraphBuilder
{
    private void CutFixed(ElfSection section, NodeKind kind, SectionRole role, ulong entrySize)
    {
        if (section.Size == 0)
            return;
        if (entrySize == 0 || section.Size % entrySize != 0)
            Throw(section, 0, $"section {section.Name} of {section.Size} bytes is no whole number of entries of {entrySize} bytes");
        for (ulong start = 0; start < section.Size; start += entrySize)
            Add(kind, role, section, start, entrySize, [.. _symbolsBySection[section.Index].Where(symbol => symbol.Value == start)]);
    }

    private void CutStrings(ElfSection section)
    {
        if (section.EntrySize > 4 || section.Type == ElfSectionType.NoBits)
            Throw(section, 0, $"section {section.Name} holds strings of characters of {section.EntrySize} bytes");
        int unit = section.EntrySize == 0 ? 1 : (int)section.EntrySize;
        var bytes = section.Data.Span;
        int start = 0;
        for (int at = 0; at + unit <= bytes.Length; at += unit)
        {
            if (bytes.Slice(at, unit).ContainsAnyExcept((byte)0))
                continue;
            Add(NodeKind.String, SectionRole.Strings, section, (ulong)start, (ulong)(at + unit - start), []);
            start = at + unit;
        }
        if (start != bytes.Length)
            Throw(section, start, $"the last string of section {section.Name} has no end");
    }

    private void CutData(ElfSection section, SectionRole role)
    {
        var starts = _symbolsBySection[section.Index]
            .Where(symbol => symbol.Type is not ElfSymbolType.Function)
            .GroupBy(symbol => symbol.Value)
            .OrderBy(group => group.Key)
            .Select(group => (Start: group.Key, Symbols: Rank(group)))
            .ToList();
        ulong done = 0;
        for (int i = 0; i < starts.Count; i++)
        {
            var (start, symbols) = starts[i];
            ulong next = i + 1 < starts.Count ? starts[i + 1].Start : section.Size;
            AddGap(section, role, done, start);
            ulong size = symbols.Max(symbol => symbol.Size);
            // A label of assembly has no size; an object that overlaps the next ends where that begins.
            if ((size == 0 && symbols[0].Type == ElfSymbolType.None) || size > next - start || HasRelocation(section, start + size, next))
                size = next - start;
            Add(NodeKind.Data, role, section, start, size, symbols);
            done = start + size;
        }
        AddGap(section, role, done, section.Size);
    }

    private static IReadOnlyList<ElfSymbol> Rank(IEnumerable<ElfSymbol> symbols) =>
        [
            .. symbols
                .OrderBy(symbol => symbol.Binding == ElfSymbolBinding.Local)
                .ThenBy(symbol => symbol.Size == 0)
                .ThenBy(symbol => symbol.Name, StringComparer.Ordinal),
        ];

    private static bool HasRelocation(ElfSection section, ulong start, ulong end) =>
        start < end && RelocationsIn(section, start, end - start).Any();

    // Content before, between and after symbols: padding is no node, anything else is an anonymous one.
    private void AddGap(ElfSection section, SectionRole role, ulong start, ulong end)
    {
        if (start >= end)
            return;
        if (
            _symbolsBySection[section.Index].Count != 0
            && !HasRelocation(section, start, end)
            && (section.Type == ElfSectionType.NoBits || !section.Data.Span[(int)start..(int)end].ContainsAnyExcept((byte)0))
        )
            return;
        Add(NodeKind.Data, role, section, start, end - start, []);
    }
}
