// Pre-post differencing (paper, section 3.2): what of a unit's object code really changes, found by comparing the
// objects and not the source. Where the compiler inlined a changed function, the caller's object code differs too, and
// the caller is replaced like any other.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>Compares the pre and the post object of a unit.</summary>
public static class ObjectDiffer
{
    /// <summary>
    /// The difference of <paramref name="unit"/>, or null after errors. An empty difference is no error: a patched header
    /// rebuilds many units and changes few.
    /// </summary>
    public static ObjectDiff? Compare(string unit, ElfObject pre, ElfObject post, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(pre);
        ArgumentNullException.ThrowIfNull(post);
        ArgumentNullException.ThrowIfNull(diagnostics);
        try
        {
            foreach (var acknowledgement in Acknowledgement.ReadFrom(post, unit))
                diagnostics.Acknowledge(acknowledgement);
            return new Comparison(unit, new ObjectGraph(pre), new ObjectGraph(post), diagnostics).Run();
        }
        catch (ElfFormatException malformed)
        {
            diagnostics.Report(DifferencingDiagnostics.MalformedObject, new SourceLocation(unit), unit, malformed.Message);
            return null;
        }
    }
}

/// <summary>One comparison; lives for one call.</summary>
internal sealed partial class Comparison(string unit, ObjectGraph pre, ObjectGraph post, DiagnosticBag diagnostics)
{
    private readonly Correlation _correlation = new(pre, post);
    private readonly Dictionary<ObjectNode, FunctionChange> _replaced = [];
    private readonly SourceLocation _location = new(unit);
    private bool _failed;

    public ObjectDiff? Run()
    {
        var comparer = new NodeComparer(_correlation);
        CompareFunctions(comparer);
        CompareFragments(comparer);
        AddBranchesIntoReplaced();
        CompareData(comparer);
        CompareRest(comparer);
        CompareExports();
        var removed = FindRemoved();
        if (_failed)
            return null;
        return new CarriedContent(unit, _correlation, _replaced, removed, diagnostics).Collect();
    }

    // What may be acknowledged is about its first argument; then the running kernel's copy stays, and new code uses it.
    private void Report(DiagnosticDescriptor descriptor, params object?[] arguments)
    {
        var diagnostic = Diagnostic.Create(descriptor, _location, arguments);
        if (descriptor.CanBeAcknowledged)
            diagnostic = diagnostic with { Object = (string?)arguments[0] };
        _failed |= diagnostics.Add(diagnostic).Severity == DiagnosticSeverity.Error;
    }

    private void CompareFunctions(NodeComparer comparer)
    {
        foreach (var node in post.Nodes)
        {
            if (
                node.Kind != NodeKind.Function
                || _correlation.PreOf(node) is not { } other
                || comparer.CompareFunction(other, node) is not { } change
            )
                continue;
            if (node.Role == SectionRole.Dropped)
                Report(DifferencingDiagnostics.InitChanged, other.Name, change.Offset, unit, change.Detail);
            else
                _replaced[node] = change;
        }
    }

    private bool IsReplaced(ObjectNode preNode) => _correlation.PostOf(preNode.Root) is { } node && _replaced.ContainsKey(node);

    private void CompareData(NodeComparer comparer)
    {
        foreach (var old in pre.Nodes.Where(node => node.Kind == NodeKind.Data))
        {
            if (_correlation.PostOf(old) is { } node)
                CompareVariable(comparer, old, node);
            else
                CheckRemoved(old);
        }
        foreach (var node in post.Nodes)
        {
            if (
                node is { Role: SectionRole.Collected, Kind: NodeKind.Data }
                && node.Section.Name != "__dyndbg"
                && _correlation.PreOf(node) is null
            )
                Report(DifferencingDiagnostics.CollectedChanged, node.Name, node.Section.Name, unit, "new");
        }
    }

