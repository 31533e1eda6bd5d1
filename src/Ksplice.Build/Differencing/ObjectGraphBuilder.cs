// SPDX-License-Identifier: MIT
// Makes the graph of an object, in this order: sections are cut into nodes, since those of -ffunction-sections hold one function each,
// but .sched.text and its like hold many; parts find their functions; relocations and branches become references, whose targets are
// looked up when all nodes are cut; tables are cut into entries. Nodes are added to as long as the builder lives, and by nobody else.
using System.Collections.Immutable;
using System.Diagnostics.CodeAnalysis;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>Builds an <see cref="ObjectGraph"/>; lives for one call.</summary>
internal sealed partial class ObjectGraphBuilder
{
    /// <summary>A node while the graph is made.</summary>
    private sealed class Node : ObjectNode
    {
        private Node? _parent,
            _fallsInto;
        private string? _immovable;

        public override List<ObjectReference> References { get; } = [];
        public override List<ObjectReference> Referrers { get; } = [];
        public override List<ObjectReference> TableReferrers { get; } = [];
        public override List<TableEntry> Entries { get; } = [];
        public override List<ObjectNode> Parts { get; } = [];
        public override List<ElfSymbol> InnerEntries { get; } = [];
        public override ObjectNode? Parent => _parent;
        public override ObjectNode? FallsInto => _fallsInto;
        public override string? Immovable => _immovable;

        public void BelongTo(Node function)
        {
            _parent = function;
            function.Parts.Add(this);
        }

        public void FallInto(Node? next)
        {
            _fallsInto = next;
            if (next is null)
                _immovable = "control runs on over its end";
        }

        /// <summary>The first reason stays.</summary>
        public void CannotMove(string why) => _immovable ??= why;
    }

    private readonly ElfObject _elf;
    private readonly List<Node> _nodes = [];
    private readonly List<Node>[] _bySection;
    private readonly List<ElfSymbol>[] _symbolsBySection;

    /// <summary>A builder of the graph of <paramref name="elf"/>.</summary>
    public ObjectGraphBuilder(ElfObject elf)
    {
        _elf = elf;
        _bySection = new List<Node>[elf.Sections.Count];
        _symbolsBySection = new List<ElfSymbol>[elf.Sections.Count];
        for (int i = 0; i < elf.Sections.Count; i++)
        {
            _bySection[i] = [];
            _symbolsBySection[i] = [];
        }
    }

    /// <summary>Makes the graph.</summary>
    /// <exception cref="ElfFormatException">The object's tables do not have the shape that the kernel's have.</exception>
    public ObjectGraph Build()
    {
        SortSymbols();
        foreach (var section in _elf.Sections)
            Cut(section);
        FindColdParents();
        AddReferences();
        AddTables();
        AddReferrers();
        CheckFlow();
        return new(_elf, [.. _nodes]);
    }

    private void SortSymbols()
    {
        foreach (var symbol in _elf.Symbols)
        {
            if (!symbol.IsInSection || symbol.Type is ElfSymbolType.Section or ElfSymbolType.File || SymbolNames.IsPadding(symbol.Name))
                continue;
            var section = _elf.Sections[symbol.SectionIndex];
            // What clang leaves of its labels, among others the one before the no-ops of -fpatchable-function-entry, begins nothing.
            if (section.IsExecutable && symbol.Type == ElfSymbolType.None && symbol.Name.StartsWith(".L", StringComparison.Ordinal))
                continue;
            if (symbol.Value > section.Size)
                Throw(section, (long)symbol.Value, $"symbol {symbol.Name} lies outside section {section.Name}");
            _symbolsBySection[symbol.SectionIndex].Add(symbol);
        }
    }

    private Node Add(NodeKind kind, SectionRole role, ElfSection section, ulong start, ulong size, IReadOnlyList<ElfSymbol> symbols)
    {
        Node node = new()
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

    private void FindColdParents()
    {
        var byName = new Dictionary<string, Node>(StringComparer.Ordinal);
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
                node.BelongTo(function);
        }
    }

    /// <summary>The node that <paramref name="offset"/> of a section belongs to; the nearest, if it lies in none.</summary>
    private Node? Find(int section, long offset)
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

    [DoesNotReturn]
    private void Throw(ElfSection section, long offset, string problem) =>
        throw new ElfFormatException(_elf.Name, offset, $"section {section.Index}: {problem}");
}
