// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>Differencing by itself, before analysis words what it refuses.</summary>
internal static class Differ
{
    /// <summary>The difference; null after errors that nobody has acknowledged, the post object among who can.</summary>
    public static ObjectDiff? Compare(string unit, ElfObject pre, ElfObject post, DiagnosticBag diagnostics)
    {
        var comparison = ObjectDiffer.Compare(unit, new ObjectPair(pre, post));
        foreach (var acknowledgement in Acknowledgement.ReadFrom(post, unit))
            diagnostics.Acknowledge(acknowledgement);
        return Add(comparison.Refusals) && Add(comparison.Carried.Refusals) ? comparison.Carried.Diff : null;

        bool Add(IReadOnlyList<Refusal> refusals) =>
            refusals.Count(refusal => diagnostics.Add(refusal.ToDiagnostic()).Severity == DiagnosticSeverity.Error) == 0;
    }
}
