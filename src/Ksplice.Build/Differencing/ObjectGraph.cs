// SPDX-License-Identifier: MIT
// Cuts an object into nodes. Sections of -ffunction-sections hold one function each, but .sched.text and its like hold
// many, so code and data are cut at symbols, strings at their zeros, constants at their size.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>An object as a graph.</summary>
internal sealed partial class ObjectGraph
{
    private readonly List<ObjectNode> _nodes = [];
    private readonly List<ObjectNode>[] _bySection;
    private readonly List<ElfSymbol>[] _symbolsBySection;

    /// <summary>Builds the graph of <paramref name="elf"/>.</summary>
    /// <exception cref="ElfFormatException">The object's tables do not have the shape that the kernel's have.</exception>
    public ObjectGraph(ElfObject elf)
    {
        Elf = elf;
        _bySection = new List<ObjectNode>[elf.Sections.Count];
        _symbolsBySection = new List<ElfSymbol>[elf.Sections.Count];
        for (int i = 0; i < elf.Sections.Count; i++)
        {
            _bySection[i] = [];
            _symbolsBySection[i] = [];
        }
        foreach (var symbol in elf.Symbols)
        {
            if (!symbol.IsInSection || symbol.Type is ElfSymbolType.Section or ElfSymbolType.File || SymbolNames.IsPadding(symbol.Name))
                continue;
            var section = elf.Sections[symbol.SectionIndex];
            if (symbol.Value > section.Size)
                Throw(section, (long)symbol.Value, $"symbol {symbol.Name} lies outside section {section.Name}");
            _symbolsBySection[symbol.SectionIndex].Add(symbol);
        }
        foreach (var section in elf.Sections)
            Cut(section);
        FindColdParents();
        AddReferences();
        AddTables();
        foreach (var node in _nodes)
        {
            foreach (var reference in node.References)
                reference.Target?.Referrers.Add(reference);
            foreach (var reference in node.Entries.SelectMany(entry => entry.References))
            {
                if (reference.Field == TableField.Code)
                    reference.Target?.TableReferrers.Add(reference);
            }
        }
        CheckFlow();
    }

    public ElfObject Elf { get; }

    public IReadOnlyList<ObjectNode> Nodes => _nodes;

    private ObjectNode Add(NodeKind kind, SectionRole role, ElfSection section, ulong start, ulong size, IReadOnlyList<ElfSymbol> symbols)
    {
        var node = new ObjectNode
        {
            Id = _nodes.Count,
            Kind = kind,
            Role = role,
            Section = section,
            Start = start,
            Size = size,
            Symbols = symbols,
        };
        _nodes.Add(node);
        _bySection[section.Index].Add(node);
        return node;
    }

    private void Cut(ElfSection section)
    {
        var role = SectionCatalog.Role(section);
        switch (role)
        {
            case SectionRole.Code:
            case SectionRole.Dropped when section.IsExecutable:
                CutCode(section, role);
                break;
            case SectionRole.Data:
            case SectionRole.Collected:
                CutData(section, role);
                break;
            case SectionRole.Dropped:
                if (section.Size != 0)
                    Add(NodeKind.Dropped, role, section, 0, section.Size, []);
                break;
            case SectionRole.Unknown:
                if (section.Size != 0)
                    Add(NodeKind.Unknown, role, section, 0, section.Size, []);
                break;
            case SectionRole.Strings:
                CutStrings(section);
                break;
            case SectionRole.Constants:
                CutFixed(section, NodeKind.Constant, role, section.EntrySize);
                break;
            case SectionRole.Hooks:
                CutFixed(section, NodeKind.Hook, role, 8);
                break;
        }
    }

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

    private void FindColdParents()
    {
        var byName = new Dictionary<string, ObjectNode>();
        foreach (var node in _nodes)
        {
            if (node.Kind == NodeKind.Function)
            {
                foreach (var symbol in node.Symbols)
                    byName.TryAdd(symbol.Name, node);
            }
        }
        foreach (var node in _nodes)
        {
            if (
                node.Kind == NodeKind.ColdPart
                && SymbolNames.IsColdPart(node.Name, out string parent)
                && byName.TryGetValue(parent, out var function)
            )
            {
                node.Parent = function;
                function.Parts.Add(node);
            }
        }
    }

    /// <summary>The node that <paramref name="offset"/> of a section belongs to; the nearest, if it lies in none.</summary>
    private ObjectNode? Find(int section, long offset)
    {
        var nodes = _bySection[section];
        if (nodes.Count == 0)
            return null;
        int low = 0,
            high = nodes.Count - 1;
        while (low < high)
        {
            int middle = (low + high + 1) / 2;
            if ((long)nodes[middle].Start <= offset)
                low = middle;
            else
                high = middle - 1;
        }
        return nodes[low];
    }

    private void Throw(ElfSection section, long offset, string problem) =>
        throw new ElfFormatException(Elf.Name, offset, $"section {section.Index}: {problem}");
}
