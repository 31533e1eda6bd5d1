// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Analysis;

/// <summary>
/// Says what differencing refuses in the words of the source: where it is declared, what kind of data it is,
/// and which members have other values.
/// </summary>
/// <param name="unit">The unit that is compared.</param>
/// <param name="patches">The patches of the update; none if they are not at hand.</param>
public sealed class RefusalDetails(AnalyzedUnit unit, IReadOnlyList<SourcePatch> patches)
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
            return (refusal.Rule == DifferencingDiagnostics.InitChanged && !MayBeInPatch(function) ? Untouched(refusal) : diagnostic) with
            {
                Location = unit.Locate(function),
            };
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

    private static Diagnostic Untouched(Refusal refusal) =>
        Diagnostic.Create(
            refusal.Rule,
            null,
            [
                .. refusal.Arguments.Take(4),
                "the patch has no line of it, so what changes is a function that the compiler inlines into it, or a type or macro that it "
                    + "uses. If nothing that it did has to be done again, acknowledge that: "
                    + $"<KspliceAcknowledge Include=\"{refusal.Rule.Id}\" Object=\"{refusal.Object}\" Reason=\"...\" />",
            ]
        ) with
        {
            Object = refusal.Object,
        };

    // Added lines have a mark, which those of updates below have before, too. Removed ones are those of the hunks, if no other patch has
    // moved them.
    private bool MayBeInPatch(ChangedFunction function)
    {
        if (patches.Count == 0 || function is not { Pre: { } pre, Post: { } post })
            return true;
        List<SourceLocation> before = [.. unit.PreSource.OwnLines(pre)],
            after = [.. unit.PostSource.OwnLines(post)];
        if (before.Count == 0 || after.Except(before).Any(line => LineDirectives.PathOf(line.Path) != line.Path))
            return true;
        foreach (
            var lines in before.GroupBy(
                line => Path.GetFullPath(LineDirectives.PathOf(line.Path), "/")[1..],
                line => line.Line,
                StringComparer.Ordinal
            )
        )
        {
            List<FilePatch> files = [.. patches.SelectMany(patch => patch.Files).Where(file => file.Path == lines.Key)];
            if (files.Count > 1 || files.SelectMany(Removed).Intersect(lines).Any())
                return true;
        }
        return false;
    }

    private static IEnumerable<int> Removed(FilePatch file)
    {
        foreach (var hunk in file.Hunks)
        {
            int line = hunk.OldStart;
            foreach (var each in hunk.Lines.Where(each => each.Kind != HunkLineKind.Added))
            {
                if (each.Kind == HunkLineKind.Removed)
                    yield return line;
                line++;
            }
        }
    }

    private static string Sizes(ChangedVariable variable) => $"section {variable.Pre?.Section} became {variable.Post?.Section}";
}