    private void CompareVariable(NodeComparer comparer, ObjectNode old, ObjectNode node)
    {
        // Constants without a symbol go by what they hold wherever they are used.
        if (node.IsAnonymous && !node.IsWritable && node.Role == SectionRole.Data)
            return;
        bool moved = SectionCatalog.DataClass(old.Section.Name) != SectionCatalog.DataClass(node.Section.Name);
        if ((comparer.CompareContent(old, node) ?? LeadsIntoReplaced(node)) is not { } change)
        {
            if (!moved)
                return;
            change = new FunctionChange(FunctionDifference.Text, 0, old.Name, $"section {old.Section.Name} became {node.Section.Name}");
        }
        // A debug print whose line moved with the patch: replaced code brings a descriptor of its own, other code keeps the old one.
        if (node.Section.Name == "__dyndbg")
            _correlation.Separate(node);
        else if (node.Role == SectionRole.Collected)
            Report(DifferencingDiagnostics.CollectedChanged, node.Name, node.Section.Name, unit, "changed: " + change.Detail);
        else if (!node.IsWritable && !old.IsWritable && !node.IsGlobal && OnlyReplacedUse(old))
            _correlation.Separate(node);
        else
            Report(DifferencingDiagnostics.ChangedData, old.Name, change.Offset, unit, change.Detail);
    }

    private bool OnlyReplacedUse(ObjectNode old) =>
        old.Referrers.TrueForAll(reference => reference.Field is null && reference.Holder.IsCode && IsReplaced(reference.Holder));

    private void CheckRemoved(ObjectNode old)
    {
        if (old.Role == SectionRole.Collected)
        {
            if (old.Section.Name != "__dyndbg")
                Report(DifferencingDiagnostics.CollectedChanged, old.Name, old.Section.Name, unit, "gone");
            return;
        }
        // A flag of WARN_ONCE and a lock class without content are nobody's state.
        bool state = old.IsWritable && old.Size != 0 && !IsOnceFlag(old);
        if (state && !_correlation.Ambiguous.Values.Any(rivals => rivals.Contains(old)))
            Report(DifferencingDiagnostics.RemovedData, old.Name, unit);
    }

    internal static bool IsOnceFlag(ObjectNode node) => node.Section.Name is ".data.once" or ".data..once";

    private void CompareRest(NodeComparer comparer)
    {
        foreach (var old in pre.Nodes.Where(node => node.Kind is NodeKind.Dropped or NodeKind.Unknown))
        {
            string? what = _correlation.PostOf(old) is { } node ? comparer.CompareContent(old, node)?.Detail : "it is gone";
            if (what is not null)
                ReportRest(old, what);
        }
        foreach (var node in post.Nodes.Where(node => node.Kind is NodeKind.Dropped or NodeKind.Unknown))
        {
            if (_correlation.PreOf(node) is null)
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
        var (before, after) = (Exports(pre.Elf), Exports(post.Elf));
        foreach (string name in before.Except(after).Order(StringComparer.Ordinal))
            Report(DifferencingDiagnostics.ExportChanged, name, unit, "gone");
        foreach (string name in after.Except(before).Order(StringComparer.Ordinal))
            Report(DifferencingDiagnostics.ExportChanged, name, unit, "new");
    }

    private static HashSet<string> Exports(ElfObject elf) =>
        [
            .. elf
                .Sections.Where(section => SectionCatalog.IsExports(section.Name))
                .SelectMany(section => section.Relocations)
                .Select(relocation => elf.Symbols[relocation.SymbolIndex])
                .Where(symbol => symbol.IsUndefined || symbol.IsReserved || elf.Sections[symbol.SectionIndex].Name != "__ksymtab_strings")
                .Select(symbol => symbol.Name),
        ];

    private List<string> FindRemoved()
    {
        List<string> removed = [];
        var used = post
            .Nodes.SelectMany(node => node.References)
            .Where(reference => reference.External is not null)
            .GroupBy(reference => reference.External!)
            .ToDictionary(group => group.Key, group => group.First().Holder.Name);
        foreach (
            var old in pre.Nodes.Where(node =>
                node
                    is { Kind: NodeKind.Function, Role: SectionRole.Code }
                        or { Kind: NodeKind.Fragment, Role: SectionRole.Code, IsGlobal: true }
            )
        )
        {
            if (_correlation.PostOf(old) is not null)
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
