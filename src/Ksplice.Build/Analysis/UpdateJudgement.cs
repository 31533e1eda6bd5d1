// SPDX-License-Identifier: MIT
// The order in which an update is judged. What the patches acknowledge comes first, so that it counts for everything behind it.
// Differencing speaks next: what it refuses is told in the source's words. Then the analyzers; what nobody met of the
// acknowledgements is left over.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Analysis;

/// <summary>Judges an update as a whole.</summary>
public static class UpdateJudgement
{
    /// <summary>
    /// Reports to <paramref name="diagnostics"/> all that speaks against <paramref name="update"/>; <paramref name="rules"/> are
    /// those that may be acknowledged or not, null if acknowledgements are not to be checked.
    /// </summary>
    public static void Judge(
        AnalyzedUpdate update,
        IReadOnlyList<UpdateAnalyzer> analyzers,
        IReadOnlyList<DiagnosticDescriptor>? rules,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(update);
        ArgumentNullException.ThrowIfNull(diagnostics);
        foreach (var unit in update.Units)
        {
            foreach (var acknowledgement in Acknowledgement.ReadFrom(unit.Post, unit.Source))
            {
                if (rules is not null)
                    Check(acknowledgement, rules, new(unit.Source), diagnostics);
                diagnostics.Acknowledge(acknowledgement);
            }
        }
        foreach (var unit in update.Units)
        {
            cancellation.ThrowIfCancellationRequested();
            Compare(unit, diagnostics, update.Patches);
        }
        foreach (var diagnostic in AnalyzerDriver.Run(analyzers, update, cancellation))
            diagnostics.Add(diagnostic);
        foreach (var unused in diagnostics.UnusedAcknowledgements)
            diagnostics.Report(AnalysisDiagnostics.AcknowledgementUnused, new(unused.Source), unused.Id, unused.Object);
    }

    /// <summary>The difference of <paramref name="unit"/>, or null after errors, which are told in the source's words. Whoever needs a
    /// difference asks here: a rule has the same name for all of them, so what is acknowledged for one is for the others.</summary>
    /// <param name="unit">The unit.</param>
    /// <param name="diagnostics">Takes the errors.</param>
    /// <param name="patches">The patches of the update, where they are at hand.</param>
    public static ObjectDiff? Compare(AnalyzedUnit unit, DiagnosticBag diagnostics, IReadOnlyList<SourcePatch>? patches = null)
    {
        ArgumentNullException.ThrowIfNull(unit);
        ArgumentNullException.ThrowIfNull(diagnostics);
        RefusalDetails details = new(unit, patches ?? []);
        foreach (var acknowledgement in Acknowledgement.ReadFrom(unit.Post, unit.Source))
            diagnostics.Acknowledge(acknowledgement);
        if (!Add(unit.Comparison.Refusals))
            return null;
        return Add(unit.Comparison.Carried.Refusals) ? unit.Comparison.Carried.Diff : null;

        bool Add(IReadOnlyList<Refusal> refusals)
        {
            bool good = true;
            foreach (var refusal in refusals)
                good &= diagnostics.Add(details.Word(refusal)).Severity != DiagnosticSeverity.Error;
            return good;
        }
    }

    /// <summary>Reports what is missing in an acknowledgement, or that nobody can take over what it names.</summary>
    public static void Check(
        Acknowledgement acknowledgement,
        IReadOnlyList<DiagnosticDescriptor> rules,
        SourceLocation location,
        DiagnosticBag diagnostics
    )
    {
        ArgumentNullException.ThrowIfNull(acknowledgement);
        ArgumentNullException.ThrowIfNull(diagnostics);
        var rule = rules.FirstOrDefault(rule => rule.Id == acknowledgement.Id);
        string? problem =
            acknowledgement.Object.Length == 0 ? "names no object: set Object to what the error names"
            : acknowledgement.Reason.Length == 0 ? "gives no reason: set Reason to why the change is safe"
            : rule is null && acknowledgement.Id.StartsWith("KSP", StringComparison.Ordinal) ? "names no rule"
            : rule is { CanBeAcknowledged: false } ? $"is about '{rule.Title}', which nobody can take over: such an update cannot be made"
            : null;
        if (problem is not null)
            diagnostics.Report(AnalysisDiagnostics.AcknowledgementBad, location, acknowledgement.Id, problem);
    }
}
