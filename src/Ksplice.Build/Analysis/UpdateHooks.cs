// SPDX-License-Identifier: MIT
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>A hook of an update (include/ksplice/hooks.h).</summary>
/// <param name="Unit">The unit that has it.</param>
/// <param name="Kind">Its kind, <c>check_apply</c>.</param>
/// <param name="Name">The function's name.</param>
/// <param name="Function">The function; null if the unit does not have it.</param>
internal sealed record UpdateHook(AnalyzedUnit Unit, string Kind, string Name, ObjectFunction? Function)
{
    private const string SectionPrefix = ".ksplice.hooks.";

    /// <summary>True if it runs while the machine is stopped.</summary>
    public bool RunsInStop => Kind is "check_apply" or "apply" or "check_reverse" or "reverse";

    /// <summary>The hooks of <paramref name="update"/>.</summary>
    public static IEnumerable<UpdateHook> Of(AnalyzedUpdate update) => update.Units.SelectMany(Of);

    private static IEnumerable<UpdateHook> Of(AnalyzedUnit unit)
    {
        foreach (var section in unit.Post.Sections.Where(section => section.Name.StartsWith(SectionPrefix, StringComparison.Ordinal)))
        {
            foreach (var relocation in section.Relocations)
            {
                var symbol = unit.Post.Symbols[relocation.SymbolIndex];
                ulong offset = symbol.Value + (ulong)relocation.Addend;
                var function = symbol.IsUndefined
                    ? null
                    : unit.Changes.PostFunctions.FirstOrDefault(function =>
                        function.Parts[0].Range is var range && range.Section == symbol.SectionIndex && range.Offset == offset
                    );
                yield return new(unit, section.Name[SectionPrefix.Length..], function?.Name ?? symbol.Name, function);
            }
        }
    }
}

/// <summary>The functions of an update's units, as they are after the patch, by the names by which units call them.</summary>
/// <param name="update">The update.</param>
internal sealed class UpdateFunctions(AnalyzedUpdate update)
{
    private readonly Dictionary<AnalyzedUnit, ILookup<string, ObjectFunction>> _own = update.Units.ToDictionary(
        unit => unit,
        unit => unit.Changes.PostFunctions.ToLookup(function => function.Name, StringComparer.Ordinal)
    );

    private readonly ILookup<string, (AnalyzedUnit Unit, ObjectFunction Function)> _global = update
        .Units.SelectMany(unit => unit.Changes.PostFunctions.Where(function => function.IsGlobal).Select(function => (unit, function)))
        .ToLookup(pair => pair.function.Name, StringComparer.Ordinal);

    /// <summary>What <paramref name="unit"/> means by <paramref name="name"/>: its own function goes before another's.</summary>
    public IEnumerable<(AnalyzedUnit Unit, ObjectFunction Function)> Find(AnalyzedUnit unit, string name) =>
        _own[unit].Contains(name) ? _own[unit][name].Select(function => (unit, function)) : _global[name];
}
