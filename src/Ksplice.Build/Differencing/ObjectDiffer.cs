// SPDX-License-Identifier: MIT
// Pre-post differencing (paper, section 3.2): what of a unit's object code really changes, found by comparing the
// objects and not the source. Where the compiler inlined a changed function, the caller's object code differs too, and
// the caller is replaced like any other.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Dwarf;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>Compares the pre and the post object of a unit.</summary>
public static class ObjectDiffer
{
    /// <summary>
    /// Compares the objects of <paramref name="unit"/>. An empty difference is no refusal: a patched header rebuilds many units and
    /// changes few. A malformed object is one.
    /// </summary>
    public static ObjectComparison Compare(string unit, ObjectPair pair)
    {
        ArgumentNullException.ThrowIfNull(unit);
        ArgumentNullException.ThrowIfNull(pair);
        try
        {
            return new Comparison(unit, pair.Correlation).Run();
        }
        catch (ElfFormatException malformed)
        {
            return new ObjectComparison([Malformed(unit, malformed)], () => new(null, []));
        }
    }

    internal static Refusal Malformed(string unit, ElfFormatException malformed) =>
        new(DifferencingDiagnostics.MalformedObject, unit, null, [unit, malformed.Message]);
}

/// <summary>What comparing two objects found, before anybody has judged it.</summary>
public sealed class ObjectComparison
{
    private readonly Lazy<CarriedResult> _carried;

    internal ObjectComparison(IReadOnlyList<Refusal> refusals, Func<CarriedResult> carry) => (Refusals, _carried) = (refusals, new(carry));

    /// <summary>What the difference cannot have, in the order in which it was found.</summary>
    public IReadOnlyList<Refusal> Refusals { get; }

    /// <summary>
    /// The difference with all that has to travel with the new code. To be asked for where <see cref="Refusals"/> has no error, or where
    /// somebody has acknowledged each: the running kernel's copy of what changed then stays, and new code uses it.
    /// </summary>
    public CarriedResult Carried => _carried.Value;
}

/// <summary>The difference with all that travels with it.</summary>
/// <param name="Diff">The difference; null if something refused it.</param>
/// <param name="Refusals">What refused it.</param>
public sealed record CarriedResult(ObjectDiff? Diff, IReadOnlyList<Refusal> Refusals);

/// <summary>One comparison; lives for one call.</summary>
internal sealed partial class Comparison(string unit, Correlation correlation)
{
    private readonly Pairing _pairing = new(correlation);
    private readonly Dictionary<ObjectNode, FunctionChange> _replaced = [];
    private readonly List<Refusal> _refusals = [];

    private ObjectGraph Pre => _pairing.Pre;

    private ObjectGraph Post => _pairing.Post;

    public ObjectComparison Run()
    {
        var comparer = new NodeComparer(_pairing);
        CompareFunctions(comparer);
        CompareFragments(comparer);
        AddBranchesIntoReplaced();
        CompareData(comparer);
        CompareRest(comparer);
        CompareExports();
        var removed = FindRemoved();
        return new ObjectComparison(_refusals, () => Carry(removed));
    }

    private CarriedResult Carry(IReadOnlyList<string> removed)
    {
        try
        {
            var (content, refusals) = new ContentCollector(unit, _pairing, _replaced).Collect();
            return new(content is null ? null : new CarriedPieces(unit, _pairing, _replaced, content).Write(removed), refusals);
        }
        catch (ElfFormatException malformed)
        {
            return new(null, [ObjectDiffer.Malformed(unit, malformed)]);
        }
    }

    // What may be acknowledged is about its first argument.
    private void Report(DiagnosticDescriptor descriptor, params object?[] arguments) =>
        _refusals.Add(new(descriptor, unit, descriptor.CanBeAcknowledged ? (string?)arguments[0] : null, arguments));

