// SPDX-License-Identifier: MIT
// From differences to match data (paper, section 4.3). What must be found is what is replaced; what new code refers to is
// found on the way, by the references of the matched code. Where nothing that is replaced refers to it, the smallest
// function of the unit that does is matched too.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Matching;

/// <summary>Builds the match data of an update.</summary>
public sealed class MatchDataBuilder
{
    // What rewritten sites may lead to, by release: arch/x86/lib/retpoline.S, kernel/static_call.c,
    // arch/x86/kernel/paravirt.c and alternative.c.
    private static readonly (string Name, SymbolRole Role)[] Roles =
    [
        ("__x86_return_thunk", SymbolRole.ReturnThunk),
        ("retbleed_return_thunk", SymbolRole.ReturnThunk),
        ("srso_return_thunk", SymbolRole.ReturnThunk),
        ("srso_alias_return_thunk", SymbolRole.ReturnThunk),
        ("its_return_thunk", SymbolRole.ReturnThunk),
        ("call_depth_return_thunk", SymbolRole.ReturnThunk),
        ("__static_call_return0", SymbolRole.StaticReturn0),
        ("__WARN_trap", SymbolRole.WarnTrap),
        ("__static_call_return", SymbolRole.StaticReturn),
        ("_paravirt_nop", SymbolRole.ParavirtNop),
        ("paravirt_BUG", SymbolRole.ParavirtBug),
        ("x86_return_thunk", SymbolRole.ReturnPointer),
        ("skl_call_thunk_template", SymbolRole.CallCount),
        ("__x86_indirect_call_thunk_array", SymbolRole.CallThunks),
        ("__x86_indirect_jump_thunk_array", SymbolRole.JumpThunks),
        ("nop_func", SymbolRole.ParavirtNop),
        ("BUG_func", SymbolRole.ParavirtBug),
    ];

    private readonly MatchTables _tables = new();
    private readonly ProgramWriter _writer;
    private readonly DiagnosticBag _diagnostics;
    private readonly HashSet<ObjectNode> _included = [];
    private readonly Dictionary<string, IReadOnlyDictionary<string, IReadOnlyList<SequencePlace>>> _sequences = new(StringComparer.Ordinal);
    private readonly HashSet<(string Unit, string Section)> _added = [];
    private bool _failed;

    private MatchDataBuilder(DiagnosticBag diagnostics)
    {
        _writer = new ProgramWriter(_tables);
        _diagnostics = diagnostics;
    }

    /// <summary>Builds match data that finds everything that <paramref name="diffs"/> replace and all of
    /// <paramref name="exports"/>; null after an error.</summary>
    /// <exception cref="Elf.ElfFormatException">A pre object is malformed.</exception>
    public static MatchData? Build(IReadOnlyList<ObjectDiff> diffs, IReadOnlyList<RunSymbol> exports, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(diffs);
        ArgumentNullException.ThrowIfNull(exports);
        ArgumentNullException.ThrowIfNull(diagnostics);
        var graphs = diffs.ToDictionary(diff => diff.Unit, diff => ObjectGraph.Of(diff.PreWithTables), StringComparer.Ordinal);
        var replaced = diffs.SelectMany(diff =>
            diff.Replaced.Select(function =>
                (
                    diff.Unit,
                    Parts: (IReadOnlyList<ObjectNode>)
                        [.. function.Pre.Select(range => graphs[diff.Unit].Nodes.Single(node => node.Range == range && node.IsCode))]
                )
            )
        );
        if (!CheckLayouts(diffs, diagnostics))
            return null;
        AddressUse[] uses = [.. ObjectDiff.AddressesUsedBy(diffs)];
        return
            new MatchDataBuilder(diagnostics).Build(graphs, [.. replaced], exports, called: uses.Select(use => use.Symbol).ToHashSet())
                is { } data
            ? data with
            {
                AddressUses = [.. uses],
            }
            : null;
    }

