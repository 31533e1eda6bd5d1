// SPDX-License-Identifier: MIT
// What has to travel with the replaced functions: their parts and table entries, and whatever they refer to that the
// running kernel does not have. Each reference of what travels is bound once, by K8: the address of a replaced function
// is the original's, a direct branch stays inside the primary, what did not change is the running kernel's. Binding one may
// let its target travel too, whose references are bound next, until nothing is left.
using System.Collections.Frozen;
using System.Collections.Immutable;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Differencing;

/// <summary>What a reference of carried content points at.</summary>
/// <param name="Carried">What travels along, or null.</param>
/// <param name="Symbol">The thing in the running kernel, or null.</param>
/// <param name="Offset">Bytes from the start of either.</param>
internal readonly record struct Binding(ObjectNode? Carried, RunSymbol? Symbol, long Offset);

/// <summary>What travels, and where its references lead.</summary>
/// <param name="Nodes">What travels, in the order of the post object.</param>
/// <param name="Bindings">Every reference of the nodes and of their table entries.</param>
/// <param name="Neighbours">Code that must keep its distance: short branches reach no further, and control runs on from one into the
/// next.</param>
/// <param name="Keys">Keys that the loader will write to.</param>
/// <param name="Pins">The addresses of what travels that may outlive an undo.</param>
/// <param name="Kept">The strings and constants among what these addresses are of.</param>
internal sealed record CarriedContent(
    ImmutableArray<ObjectNode> Nodes,
    FrozenDictionary<ObjectReference, Binding> Bindings,
    ImmutableArray<(ObjectNode, ObjectNode)> Neighbours,
    ImmutableArray<StaticKeyUse> Keys,
    ImmutableArray<PinReason> Pins,
    FrozenSet<ObjectNode> Kept
);

/// <summary>Finds the content of one unit's part of the primary; lives for one call.</summary>
internal sealed class ContentCollector(string unit, Pairing pairing, IReadOnlyDictionary<ObjectNode, FunctionChange> replaced)
{
    private static readonly string[] FixedCode = [".entry.text", ".noinstr.text", ".static_call.text"];

    // The thunks' addresses are what mitigations rest upon (arch/x86/lib/retpoline.S).
    private const string ThunkCode = ".text..__x86.";

    private readonly HashSet<ObjectNode> _carried = [];
    private readonly Dictionary<ObjectReference, Binding> _bindings = [];
    private readonly Queue<ObjectNode> _work = [];
    private readonly List<PinReason> _pins = [];
    private readonly HashSet<ObjectNode> _kept = [];
    private readonly List<StaticKeyUse> _keys = [];
    private readonly HashSet<string> _knownStrings = [];
    private readonly List<(ObjectNode, ObjectNode)> _neighbours = [];
    private readonly List<Refusal> _refusals = [];

    private void Report(DiagnosticDescriptor descriptor, params object?[] arguments) =>
        _refusals.Add(new(descriptor, unit, null, arguments));

    /// <summary>The content, or null with what refuses it.</summary>
    public (CarriedContent? Content, IReadOnlyList<Refusal> Refusals) Collect()
    {
        FindKnownStrings();
        foreach (var node in pairing.Post.Nodes.Where(IsRoot))
            Carry(node);
        while (_work.TryDequeue(out var node))
        {
            foreach (var reference in node.References.Concat(node.Entries.SelectMany(entry => entry.References)))
                _bindings.Add(reference, Bind(reference));
        }
        CheckUnknownSections();
        CheckConstants();
        if (_refusals.Count != 0)
            return (null, _refusals);
        return (
            new(
                [.. _carried.OrderBy(node => node.Section.Index).ThenBy(node => node.Start).ThenBy(node => node.Id)],
                _bindings.ToFrozenDictionary(),
                [.. _neighbours],
                [.. _keys],
                [.. _pins],
                _kept.ToFrozenSet()
            ),
            []
        );
    }

    private bool IsRoot(ObjectNode node) =>
        replaced.ContainsKey(node)
        || node.Kind == NodeKind.Hook
        || (
            node
                is {
                    Kind: NodeKind.Function or NodeKind.Fragment or NodeKind.Data,
                    Role: SectionRole.Code or SectionRole.Data,
                    IsGlobal: true
                }
            && pairing.PreOf(node) is null
        );

