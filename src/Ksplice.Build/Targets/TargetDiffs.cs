// SPDX-License-Identifier: MIT
// From the differences of units to what changes in each target. Each target gets modules of its own, and these know only
// what the kernel exports and what their own helper finds: a thing that one target's primary brings does not exist for
// another's, so new code that would need it is refused.
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
    /// <summary>The same, as one that may be late if it can; <paramref name="kernel"/> is what vmlinux exports.</summary>
    public TargetDiffs LateIfPossible(ExportedSymbols kernel)
    {
        string? obstacle = Target.IsKernel ? null : LateTarget.Obstacle(Diffs, kernel);
        return this with { Target = Target with { IsLate = !Target.IsKernel && obstacle is null }, LateObstacle = obstacle };
    }

    /// <summary>Why it is a module and not late.</summary>
    public string? LateObstacle { get; private init; }

    /// <summary>
    /// The targets of update <paramref name="id"/>: the kernel if it changes, then the modules that change, by name. Null after an
    /// error, also if nothing changes.
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
            .OrderByDescending(group => group.Key == UpdateTarget.KernelName)
            .ThenBy(group => group.Key, StringComparer.Ordinal)
            .ToList();
        if (changed.Count == 0)
        {
            diagnostics.Report(TargetDiagnostics.NothingToUpdate, patch, units.Count);
            return null;
        }
        TargetDiffs[] targets =
        [
            .. changed.Select((group, i) => new TargetDiffs(new UpdateTarget(id, group.Key, i, changed.Count), [.. group])),
        ];
        bool named = true;
        foreach (
            var target in targets.Where(target =>
                target.Target.Name.Length == 0 || target.Target.Name.Contains(':', StringComparison.Ordinal)
            )
        )
        {
            string modules =
                target.Target.Name.Length == 0
                    ? "a module that kbuild does not name"
                    : $"several modules ({target.Target.Name.Replace(":", ", ", StringComparison.Ordinal)}), "
                        + "of which each machine may have others loaded";
            foreach (var diff in target.Diffs.Where(diff => !diff.IsEmpty))
                diagnostics.Report(TargetDiagnostics.NotOneModule, new SourceLocation(diff.Unit), diff.Unit, modules);
            named = false;
        }
        return CheckLinks(targets, diagnostics) && named ? targets : null;
    }

    private static bool CheckLinks(IReadOnlyList<TargetDiffs> targets, DiagnosticBag diagnostics)
    {
        bool good = true;
        foreach (var target in targets)
        {
            foreach (var other in targets.Where(other => other != target))
            {
                var brought = other
                    .Diffs.SelectMany(diff => ObjectDiff.BroughtBy(diff).Select(name => (name, diff.Unit)))
                    .DistinctBy(pair => pair.name, StringComparer.Ordinal)
                    .ToDictionary(pair => pair.name, pair => pair.Unit, StringComparer.Ordinal);
                foreach (var diff in target.Diffs)
                {
                    foreach (var symbol in diff.Needed.OfType<GlobalSymbol>().Where(symbol => brought.ContainsKey(symbol.Name)))
                    {
                        diagnostics.Report(
                            TargetDiagnostics.BroughtElsewhere,
                            new SourceLocation(diff.Unit),
                            diff.Unit,
                            symbol.Name,
                            brought[symbol.Name],
                            other.Target.Name,
                            target.Target.Name
                        );
                        good = false;
                    }
                    foreach (string gone in diff.RemovedFunctions.Where(brought.ContainsKey))
                    {
                        diagnostics.Report(TargetDiagnostics.FunctionMoved, new SourceLocation(diff.Unit), gone, diff.Unit, brought[gone]);
                        good = false;
                    }
                }
            }
        }
        return good;
    }
}
