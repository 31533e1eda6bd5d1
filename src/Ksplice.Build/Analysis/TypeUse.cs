// SPDX-License-Identifier: MIT
// Where one version of a unit has objects of a type, and who gets pointers to them.
using Ksplice.Build.Differencing;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Analysis;

/// <summary>The uses of a type in one object of a unit; <see cref="StackTypes"/> says what they are asked for.</summary>
internal sealed class TypeUse
{
    private readonly ObjectGraph _graph;
    private readonly DebugNode _definition;
    private readonly uint _size;
    private readonly IReadOnlyList<DebugNode> _entries;
    private readonly ILookup<string, DebugNode> _functions;
    private readonly HashSet<string> _involved;
    private readonly HashSet<string> _takers;
    private readonly Dictionary<ObjectNode, PointerFlow> _flows = [];

    private TypeUse(IReadOnlyList<DebugNode> entries, ObjectGraph graph, DebugNode definition, uint size)
    {
        (_entries, _graph, _definition, _size) = (entries, graph, definition, size);
        _functions = entries
            .Where(entry => entry is { Tag: DebugTag.Subprogram, Place: not null })
            .ToLookup(entry => entry.Name, StringComparer.Ordinal);
        var uses = entries
            .Where(entry => entry.Tag is DebugTag.Parameter or DebugTag.Variable && Reaches(entry.Type) != Reach.No)
            .Select(entry => (Entry: entry, Function: Function(entry)))
            .Where(use => use.Function is not null)
            .ToList();
        _involved = [.. uses.Where(use => use.Function!.Place is not null).Select(use => use.Function!.Name)];
        _takers =
        [
            .. uses.Where(use => use.Entry.Tag == DebugTag.Parameter && use.Entry.Parent == use.Function)
                .Where(use => Reaches(use.Entry.Type) == Reach.Pointer && use.Function!.Name.Length != 0)
                .Select(use => use.Function!.Name),
        ];
        Owners =
        [
            .. uses.Where(use => Reaches(use.Entry.Type) == Reach.Value && use.Function!.Place is not null)
                .Select(use => use.Function!.Name)
                .Distinct(StringComparer.Ordinal)
                .Order(StringComparer.Ordinal),
        ];
    }

    /// <summary>The functions that have a variable of the type, sorted.</summary>
    public IReadOnlyList<string> Owners { get; }

    /// <summary>The uses of <c>struct x</c> or <c>union x</c>; null unless the unit's own source alone defines it.</summary>
    public static TypeUse? Find(SourceMap source, ObjectGraph graph, string type, uint size)
    {
        var definitions = source
            .Entries.Where(entry =>
                entry.Tag is DebugTag.Structure or DebugTag.Union
                && !entry.IsDeclaration
                && (entry.Tag == DebugTag.Union ? "union " : "struct ") + entry.Name == type
            )
            .ToList();
        return definitions is [{ Location.Path: { } path } definition] && IsSame(path, Root(definition).Name)
            ? new(source.Entries, graph, definition, size)
            : null;
    }

    /// <summary>The name in the source of a function that the compiler may have cloned.</summary>
    public static string SourceName(string function) => function.Split('.')[0];

    /// <summary>True if a function, or what is inlined into it, has a variable or parameter that is one or points to one.</summary>
    public bool Involves(string function) => _involved.Contains(SourceName(function));

    /// <summary>Accesses of a function through pointers of which it is not known that they lead to no other object of the type.</summary>
    public IReadOnlyDictionary<string, int> UnknownAccesses(ObjectFunction function) =>
        Flow(_graph.Nodes.First(node => node.Range == function.Parts[0].Range && node.Kind == NodeKind.Function)).Unknown;

    /// <summary>Why objects may be elsewhere than on stacks of <paramref name="replaced"/> functions; null if they are not.</summary>
    public string? Objection(IReadOnlySet<string> replaced)
    {
        if (_entries.FirstOrDefault(EscapesThrough) is { } escape)
            return $"'{escape.Name}' holds or points to one";
        if (_takers.FirstOrDefault(taker => IsGlobal(taker) || IsAddressTaken(taker)) is { } handed)
            return $"{handed} takes one and may be called from anywhere";
        if (Owners.Count == 0)
            return "no function has such a variable";
        if (Owners.FirstOrDefault(owner => !replaced.Contains(owner)) is { } stays)
            return $"{stays} has one and is not replaced";
        return Nodes(_takers).Select(taker => Calls(taker, replaced)).FirstOrDefault(objection => objection is not null);
    }