    // Strings that matching is sure to meet: those that the pre code of a replaced function refers to.
    private void FindKnownStrings()
    {
        foreach (var node in replaced.Keys)
        {
            var old = pairing.PreOf(node)!;
            foreach (
                var reference in old.Parts.Where(part => part.Kind == NodeKind.ColdPart).Prepend(old).SelectMany(part => part.References)
            )
            {
                if (reference is { Target: { Kind: NodeKind.String, Section.EntrySize: 1 } text, TargetOffset: >= 0 })
                    _knownStrings.Add(Content(text));
            }
        }
    }

    private static string Content(ObjectNode text) => System.Text.Encoding.Latin1.GetString(text.Bytes[..^1]);

    private void Carry(ObjectNode node)
    {
        if (!_carried.Add(node))
            return;
        if (node.Immovable is not null)
            Report(DifferencingDiagnostics.ImmovableCode, node.Name, unit, node.Immovable);
        // Where it was counts as much as where it is: the redirect would stand in the old place.
        if (
            node.Kind is NodeKind.Function or NodeKind.Fragment
            && (IsFixed(node) ? node : pairing.PreOf(node)) is { } there
            && IsFixed(there)
        )
            ReportFixed(node, there);
        if (
            node.Padding is > 0 and var padding
            && node.Section.Data.Span.Slice((int)(node.Start - padding), (int)padding).ContainsAnyExcept((byte)0x90)
        )
            Report(DifferencingDiagnostics.ImmovableCode, node.Name, unit, "what stands before it is neither a no-op nor another function");
        if (node.Kind == NodeKind.Data)
            CheckData(node);
        foreach (var part in node.Parts)
            Carry(part);
        if (node.FallsInto is { } next)
        {
            _neighbours.Add((node, next));
            Carry(next);
        }
        _work.Enqueue(node);
    }

    private void ReportFixed(ObjectNode node, ObjectNode there)
    {
        if (pairing.PreOf(node) is not null)
            Report(DifferencingDiagnostics.SectionNotReplaceable, node.Name, unit, there.Section.Name);
        else
            Report(
                DifferencingDiagnostics.NewFixedCode,
                node.Name,
                unit,
                there.Section.Name,
                there.Section.Name == ".static_call.text"
                    ? "it is the trampoline of a new static call, which an update cannot bring; call through a function pointer"
                    : "the place is what makes such code work, and in a module it would be elsewhere"
            );
    }

    private static bool IsFixed(ObjectNode node) =>
        FixedCode.Contains(node.Section.Name) || node.Section.Name.StartsWith(ThunkCode, StringComparison.Ordinal);

    private void CheckData(ObjectNode node)
    {
        if (node.Role == SectionRole.Collected && !SectionCatalog.ListsMessages(node.Section.Name))
            Report(DifferencingDiagnostics.CollectedChanged, node.Name, node.Section.Name, unit, "new");
        if (
            IsPerCpu(node)
            && node.Section.Name
                is not (".data..percpu" or ".data..percpu..shared_aligned" or ".data..percpu..read_mostly" or ".data..percpu..page_aligned")
        )
            Report(DifferencingDiagnostics.PerCpuSection, node.Name, unit, node.Section.Name, ".data..percpu");
        else if (SectionCatalog.IsOfImage(node.Section.Name))
            Report(DifferencingDiagnostics.ImageSection, node.Name, unit, node.Section.Name);
        if (
            node.Role == SectionRole.Data
            && pairing.Ambiguous.TryGetValue(node, out var rivals)
            && Comparison.HoldsState(node, pairing.Post.Elf)
        )
        {
            var shown =
                from rival in rivals
                let users = rival.Referrers.Select(user => user.Holder.Name).Distinct(StringComparer.Ordinal)
                select $"{rival.Name} (used by {string.Join(", ", users)})";
            Report(DifferencingDiagnostics.Ambiguous, node.Name, unit, string.Join(", ", shown));
        }
    }

    internal static bool IsPerCpu(ObjectNode node) => node.Section.Name.StartsWith(".data..percpu", StringComparison.Ordinal);

