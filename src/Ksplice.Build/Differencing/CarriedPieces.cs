// SPDX-License-Identifier: MIT
// Turns the carried nodes into pieces, in the order of the post object.
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>Writes the difference of one unit from its content; lives for one call.</summary>
internal sealed class CarriedPieces(
    string unit,
    Pairing pairing,
    IReadOnlyDictionary<ObjectNode, FunctionChange> replaced,
    CarriedContent content
)
{
    private readonly Dictionary<ObjectNode, int> _pieceOf = [];
    private readonly Dictionary<(ElfSection Table, ulong Start), int> _pieceOfEntry = [];
    private readonly List<CarriedPiece> _pieces = [];
    private readonly List<RunSymbol> _needed = [];
    private readonly HashSet<RunSymbol> _neededSet = [];
    private readonly List<ConstantPlace> _constants = [];

    /// <summary>The difference.</summary>
    /// <param name="removed">Names of functions that only the pre object has.</param>
    public ObjectDiff Write(IReadOnlyList<string> removed)
    {
        var nodes = content.Nodes;
        for (int i = 0; i < nodes.Length; i++)
            _pieceOf[nodes[i]] = i;
        (ObjectNode Node, TableEntry Entry)[] entries =
        [
            .. nodes
                .SelectMany(node => node.Entries.Select(entry => (node, entry)))
                .OrderBy(pair => pair.entry.Section.Index)
                .ThenBy(pair => _pieceOf[pair.node])
                .ThenBy(pair => pair.entry.Start),
        ];
        int next = nodes.Length;
        foreach (var (_, entry) in entries.Where(pair => !SectionCatalog.IsRuntimeConstant(pair.Entry.Section.Name)))
        {
            _pieceOfEntry[(entry.Section, entry.Start)] = next;
            next += entry.Orc is null ? 1 : 2;
        }
        foreach (var node in nodes)
            _pieces.Add(Piece(node) with { Behind = Behind(node) });
        foreach (var (node, entry) in entries)
        {
            if (SectionCatalog.IsRuntimeConstant(entry.Section.Name))
                AddConstant(node, entry);
            else
                AddEntry(node, entry);
        }
        foreach (var node in nodes)
            AddOrcStart(node);
        return new ObjectDiff
        {
            Unit = unit,
            Pre = pairing.Pre.Elf,
            Post = pairing.Post.Elf,
            Replaced = [.. nodes.Where(replaced.ContainsKey).Select(Replaced)],
            NewFunctions =
            [
                .. nodes
                    .Where(node =>
                        (node.Kind == NodeKind.Function || node is { Kind: NodeKind.Fragment, IsGlobal: true })
                        && pairing.PreOf(node) is null
                    )
                    .Select(node => new NewFunction(node.Name, node.IsGlobal, _pieceOf[node])),
            ],
            RemovedFunctions = removed,
            Carried = [.. _pieces],
            Needed = [.. _needed],
            StaticKeys = content.Keys,
            Constants = [.. _constants],
            Pins = content.Pins,
        };
    }

    private ReplacedFunction Replaced(ObjectNode node)
    {
        var old = pairing.PreOf(node)!;
        static IReadOnlyList<ObjectRange> Ranges(ObjectNode function) =>
            [
                function.Range,
                .. function
                    .Parts.Where(part => part.Kind is NodeKind.ColdPart or NodeKind.Auxiliary)
                    .Concat(Fragments(function))
                    .Select(part => part.Range),
            ];
        return new ReplacedFunction(old.Name, old.IsGlobal, Ranges(old), Ranges(node), _pieceOf[node], replaced[node]);
    }

    // The fragments that branches lead to from a function, and that matching can find by name.
    private static List<ObjectNode> Fragments(ObjectNode function)
    {
        List<ObjectNode> reached = [function, .. function.Parts];
        for (int i = 0; i < reached.Count; i++)
        {
            foreach (var reference in reached[i].References)
            {
                if (
                    reference
                        is {
                            IsBranch: true,
                            Target: { Kind: NodeKind.Fragment, Role: SectionRole.Code, IsGlobal: false, IsAnonymous: false } fragment
                        }
                    && !reached.Contains(fragment)
                )
                    reached.Add(fragment);
            }
        }
        return reached.FindAll(node => node.Kind == NodeKind.Fragment);
    }

    // Neighbours and all that is carried from between them keep their distances: the piece that this one has to stand behind.
    private int Behind(ObjectNode node)
    {
        var before = content.Nodes.LastOrDefault(other => other.Section == node.Section && other.Start < node.Start);
        return
            before is not null
            && content.Neighbours.Any(pair =>
                pair.Item1.Section == node.Section
                && Math.Min(pair.Item1.Start, pair.Item2.Start) < node.Start
                && Math.Max(pair.Item1.Start, pair.Item2.Start) >= node.Start
            )
            ? _pieceOf[before]
            : -1;
    }

    /// <summary>The section of the primary that a node goes to.</summary>
    internal static string OutputSection(ObjectNode node) =>
        node.Kind switch
        {
            NodeKind.Function or NodeKind.Fragment => ".text",
            NodeKind.ColdPart => ".text.unlikely",
            NodeKind.String or NodeKind.Constant => ".rodata",
            NodeKind.Data when ContentCollector.IsPerCpu(node) => ".data..percpu",
            NodeKind.Data => SectionCatalog.DataClass(node.Section.Name),
            _ => node.Section.Name,
        };

    /// <summary>True for code that travels along though it did not change; the running kernel's stays in use.</summary>
    private bool IsCopy(ObjectNode node) => node.IsCode && !replaced.ContainsKey(node.Root) && pairing.PreOf(node.Root) is not null;

    private CarriedPiece Piece(ObjectNode node)
    {
        var kind = node.Kind switch
        {
            NodeKind.Function => CarriedKind.Function,
            NodeKind.ColdPart or NodeKind.Fragment or NodeKind.Auxiliary or NodeKind.Replacement => CarriedKind.CodePart,
            NodeKind.String => CarriedKind.String,
            NodeKind.Hook => CarriedKind.Hook,
            _ => CarriedKind.Data,
        };
        const ElfSectionFlags Kept = ElfSectionFlags.Alloc | ElfSectionFlags.Write | ElfSectionFlags.Execute;
        // What a short branch leads to keeps its distance, so the branch is right as it is.
        byte[] bytes = node.MaskedBytes();
        foreach (var reference in node.References.Where(reference => reference.IsShort))
            bytes[reference.Offset] = node.Bytes[(int)reference.Offset];
        return new CarriedPiece(
            kind,
            node.Kind == NodeKind.Hook || node.Symbols.Count == 0 ? "" : node.Name,
            node.IsGlobal && !IsCopy(node),
            node.Range,
            OutputSection(node),
            node.Section.Type,
            node.Section.Flags & Kept,
            Alignment(node),
            bytes,
            [.. node.References.Where(reference => !reference.IsShort).Select(reference => Reference(reference, reference.Offset))]
        )
        {
            Padding = (int)node.Padding,
            IsKept = content.Kept.Contains(node),
        };
    }

    // The alignment that the place in the object proves.
    private static ulong Alignment(ObjectNode node)
    {
        ulong section = Math.Max(node.Section.Alignment, 1);
        ulong place = node.Start == 0 ? section : Math.Min(section, node.Start & (~node.Start + 1));
        return node.Kind == NodeKind.Function ? Math.Max(place, 16) : place;
    }

    private CarriedReference Reference(ObjectReference reference, ulong offset)
    {
        if (reference.Entry is { } entry && _pieceOfEntry.TryGetValue(entry, out int own))
            return new CarriedReference(offset, reference.Type, own, null, reference.Adjustment, false) { EntryOf = entry.Table.Name };
        var (target, symbol, distance) = content.Bindings[reference];
        if (symbol is not null && _neededSet.Add(symbol))
            _needed.Add(symbol);
        return new CarriedReference(
            offset,
            reference.Type,
            target is null ? -1 : _pieceOf.GetValueOrDefault(target, -1),
            symbol,
            distance + reference.Adjustment,
            reference.IsBranch
        )
        {
            TakesAddress = reference.TakesAddress,
        };
    }

    private void AddEntry(ObjectNode node, TableEntry entry)
    {
        const ElfSectionFlags Kept = ElfSectionFlags.Alloc | ElfSectionFlags.Write;
        _pieces.Add(
            new CarriedPiece(
                CarriedKind.SpecialEntry,
                "",
                false,
                new ObjectRange(entry.Section.Index, entry.Start, entry.Size),
                entry.Section.Name,
                entry.Section.Type,
                entry.Section.Flags & Kept,
                Math.Max(entry.Section.Alignment, 1),
                entry.MaskedBytes(),
                [.. entry.References.Select(reference => Reference(reference, reference.Offset))]
            )
        );
        if (entry.Orc is { } orc)
            AddOrc(orc);
    }

    // The entry becomes one of the core's.
    private void AddConstant(ObjectNode node, TableEntry entry)
    {
        RuntimeConstant value = new(entry.Section.Name);
        if (_neededSet.Add(value))
            _needed.Add(value);
        int size = SectionCatalog.RuntimeConstantSize(entry.Section.Name);
        _constants.Add(new ConstantPlace(_pieceOf[node], (ulong)entry.KeyOffset, size, value));
    }

    private void AddOrc(ObjectRange range)
    {
        var section = pairing.Post.Elf.Sections[range.Section];
        _pieces.Add(
            new CarriedPiece(
                CarriedKind.SpecialEntry,
                "",
                false,
                range,
                section.Name,
                section.Type,
                ElfSectionFlags.Alloc,
                Math.Max(section.Alignment, 1),
                section.Data.Slice((int)range.Offset, (int)range.Size),
                []
            )
        );
    }

    // objtool writes an entry only where the state changes, also from one function of a section to the next. A function
    // that is cut out of such a section takes the entry that was in force at its start with it.
    private void AddOrcStart(ObjectNode node)
    {
        if (
            !node.IsCode
            || node.Kind == NodeKind.Replacement
            || node.Start == 0
            || node.Entries.Any(entry => entry.Orc is not null && entry.KeyOffset == 0)
        )
            return;
        var inForce = pairing
            .Post.Nodes.Where(other => other.Section == node.Section && other.Start < node.Start)
            .SelectMany(other =>
                other.Entries.Where(entry => entry.Orc is not null).Select(entry => (Place: (long)other.Start + entry.KeyOffset, entry))
            )
            .OrderBy(pair => pair.Place)
            .LastOrDefault()
            .entry;
        if (inForce is null)
            return;
        _pieces.Add(
            new CarriedPiece(
                CarriedKind.SpecialEntry,
                "",
                false,
                new ObjectRange(inForce.Section.Index, inForce.Start, inForce.Size),
                inForce.Section.Name,
                inForce.Section.Type,
                ElfSectionFlags.Alloc,
                Math.Max(inForce.Section.Alignment, 1),
                inForce.MaskedBytes(),
                [new CarriedReference(0, ElfRelocationType.Pc32, _pieceOf[node], null, 0, false)]
            )
        );
        AddOrc(inForce.Orc!.Value);
    }
}
