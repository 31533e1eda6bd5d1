// SPDX-License-Identifier: MIT
// The rules about types, KSP5001 to KSP5010. What a type was and is stands in the BTF of the objects; this adds what a person
// needs to judge it: where it is declared, who uses a changed member and stays as he is, whether objects of the type can be
// alive at all when the update is applied, and who calls a function whose prototype changes.
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Analysis;

/// <summary>Judges changes of types.</summary>
public sealed class TypeAnalyzer : UpdateAnalyzer
{
    private const int NamesToShow = 4;

    /// <inheritdoc/>
    public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics { get; } =
    [
        TypeDiagnostics.SizeChanged,
        TypeDiagnostics.MemberChanged,
        TypeDiagnostics.EnumChanged,
        TypeDiagnostics.PrototypeChanged,
        TypeDiagnostics.VariableChanged,
        TypeDiagnostics.TypedefChanged,
        TypeDiagnostics.NoTypes,
        TypeDiagnostics.OtherKernel,
        TypeDiagnostics.OnStacksOnly,
        TypeDiagnostics.CallersReplaced,
    ];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        context.RegisterUnitAction(CheckHasTypes);
        context.RegisterUnitAction(CheckAgainstImage);
        context.RegisterTypeChangeAction(CheckChange);
    }

    private static void CheckHasTypes(ActionContext<AnalyzedUnit> context)
    {
        var unit = context.Subject;
        if (unit.IsAssembly)
            return;
        if (unit.PreTypes is null)
            context.Report(TypeDiagnostics.NoTypes, new SourceLocation(unit.Source), "pre");
        if (unit.PostTypes is null)
            context.Report(TypeDiagnostics.NoTypes, new SourceLocation(unit.Source), "post");
    }

    private static void CheckAgainstImage(ActionContext<AnalyzedUnit> context)
    {
        if (
            context.Update.Kernel is not { Types: { } image } kernel
            || context.Subject.PreTypes is not { } types
            || context.Subject.Module is not null
        )
            return;
        foreach (var (name, difference) in ImageTypes.Differences(types, image))
        {
            context.Report(
                Diagnostic.Create(
                    TypeDiagnostics.OtherKernel,
                    context.Subject.PreSource.Declaration(name, null) ?? new SourceLocation(context.Subject.Source),
                    name,
                    kernel.Image.Release,
                    difference
                )
            );
        }
    }

    private static void CheckChange(ActionContext<TypeChange> context)
    {
        var (change, unit, update) = (context.Subject, context.Unit!, context.Update);
        var location = unit.Locate(change.Name, change.Member);
        var units = update.Units.Where(candidate => candidate.TypeChanges.Contains(change)).ToList();
        if (change.Rule == TypeDiagnostics.PrototypeChanged)
        {
            CheckCallers(context, location, units);
            return;
        }
        string elsewhere = "";
        if ((change.Rule == TypeDiagnostics.SizeChanged || change.Rule == TypeDiagnostics.MemberChanged) && units.Count == 1)
        {
            StackTypes stacks = new(unit, change.Name);
            if (stacks.Owners() is { } owners)
            {
                context.Report(
                    Diagnostic.Create(
                        TypeDiagnostics.OnStacksOnly,
                        location,
                        change.Name + (change.Member is null ? "" : $" (member '{change.Member}')"),
                        Names(owners)
                    )
                );
                return;
            }
            elsewhere = stacks.Reason is { } reason ? $" (not on stacks only: {reason})" : "";
        }
        IReadOnlyList<MemberUse> uses =
            change.Member is { } member && change.Rule == TypeDiagnostics.MemberChanged && update.Members is { } members
                ? members.Outside(update, units, member)
                : [];
        string who =
            elsewhere
            + (
                uses.Count == 0
                    ? ""
                    : "; functions that are not replaced use a member of that name: "
                        + Names([.. uses.Select(use => use.Function).Distinct(StringComparer.Ordinal)])
            );
        context.Report(
            change.ToDiagnostic(location, who) with
            {
                Related = [.. uses.Select(use => new RelatedLocation(use.Location, $"{use.Function} uses '{change.Member}'"))],
            }
        );
    }

    // Every unit of the update is compiled anew; who calls from elsewhere stands in the image.
    private static void CheckCallers(ActionContext<TypeChange> context, SourceLocation location, List<AnalyzedUnit> units)
    {
        var (change, update) = (context.Subject, context.Update);
        bool exported = units.Exists(unit =>
            unit.Pre.Sections.Any(section =>
                Differencing.SectionCatalog.IsExports(section.Name)
                && section.Relocations.Any(relocation => unit.Pre.Symbols[relocation.SymbolIndex].Name == change.Name)
            )
        );
        string more = exported
            ? "it is exported, and modules were compiled with the old one"
            : "callers elsewhere were compiled with the old one";
        IReadOnlyList<ImageReference> outside = [];
        if (update.Kernel is { } kernel && kernel.Image.Symbols.FindUnique(change.Name) is { } address)
        {
            var compiled = update
                .Units.SelectMany(unit => unit.Changes.PreFunctions.Select(function => function.Name))
                .ToHashSet(StringComparer.Ordinal);
            outside =
            [
                .. kernel
                    .References.To(address)
                    .Where(reference => !compiled.Contains(reference.Holder) && !IsBookkeeping(reference.Holder)),
            ];
            if (outside.Count == 0 && !exported)
            {
                context.Report(Diagnostic.Create(TypeDiagnostics.CallersReplaced, location, change.Name, change.Before, change.After));
                return;
            }
            var (callers, holders) = (Who(outside, branch: true), Who(outside, branch: false));
            if (callers.Count != 0)
                more += $"; called by {Names(callers)}";
            if (holders.Count != 0)
                more += $"; its address is held by {Names(holders)}";
        }
        context.Report(change.ToDiagnostic(location, more));
    }

    private static List<string> Who(IReadOnlyList<ImageReference> references, bool branch) =>
        [
            .. references
                .Where(reference => reference.IsBranch == branch)
                .Select(reference => reference.Holder)
                .Distinct(StringComparer.Ordinal)
                .Order(StringComparer.Ordinal),
        ];

    // Tables of the loader, of ftrace and of exports hold every function's address.
    private static bool IsBookkeeping(string holder) =>
        holder.StartsWith("__start_", StringComparison.Ordinal)
        || holder.StartsWith("__stop_", StringComparison.Ordinal)
        || holder.StartsWith("__ksymtab", StringComparison.Ordinal)
        || holder.StartsWith("__kstrtab", StringComparison.Ordinal);

    private static string Names(IReadOnlyList<string> names) =>
        string.Join(", ", names.Take(NamesToShow)) + (names.Count > NamesToShow ? $" and {names.Count - NamesToShow} more" : "");
}