    /// <summary>Decides what a reference of carried content points at, and carries the target if that is needed.</summary>
    private Binding Bind(ObjectReference reference)
    {
        if (reference.Field == TableField.Replacement && reference.External is { } thunk)
            return new(null, new GlobalSymbol(thunk), reference.TargetOffset);
        if (reference.Field is TableField.Key or TableField.Code or TableField.Replacement or TableField.Entry)
            return BindPlace(reference);
        var bound = reference.Target is null
            ? new(null, new GlobalSymbol(reference.External!), reference.TargetOffset)
            : BindTarget(reference, reference.Target);
        if (reference.Field == TableField.StaticKey && bound.Symbol is { } key)
            AddKey(reference, key);
        return bound;
    }

    // Where a table entry points at code, the code of its own function is meant, wherever that is.
    private Binding BindPlace(ObjectReference reference)
    {
        if (
            reference.Target is { } target
            && _carried.Contains(target)
            && (reference.Field != TableField.Replacement || target.Root == reference.Holder.Root)
        )
            return new(target, null, reference.TargetOffset);
        if (reference.Field == TableField.Replacement)
            return new(reference.Holder, null, 0); // a replacement of no bytes
        if (reference.Target is { Kind: NodeKind.Function or NodeKind.ColdPart } && reference.Target.Root == reference.Holder.Root)
            return new(reference.Target, null, reference.TargetOffset);
        return IsInside(reference) ? Along(reference) : Middle(reference);
    }

    // A place in code that can travel: not in init memory, not between two functions.
    private static bool IsInside(ObjectReference reference) =>
        reference is { Target: { IsCode: true, Role: SectionRole.Code } target, TargetOffset: >= 0 }
        && reference.TargetOffset < (long)target.Size;

    private Binding Along(ObjectReference reference)
    {
        Carry(reference.Target!.Root);
        return new(reference.Target, null, reference.TargetOffset);
    }

    private Binding BindTarget(ObjectReference reference, ObjectNode target)
    {
        switch (target.Kind)
        {
            case NodeKind.String when reference.Field is null && target.Section.EntrySize == 1 && _knownStrings.Contains(Content(target)):
                return new(null, new StringLiteral(unit, Content(target)), reference.TargetOffset);
            case NodeKind.String or NodeKind.Constant:
                return Own(reference, target);
            case NodeKind.Dropped:
            case NodeKind.Function or NodeKind.Fragment or NodeKind.ColdPart when target.Role == SectionRole.Dropped:
                Report(
                    DifferencingDiagnostics.InitReference,
                    reference.Holder.Name,
                    unit,
                    NodeComparer.Describe(reference),
                    target.Section.Name
                );
                return default;
            case NodeKind.Unknown:
                Report(DifferencingDiagnostics.UnknownSection, target.Section.Name, unit, $"is referred to by '{reference.Holder.Name}'");
                return default;
            case NodeKind.Data or NodeKind.Hook:
                return BindData(reference, target);
            default:
                return BindCode(reference, target);
        }
    }

    private Binding BindData(ObjectReference reference, ObjectNode target)
    {
        bool constants =
            target is { IsAnonymous: true, Role: SectionRole.Data } && (!target.IsWritable || SectionCatalog.IsGenerated(target.Section));
        // No code leads matching to the names in a debug print's descriptor; a copy says the same.
        bool names =
            reference.Holder.Role == SectionRole.Collected && target is { IsGlobal: false, IsWritable: false, Role: SectionRole.Data };
        if (!constants && !names && pairing.PreOf(target) is { } old)
            return new(null, RunSymbolOf(old), reference.TargetOffset);
        return Own(reference, target);
    }

    private Binding BindCode(ObjectReference reference, ObjectNode target)
    {
        var function = target.Root;
        bool entry = target == function && reference.TargetOffset == 0;
        bool own = function == reference.Holder.Root;
        var old = pairing.PreOf(function);
        bool brought = old is null || replaced.ContainsKey(function);
        if (reference.IsShort && !own)
        {
            if (
                !IsInside(reference)
                || target.Section != reference.Holder.Section
                || CarriedPieces.OutputSection(target) != CarriedPieces.OutputSection(reference.Holder)
            )
                return Middle(reference);
            _neighbours.Add((reference.Holder, target));
            return Along(reference);
        }
        // A branch or the address of a label, which jump tables hold too: the code that travels along is meant.
        if (!entry && (own || (brought && (reference.IsBranch || reference.Holder.Kind == NodeKind.Data))))
            return Along(reference);
        // Where the running kernel has that place is not known: the code around it travels along. No other code needs it there.
        bool fragment = function is { Kind: NodeKind.Fragment, IsGlobal: false } && !IsFixed(function);
        if ((fragment || !entry) && reference.IsBranch && IsInside(reference))
            return Along(reference);
        if (!entry)
            return Middle(reference);
        // K22: no old code takes the address of a function that has no ENDBR, and no indirect call may go there.
        if (old is null || (brought && !reference.IsBranch && HasEndbr(target) && !HasEndbr(old)))
            return Own(reference, target);
        return brought && reference.IsBranch ? new(target, null, 0) : new(null, RunSymbolOf(old), 0);
    }