    /// <summary>Builds match data as if <paramref name="function"/> alone were replaced; or, without
    /// <paramref name="redirect"/>, only to find it.</summary>
    internal static MatchData? Build(
        ObjectGraph graph,
        string unit,
        ObjectNode function,
        bool redirect,
        IReadOnlyList<RunSymbol> exports,
        DiagnosticBag diagnostics
    ) =>
        new MatchDataBuilder(diagnostics).Build(
            new Dictionary<string, ObjectGraph>(StringComparer.Ordinal) { [unit] = graph },
            [(unit, [function, .. function.Parts])],
            exports,
            redirect
        );

    private MatchData? Build(
        IReadOnlyDictionary<string, ObjectGraph> graphs,
        IReadOnlyList<(string Unit, IReadOnlyList<ObjectNode> Parts)> replaced,
        IReadOnlyList<RunSymbol> exports,
        bool redirect = true,
        IReadOnlySet<RunSymbol>? called = null
    )
    {
        foreach (var (unit, graph) in graphs)
            _sequences.Add(unit, SymbolSequence.Read(graph.Elf));
        foreach (var (name, role) in Roles)
            _tables.SetRole(name, role);
        List<MatchedFunction> functions = [];
        foreach (var (unit, parts) in replaced)
        {
            for (int i = 0; i < parts.Count; i++)
            {
                // Parts in init memory (.altinstr_aux) are gone where the kernel runs.
                if (parts[i].Kind is NodeKind.Function or NodeKind.ColdPart or NodeKind.Fragment)
                    Include(parts[i], unit, ObjectFlags.Replaced, i == 0 && redirect ? (uint)functions.Count : MatchFormat.None);
            }
            if (redirect)
                functions.Add(new MatchedFunction(unit, parts[0].Name));
        }

        for (int i = 0; i < exports.Count; i++)
        {
            var flags = called?.Contains(exports[i]) == true ? SymbolFlags.Called : SymbolFlags.None;
            switch (exports[i])
            {
                case GlobalSymbol global:
                    _tables.SetExport(_tables.Global(global.Name), i, SymbolFlags.ByName | flags);
                    break;
                case RuntimeConstant constant:
                    ExportConstant(constant, i, graphs);
                    break;
                case LocalSymbol local:
                    Export(
                        local,
                        i,
                        graphs[local.Unit]
                            .Nodes.FirstOrDefault(node => node.Section.Index == local.PreSection && node.Start == local.Offset),
                        local.Unit,
                        flags
                    );
                    break;
                case StringLiteral literal:
                    Export(
                        literal,
                        i,
                        graphs[literal.Unit].Nodes.FirstOrDefault(node => node.Kind == NodeKind.String && IsText(node, literal.Content)),
                        literal.Unit
                    );
                    break;
            }
        }
        if (_failed)
            return null;
        return new MatchData(_tables.ToBytes(exports.Count, functions.Count), [.. exports], [.. functions]);
    }

    private static bool CheckLayouts(IReadOnlyList<ObjectDiff> diffs, DiagnosticBag diagnostics)
    {
        bool known = true;
        foreach (var diff in diffs)
        {
            foreach (string problem in diff.Carried.Select(KnownLayouts.Problem).OfType<string>().Distinct(StringComparer.Ordinal))
            {
                diagnostics.Report(MatchDiagnostics.UnknownLayout, new SourceLocation(diff.Unit), "new code", diff.Unit, problem);
                known = false;
            }
        }
        return known;
    }

    private static bool IsText(ObjectNode node, string content) =>
        node.Size == (ulong)content.Length + 1 && node.Bytes[..^1].SequenceEqual(System.Text.Encoding.Latin1.GetBytes(content));

    private void Export(RunSymbol symbol, int index, ObjectNode? node, string unit, SymbolFlags flags = SymbolFlags.None)
    {
        if (node is null || _tables.IsExported(_tables.Start(node)) || !(_tables.IsMet(_tables.Start(node)) || Reach(node, unit, [])))
        {
            _diagnostics.Report(MatchDiagnostics.Unreachable, new SourceLocation(unit), symbol.DisplayName);
            _failed = true;
            return;
        }
        _tables.SetExport(_tables.Start(node), index, flags);
    }

