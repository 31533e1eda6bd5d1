// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>
/// Says what differencing refuses in the words of the source: where it is declared, what kind of data it is,
/// and which members have other values.
/// </summary>
/// <param name="unit">The unit that is compared.</param>
public sealed class RefusalDetails(AnalyzedUnit unit)
{
    private const int MembersToName = 4;

    /// <summary>The refusal as a report, with what is known of its object.</summary>
    public Diagnostic Word(Refusal refusal)
    {
        ArgumentNullException.ThrowIfNull(refusal);
        var diagnostic = refusal.ToDiagnostic();
        if (refusal.Object is not { } name)
            return diagnostic;
        if (unit.Changes.Functions.FirstOrDefault(function => function.Name == name) is { } function)
            return diagnostic with { Location = unit.Locate(function) };
        if (unit.Changes.Data.FirstOrDefault(variable => variable.Name == name) is not { } variable)
            return diagnostic;
        var location = unit.Locate(variable);
        if (refusal.Rule != DifferencingDiagnostics.ChangedData)
            return diagnostic with { Location = location };
        var members = DataDifference.Find(unit, variable);
        var rule = DataKind.RuleOf(unit, variable, members);
        if (members.Count == 0 && rule == DifferencingDiagnostics.ChangedData)
            return diagnostic with { Location = location };
        string detail =
            members.Count == 0
                ? variable.Why?.Detail ?? Sizes(variable)
                : string.Join(", ", members.Take(MembersToName))
                    + (
                        members.Count > MembersToName
                            ? string.Create(CultureInfo.InvariantCulture, $" and {members.Count - MembersToName} more")
                            : ""
                    );
        return Diagnostic.Create(rule, location, name, variable.Why?.Offset ?? 0, unit.Source, detail) with { Object = name };
    }

    private static string Sizes(ChangedVariable variable) => $"section {variable.Pre?.Section} became {variable.Post?.Section}";
}
