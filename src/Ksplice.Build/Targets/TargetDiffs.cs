// SPDX-License-Identifier: MIT
// From the differences of units to what changes in each target. Each target gets modules of its own. These know what the kernel exports,
// what their own helper finds, and what the primaries of other targets bring for them (TargetLinks.cs).
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Targets;

/// <summary>The difference of one unit, and whose code it is.</summary>
/// <param name="Target">The name of the target that it is part of.</param>
/// <param name="Diff">What differs.</param>
public sealed record UnitDiff(string Target, ObjectDiff Diff);

/// <summary>What an update changes in one target.</summary>
/// <param name="Target">The target.</param>
/// <param name="Diffs">The differences of its units, those without any among them.</param>
public sealed record TargetDiffs(UpdateTarget Target, IReadOnlyList<ObjectDiff> Diffs)
{
    /// <summary>What of its own its primary exports to those of other targets, by name.</summary>
    public IReadOnlyList<SharedSymbol> Lent { get; private init; } = [];

    /// <summary>What it uses of other targets' new code, by name.</summary>
    public IReadOnlyList<SharedSymbol> Borrowed { get; private init; } = [];

    /// <summary>The targets whose primaries have to be loaded before its own.</summary>
    public IReadOnlyList<string> Uses =>
        [.. Borrowed.Select(symbol => symbol.Lender).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];

    /// <summary>The same, as one that may be late if it can; <paramref name="kernel"/> is what vmlinux exports.</summary>
    public TargetDiffs LateIfPossible(ExportedSymbols kernel)
    {
        ArgumentNullException.ThrowIfNull(kernel);
        string? obstacle = Target.IsKernel
            ? null
            : LateTarget.Obstacle(Diffs, kernel.With(Borrowed)) ?? Lent.Select(LateTarget.ObstacleOf).FirstOrDefault();
        return this with { Target = Target with { IsLate = !Target.IsKernel && obstacle is null }, LateObstacle = obstacle };
    }

    /// <summary>Why it is a module and not late.</summary>
    public string? LateObstacle { get; private init; }

    /// <summary>
    /// The targets of update <paramref name="id"/>: the kernel if it changes, then the modules that change, by name, but none before one
    /// whose new code it uses. Null after an error, also if nothing changes.
    /// </summary>
    /// <param name="id">The update.</param>
    /// <param name="units">The differences of its units.</param>
    /// <param name="diagnostics">Takes the errors.</param>
    /// <param name="patch">The place of what is wrong with the patches as a whole.</param>
    public static IReadOnlyList<TargetDiffs>? Split(
        string id,
        IReadOnlyList<UnitDiff> units,
        DiagnosticBag diagnostics,
        SourceLocation? patch = null
    )
    {
        ArgumentNullException.ThrowIfNull(units);
        ArgumentNullException.ThrowIfNull(diagnostics);
        var changed = units
            .GroupBy(unit => unit.Target, unit => unit.Diff, StringComparer.Ordinal)
            .Where(group => group.Any(diff => !diff.IsEmpty))
            .OrderBy(group => group.Key, StringComparer.Ordinal)
            .ToList();
        if (changed.Count == 0)
        {
            diagnostics.Report(TargetDiagnostics.NothingToUpdate, patch, units.Count);
            return null;
        }
        bool named = true;
        foreach (var target in changed.Where(target => target.Key.Length == 0 || target.Key.Contains(':', StringComparison.Ordinal)))
        {
            string modules =
                target.Key.Length == 0
                    ? "a module that kbuild does not name"
                    : $"several modules ({target.Key.Replace(":", ", ", StringComparison.Ordinal)}), "
                        + "of which each machine may have others loaded";
            foreach (var diff in target.Where(diff => !diff.IsEmpty))
                diagnostics.Report(TargetDiagnostics.NotOneModule, new SourceLocation(diff.Unit), diff.Unit, modules);
            named = false;
        }
        int before = diagnostics.Count();
        CheckMoves(changed, diagnostics);
        var links = TargetLinks.Find(changed, diagnostics);
        var order = TargetLinks.Order([.. changed.Select(target => target.Key)], links, diagnostics);
        return order is null || !named || diagnostics.Count() != before ? null : Join(id, changed, links, order);
    }

    private static List<TargetDiffs> Join(
        string id,
        IReadOnlyList<IGrouping<string, ObjectDiff>> changed,
        IReadOnlyList<TargetLink> links,
        IReadOnlyList<string> order
    )
    {
        var diffs = changed.ToDictionary(target => target.Key, target => (IReadOnlyList<ObjectDiff>)[.. target], StringComparer.Ordinal);
        var targets = order.Select((name, i) => new TargetDiffs(new UpdateTarget(id, name, i, order.Count), diffs[name])).ToList();
        Dictionary<(string Lender, string Name), SharedSymbol> shared = [];
        foreach (var lender in targets)
        {
            var lent = links
                .Where(link => link.Lender == lender.Target.Name)
                .DistinctBy(link => link.Name, StringComparer.Ordinal)
                .OrderBy(link => link.Name, StringComparer.Ordinal);
            foreach (var (i, link) in lent.Index())
                shared.Add(
                    (link.Lender, link.Name),
                    new(link.Name, link.Lender, link.Diff, link.Piece, link.Unit, lender.Target.LentName(i))
                );
        }
        return
        [
            .. targets.Select(target =>
                target with
                {
                    Lent = [.. shared.Values.Where(symbol => symbol.Lender == target.Target.Name)],
                    Borrowed =
                    [
                        .. links
                            .Where(link => link.User == target.Target.Name)
                            .OrderBy(link => link.Name, StringComparer.Ordinal)
                            .Select(link => shared[(link.Lender, link.Name)]),
                    ],
                }
            ),
        ];
    }

    private static void CheckMoves(IReadOnlyList<IGrouping<string, ObjectDiff>> targets, DiagnosticBag diagnostics)
    {
        foreach (var target in targets)
        {
            var brought = targets
                .Where(other => other != target)
                .SelectMany(other => other)
                .SelectMany(diff => ObjectDiff.BroughtBy(diff).Select(name => (name, diff.Unit)))
                .DistinctBy(pair => pair.name, StringComparer.Ordinal)
                .ToDictionary(pair => pair.name, pair => pair.Unit, StringComparer.Ordinal);
            foreach (var diff in target)
            {
                foreach (string gone in diff.RemovedFunctions.Where(brought.ContainsKey))
                    diagnostics.Report(TargetDiagnostics.FunctionMoved, new SourceLocation(diff.Unit), gone, diff.Unit, brought[gone]);
            }
        }
    }
}