    // Where no replaced function has the number in its code, the smallest one that does is matched too.
    private void ExportConstant(RuntimeConstant constant, int index, IReadOnlyDictionary<string, ObjectGraph> graphs)
    {
        uint symbol = _tables.Constant(constant.Name);
        var users = graphs.SelectMany(graph =>
            graph
                .Value.Nodes.Where(node =>
                    node is { Kind: NodeKind.Function, Role: SectionRole.Code }
                    && node.Entries.Any(entry => entry.Section.Name == constant.Name)
                )
                .Select(node => (Unit: graph.Key, Node: node))
        );
        if (
            !_tables.IsMet(symbol)
            && !users.OrderBy(user => user.Node.Size).Any(user => Include(user.Node, user.Unit, ObjectFlags.None, MatchFormat.None))
        )
        {
            _diagnostics.Report(MatchDiagnostics.Unreachable, null, constant.DisplayName);
            _failed = true;
            return;
        }
        _tables.SetExport(symbol, index, SymbolFlags.None);
    }

    // Includes what leads to the node: itself if it is a function, else code or constant data that refers to it.
    private bool Reach(ObjectNode node, string unit, HashSet<ObjectNode> visited)
    {
        if (!visited.Add(node))
            return false;
        if (node.Kind is NodeKind.Function or NodeKind.ColdPart or NodeKind.Fragment && node.Role == SectionRole.Code)
            return Include(node, unit, ObjectFlags.None, MatchFormat.None);
        var referrers = node
            .Referrers.Select(reference => reference.Holder.Root)
            .Where(holder =>
                holder.Kind == NodeKind.Function
                && holder.Role == SectionRole.Code
                && holder.References.Any(reference => reference.Target == node)
            )
            .OrderBy(holder => holder.Size);
        foreach (var holder in referrers)
        {
            if (Include(holder, unit, ObjectFlags.None, MatchFormat.None))
                return true;
        }
        foreach (var holder in node.Referrers.Select(reference => reference.Holder).Where(IsConstant))
        {
            if (Reach(holder, unit, visited) && Include(holder, unit, ObjectFlags.None, MatchFormat.None))
                return true;
        }
        return false;
    }

    private static bool IsConstant(ObjectNode node) =>
        node is { Kind: NodeKind.Data, Role: SectionRole.Data or SectionRole.Code, IsWritable: false, IsZeroed: false, Size: > 0 };

    // Adds an object and the constants that it refers to.
    private bool Include(ObjectNode node, string unit, ObjectFlags flags, uint function)
    {
        if (!_included.Add(node))
            return true;
        if (node.IsCode && KnownLayouts.Problem(node) is { } problem)
        {
            _diagnostics.Report(MatchDiagnostics.UnknownLayout, new SourceLocation(unit), $"'{node.Name}'", unit, problem);
            _failed = true;
            return false;
        }
        string section = SymbolSequence.ClassOf(node.Section.Name);
        if (node.IsCode && _sequences[unit].TryGetValue(section, out var places) && _added.Add((unit, section)))
            _tables.AddSequence(unit, places);
        try
        {
            // What static_cpu_has jumps to before the kernel has rewritten its sites; freed with init memory afterwards.
            if (node.Kind == NodeKind.Auxiliary)
                flags |= ObjectFlags.Optional;
            var (ops, endsInCall) = node.IsCode ? _writer.WriteCode(node) : (_writer.WriteData(node), false);
            if (endsInCall)
                flags |= ObjectFlags.EndsInCall;
            _tables.AddObject(
                node,
                unit,
                node.IsCode && node.Kind != NodeKind.Auxiliary ? ObjectKind.Text : ObjectKind.Data,
                flags,
                function,
                ops
            );
        }
        catch (ProgramWriter.UnmatchableException unmatchable)
        {
            _diagnostics.Report(MatchDiagnostics.Unmatchable, new SourceLocation(unit), node.Name, unmatchable.Offset, unmatchable.Message);
            _failed = true;
            return false;
        }
        foreach (var part in node.Parts.Where(part => part.Kind == NodeKind.Auxiliary))
            Include(part, unit, ObjectFlags.None, MatchFormat.None);
        foreach (var constant in node.References.Select(reference => reference.Target).OfType<ObjectNode>().Where(IsConstant))
            Include(constant, unit, ObjectFlags.None, MatchFormat.None);
        return true;
    }
}