    private void CompareFunctions(NodeComparer comparer)
    {
        foreach (var node in Post.Nodes)
        {
            if (
                node.Kind != NodeKind.Function
                || _pairing.PreOf(node) is not { } other
                || comparer.CompareFunction(other, node) is not { } change
            )
                continue;
            if (node.Role == SectionRole.Dropped)
                Report(DifferencingDiagnostics.InitChanged, other.Name, change.Offset, unit, change.Detail, InHook);
            else
                _replaced[node] = change;
        }
    }

    private const string InHook = "do its work in a ksplice_apply hook";

    private bool IsReplaced(ObjectNode preNode) => _pairing.PostOf(preNode.Root) is { } node && _replaced.ContainsKey(node);

    private void CompareData(NodeComparer comparer)
    {
        foreach (var old in Pre.Nodes.Where(node => node.Kind == NodeKind.Data))
        {
            if (_pairing.PostOf(old) is { } node)
                CompareVariable(comparer, old, node);
            else
                CheckRemoved(old);
        }
        foreach (var node in Post.Nodes)
        {
            if (
                node is { Role: SectionRole.Collected, Kind: NodeKind.Data }
                && !SectionCatalog.ListsMessages(node.Section.Name)
                && _pairing.PreOf(node) is null
            )
                Report(DifferencingDiagnostics.CollectedChanged, node.Name, node.Section.Name, unit, "new");
        }
        if (IndexedOf(Pre, _pairing.PostOf) || IndexedOf(Post, _pairing.PreOf))
            Report(DifferencingDiagnostics.MessageIndexStays, unit);

        static bool IndexedOf(ObjectGraph graph, Func<ObjectNode, ObjectNode?> other) =>
            graph.Nodes.Any(node => node.Kind == NodeKind.Data && node.Section.Name == SectionCatalog.MessageIndex && other(node) is null);
    }

    private void CompareVariable(NodeComparer comparer, ObjectNode old, ObjectNode node)
    {
        // Constants without a symbol go by what they hold wherever they are used.
        if (node.IsAnonymous && node.Role == SectionRole.Data && (!node.IsWritable || SectionCatalog.IsGenerated(node.Section)))
            return;
        bool moved = SectionCatalog.DataClass(old.Section.Name) != SectionCatalog.DataClass(node.Section.Name);
        if ((comparer.CompareContent(old, node) ?? LeadsIntoReplaced(node)) is not { } change)
        {
            if (!moved)
                return;
            change = new FunctionChange(FunctionDifference.Text, 0, old.Name, $"section {old.Section.Name} became {node.Section.Name}");
        }
        // A debug print whose line moved with the patch: replaced code brings a descriptor of its own, other code keeps the old one.
        if (SectionCatalog.ListsMessages(node.Section.Name))
            _pairing.Separate(node);
        else if (node.Role == SectionRole.Collected)
            Report(DifferencingDiagnostics.CollectedChanged, node.Name, node.Section.Name, unit, "changed: " + change.Detail);
        else if (!node.IsWritable && !old.IsWritable && !node.IsGlobal && OnlyReplacedUse(old))
            _pairing.Separate(node);
        else
            Report(DifferencingDiagnostics.ChangedData, old.Name, change.Offset, unit, change.Detail);
    }

    private bool OnlyReplacedUse(ObjectNode old) =>
        old.Referrers.All(reference =>
            reference.Holder.Section.Name == SectionCatalog.MessageIndex
            || (reference.Field is null && reference.Holder.IsCode && IsReplaced(reference.Holder))
        );

    private void CheckRemoved(ObjectNode old)
    {
        if (old.Role == SectionRole.Collected)
        {
            if (!SectionCatalog.ListsMessages(old.Section.Name))
                Report(DifferencingDiagnostics.CollectedChanged, old.Name, old.Section.Name, unit, "gone");
            return;
        }
        if (HoldsState(old, Pre.Elf) && !_pairing.Ambiguous.Values.Any(rivals => rivals.Contains(old)))
            Report(DifferencingDiagnostics.RemovedData, old.Name, unit);
    }