    private enum Reach
    {
        No,
        Value,
        Pointer,
    }

    // Whether a type is the definition, an array of it, or points to it.
    private Reach Reaches(DebugNode? candidate)
    {
        bool pointer = false;
        for (int steps = 0; candidate is not null && steps < 64; steps++, candidate = candidate.Type)
        {
            if (candidate == _definition)
                return pointer ? Reach.Pointer : Reach.Value;
            pointer |= candidate.Tag == DebugTag.Pointer;
            if (
                candidate.Tag
                is not (DebugTag.Pointer or DebugTag.Array or DebugTag.Typedef or DebugTag.Const or DebugTag.Volatile or DebugTag.Restrict)
            )
                return Reach.No;
        }
        return Reach.No;
    }

    private bool EscapesThrough(DebugNode entry) =>
        entry.Tag switch
        {
            DebugTag.Member or DebugTag.Subprogram or DebugTag.SubroutineType => Reaches(entry.Type) != Reach.No,
            DebugTag.Parameter when entry.Parent?.Tag == DebugTag.SubroutineType => Reaches(entry.Type) != Reach.No,
            DebugTag.Variable => Reaches(entry.Type) is var reach
                && reach != Reach.No
                && (reach == Reach.Pointer || entry.Place is not null || Function(entry) is null),
            _ => false,
        };

    private static DebugNode? Function(DebugNode entry)
    {
        var parent = entry.Parent;
        while (parent is not null && parent.Tag != DebugTag.Subprogram)
            parent = parent.Parent;
        return parent;
    }

    // One of the two may say more of the folder.
    private static bool IsSame(string path, string unit) =>
        ("/" + path).EndsWith("/" + unit, StringComparison.Ordinal) || ("/" + unit).EndsWith("/" + path, StringComparison.Ordinal);

    private static DebugNode Root(DebugNode entry) => entry.Parent is null ? entry : Root(entry.Parent);

    private IEnumerable<ObjectNode> Nodes(IReadOnlySet<string> functions) =>
        _graph.Nodes.Where(node => node.Kind == NodeKind.Function && functions.Contains(SourceName(node.Name)));

    private bool IsGlobal(string function) => Nodes(new HashSet<string>(StringComparer.Ordinal) { function }).Any(node => node.IsGlobal);

    private bool IsAddressTaken(string function) =>
        Nodes(new HashSet<string>(StringComparer.Ordinal) { function })
            .Any(node => node.Referrers.Any(reference => reference is { TakesAddress: true, IsBranch: false }));

    // What the calls of a function pass where it takes a pointer to the type.
    private string? Calls(ObjectNode taker, IReadOnlySet<string> replaced)
    {
        uint taken = Given(taker);
        foreach (
            var caller in taker
                .Referrers.Where(reference => reference.Field is null && reference.Holder.Root != taker)
                .Select(reference => reference.Holder.Root)
                .Append(taker)
                .Distinct()
        )
        {
            foreach (var call in Flow(caller).Calls.Where(call => call.Callee == taker.Name))
            {
                if ((taken & ~(call.Known.Frame | call.Known.Given)) != 0)
                    return $"a call of {taker.Name} in {caller.Name} passes something else";
                if ((taken & call.Known.Frame) != 0 && !replaced.Contains(SourceName(caller.Name)))
                    return $"{caller.Name} passes one to {taker.Name} and is not replaced";
            }
        }
        return null;
    }

    private PointerFlow Flow(ObjectNode function)
    {
        if (!_flows.TryGetValue(function, out var flow))
            _flows[function] = flow = new PointerFlow(function, Given(function), _size);
        return flow;
    }

    // The registers in which a function gets pointers to the type, as a set of bits by DWARF's numbers.
    private uint Given(ObjectNode function)
    {
        var entries = _functions[SourceName(function.Name)].ToList();
        // A function in several pieces has no one place in debug data.
        var entry = entries.Find(entry => entry.Place == (function.Section.Index, function.Start)) ?? (entries is [var only] ? only : null);
        return _entries
            .Where(candidate =>
                candidate.Tag == DebugTag.Parameter
                && candidate.Parent == entry
                && entry is not null
                && Reaches(candidate.Type) == Reach.Pointer
            )
            .Select(parameter => parameter.RegisterAt(function.Section.Index, function.Start))
            .Aggregate(0u, (set, register) => register is { } number and < 16 ? set | (1u << number) : set);
    }
}