    private static bool HasEndbr(ObjectNode function) => KernelImage.IsEndbr(function.Bytes);

    private Binding Middle(ObjectReference reference)
    {
        Report(DifferencingDiagnostics.MiddleReference, reference.Holder.Name, unit, NodeComparer.Describe(reference));
        return default;
    }

    // The update's own: carried, and never unloaded where its address goes somewhere (K20). Tables of the module itself, hooks
    // and debug prints go when the module goes. UBSAN's functions report what its data says and keep nothing (lib/ubsan.c).
    private Binding Own(ObjectReference reference, ObjectNode target)
    {
        Carry(target);
        bool leaves =
            reference is { TakesAddress: true, IsBranch: false, Field: null }
            && reference.Holder.Kind != NodeKind.Hook
            && reference.Holder.Role != SectionRole.Collected
            && !SectionCatalog.IsUbsan(target.Section.Name)
            && !SectionCatalog.IsUbsan(reference.Holder.Section.Name);
        if (leaves)
        {
            var reason = new PinReason(KindOf(target), reference.Holder.Root.Name, NodeComparer.Describe(reference));
            if (!_pins.Contains(reason))
                _pins.Add(reason);
            if (!reason.PinsPrimary)
                _kept.Add(target);
        }
        return new(target, null, reference.TargetOffset);
    }

    private static PinKind KindOf(ObjectNode target) =>
        target.Kind switch
        {
            NodeKind.String => PinKind.String,
            NodeKind.Constant => PinKind.Constant,
            _ when target.IsCode => PinKind.Function,
            _ when target.IsWritable => PinKind.Variable,
            _ when target is { References.Count: 0, Entries.Count: 0, IsZeroed: false }
                    && CarriedPieces.OutputSection(target) == ".rodata" => PinKind.Constant,
            _ => PinKind.Table,
        };

    private RunSymbol RunSymbolOf(ObjectNode old) =>
        old.IsGlobal ? new GlobalSymbol(old.Name) : new LocalSymbol(unit, old.Name, old.Section.Index, old.Start);

    private void AddKey(ObjectReference reference, RunSymbol key)
    {
        if (reference.Target is { Section.Name: ".data..ro_after_init" })
        {
            Report(DifferencingDiagnostics.ReadOnlyKey, reference.Holder.Root.Name, unit, key.DisplayName);
            return;
        }
        string section = reference.FieldSize == 8 ? "__jump_table" : ".static_call_sites";
        var use = new StaticKeyUse(reference.Holder.Root.Name, key, section);
        if (!_keys.Contains(use))
            _keys.Add(use);
    }

    private void CheckUnknownSections()
    {
        foreach (var node in _carried)
        {
            if (node.Referrers.FirstOrDefault(reference => reference.Holder.Kind == NodeKind.Unknown) is { } user && node.IsCode)
                Report(DifferencingDiagnostics.UnknownSection, user.Holder.Section.Name, unit, $"has an entry for '{node.Root.Name}'");
        }
    }

    // No module's places are written by the kernel: such an entry becomes one of the core's, about bytes of the function itself.
    private void CheckConstants()
    {
        foreach (var node in _carried)
        {
            foreach (var entry in node.Entries.Where(entry => SectionCatalog.IsRuntimeConstant(entry.Section.Name)))
            {
                int size = SectionCatalog.RuntimeConstantSize(entry.Section.Name);
                if (entry.KeyOffset < 0 || entry.KeyOffset + size > (long)node.Size)
                    Report(DifferencingDiagnostics.MiddleReference, node.Name, unit, entry.Section.Name);
            }
        }
    }
}