    /// <summary>
    /// False for what nobody misses: a flag of WARN_ONCE, a lock class, what UBSAN says once, the rate limit of a message. Where a message
    /// comes, its limit starts anew; where it goes, nobody asks the limit any more.
    /// </summary>
    internal static bool HoldsState(ObjectNode node, ElfObject elf) =>
        node.IsWritable && node.Size != 0 && !IsOnceFlag(node) && !SectionCatalog.IsGenerated(node.Section) && !IsRateLimit(node, elf);

    // printk_ratelimited and its like have the limit in a static local, _rs; the debug data says that it is one.
    private static bool IsRateLimit(ObjectNode node, ElfObject elf) =>
        node is { IsGlobal: false, Kind: NodeKind.Data }
        && SymbolNames.IsRateLimit(node.Name)
        && DebugNode
            .Read(elf, null)
            .Any(entry =>
                entry.Tag == DebugTag.Variable
                && entry.Place == (node.Section.Index, node.Start)
                && entry.Type is { Tag: DebugTag.Structure, Name: "ratelimit_state" }
            );

    private static bool IsOnceFlag(ObjectNode node) =>
        node.Section.Name is ".data.once" or ".data..once" or ".data.unlikely"
        || (SymbolNames.IsOfAPlace(node.Name) && !SymbolNames.IsRateLimit(node.Name));

    private void CompareRest(NodeComparer comparer)
    {
        foreach (var old in Pre.Nodes.Where(node => node.Kind is NodeKind.Dropped or NodeKind.Unknown))
        {
            string? what = _pairing.PostOf(old) is { } node ? comparer.CompareContent(old, node)?.Detail : "it is gone";
            if (what is not null)
                ReportRest(old, what);
        }
        foreach (var node in Post.Nodes.Where(node => node.Kind is NodeKind.Dropped or NodeKind.Unknown))
        {
            if (_pairing.PreOf(node) is null)
                ReportRest(node, "it is new");
        }
    }

    private void ReportRest(ObjectNode node, string what)
    {
        if (node.Kind == NodeKind.Dropped)
            Report(DifferencingDiagnostics.DroppedSectionChanged, node.Section.Name, unit, what);
        else
            Report(DifferencingDiagnostics.UnknownSection, node.Section.Name, unit, "changes: " + what);
    }

    // Modules were built against the exports that the kernel has; what an update adds they do not know, what it drops stays.
    private void CompareExports()
    {
        var (before, after) = (SectionCatalog.ExportsOf(Pre.Elf), SectionCatalog.ExportsOf(Post.Elf));
        foreach (string name in before.Except(after, StringComparer.Ordinal).Order(StringComparer.Ordinal))
            Report(DifferencingDiagnostics.ExportChanged, name, unit, "gone");
        foreach (string name in after.Except(before, StringComparer.Ordinal).Order(StringComparer.Ordinal))
            Report(DifferencingDiagnostics.ExportChanged, name, unit, "new");
    }

    private List<string> FindRemoved()
    {
        List<string> removed = [];
        // Init code has run: whom it calls does not matter.
        var used = Post
            .Nodes.Where(node => node.Role != SectionRole.Dropped)
            .SelectMany(node => node.References)
            .Where(reference => reference.External is not null)
            .GroupBy(reference => reference.External!, StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => group.First().Holder.Name, StringComparer.Ordinal);
        foreach (
            var old in Pre.Nodes.Where(node =>
                node
                    is { Kind: NodeKind.Function, Role: SectionRole.Code }
                        or { Kind: NodeKind.Fragment, Role: SectionRole.Code, IsGlobal: true }
            )
        )
        {
            if (_pairing.PostOf(old) is not null)
                continue;
            if (old.Symbols.FirstOrDefault(symbol => used.ContainsKey(symbol.Name)) is { } still)
            {
                Report(DifferencingDiagnostics.RemovedStillUsed, old.Name, unit, used[still.Name]);
                continue;
            }
            removed.Add(old.Name);
            Report(DifferencingDiagnostics.FunctionRemoved, old.Name, unit);
        }
        return removed;
    }
}
