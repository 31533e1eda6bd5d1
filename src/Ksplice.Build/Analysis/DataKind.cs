// SPDX-License-Identifier: MIT
// What kind of data a changed variable is decides what a person can do about it. All kinds are refused alike (KSP3001); this
// finds the rule with the right advice, the most telling first.
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Analysis;

/// <summary>Finds the rule for a changed variable.</summary>
internal static partial class DataKind
{
    [GeneratedRegex(@"\.\d+$")]
    private static partial Regex Numbered();

    /// <summary>
    /// The rule that <paramref name="change"/> falls under: <see cref="DifferencingDiagnostics.ChangedData"/> if it is nothing special.
    /// </summary>
    public static DiagnosticDescriptor RuleOf(AnalyzedUnit unit, ChangedVariable change, IReadOnlyList<MemberDifference> members)
    {
        if (change.Pre is not { } pre)
            return DifferencingDiagnostics.ChangedData;
        int? type = unit.PreTypes is { } types ? DataDifference.TypeOf(types, pre.Name) : null;
        return GrowsWithEnum(unit, change, type) ? DataDiagnostics.EnumTableGrew
            : type is { } id && ElementName(unit.PreTypes!, id) == "ctl_table" ? DataDiagnostics.SysctlChanged
            : IsParameter(unit.Pre, pre) ? DataDiagnostics.ParameterChanged
            : members.Any(member => member.IsFunctionPointer) ? DataDiagnostics.OperationsChanged
            : pre.Section.StartsWith(".data..percpu", StringComparison.Ordinal) ? DataDiagnostics.PerCpuChanged
            : pre.Section == ".data..ro_after_init" ? DataDiagnostics.ReadOnlyAfterInitChanged
            : !pre.IsWritable ? DataDiagnostics.ReadOnlyChanged
            : Numbered().IsMatch(pre.Name) ? DataDiagnostics.StaticLocalChanged
            : DifferencingDiagnostics.ChangedData;
    }

    // The struct that an array or variable is of.
    private static string ElementName(BtfTypes types, int type)
    {
        int id = types.Resolve(type);
        while (types.KindOf(id) == BtfKind.Array)
            id = types.Resolve(types.Referenced(id));
        return types.NameOf(id);
    }

    // struct kernel_param leads to the variable, by itself or through a kparam_string or kparam_array.
    private static bool IsParameter(ElfObject elf, ObjectVariable variable) =>
        elf
            .Sections.Where(section => section.Name == "__param" || section.Name.StartsWith(".rodata.__param_", StringComparison.Ordinal))
            .SelectMany(section => section.Relocations)
            .Any(relocation => IsPlace(elf.Symbols[relocation.SymbolIndex], relocation.Addend, variable));

    private static bool IsPlace(ElfSymbol symbol, long addend, ObjectVariable variable) =>
        symbol.IsInSection && symbol.SectionIndex == variable.Range.Section && symbol.Value + (ulong)addend == variable.Range.Offset;

    // As many elements as the enum has constants, before and after.
    private static bool GrowsWithEnum(AnalyzedUnit unit, ChangedVariable change, int? type)
    {
        if (
            type is not { } before
            || change is not { Pre: { } pre, Post: { } post }
            || pre.Range.Size >= post.Range.Size
            || unit.PostTypes is not { } types
            || DataDifference.TypeOf(types, post.Name) is not { } after
        )
            return false;
        var (old, now) = (unit.PreTypes!.Resolve(before), types.Resolve(after));
        if (unit.PreTypes.KindOf(old) != BtfKind.Array || types.KindOf(now) != BtfKind.Array)
            return false;
        var grown = Counts(unit.PreTypes)
            .Join(Counts(types), pair => pair.Key, pair => pair.Key, (a, b) => (a.Value, b.Value), StringComparer.Ordinal)
            .Where(pair => pair.Item1 < pair.Item2);
        return grown.Any(pair => Near(unit.PreTypes.ElementCount(old), pair.Item1) && Near(types.ElementCount(now), pair.Item2));
    }

    // With or without a last constant that only counts the others.
    private static bool Near(uint elements, long constants) => elements == constants || elements + 1 == constants;

    // By the first constant's name: an enum may have none of its own.
    private static Dictionary<string, long> Counts(BtfTypes types) =>
        Enumerable
            .Range(1, types.Count - 1)
            .Where(id => types.KindOf(id) is BtfKind.Enum or BtfKind.Enum64)
            .Select(types.Enumerators)
            .Where(constants => constants.Count > 1)
            .GroupBy(constants => constants[0].Name, StringComparer.Ordinal)
            .ToDictionary(
                group => group.Key,
                group => group.Max(constants => constants.Max(constant => constant.Value)) + 1,
                StringComparer.Ordinal
            );
}
