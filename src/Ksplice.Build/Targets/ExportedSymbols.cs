// SPDX-License-Identifier: MIT
using System.Collections.Immutable;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Targets;

/// <summary>One exported symbol.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Namespace">The namespace that users have to import, or empty.</param>
public sealed record ExportedSymbol(string Name, string Namespace)
{
    /// <summary>Where it comes from, if it comes with another target of the same update; else null.</summary>
    public SharedSymbol? Borrowed { get; init; }
}

/// <summary>The exports that are there whenever a target is: new code uses them as they are.</summary>
public sealed class ExportedSymbols
{
    private readonly Dictionary<string, ExportedSymbol> _byName;

    /// <summary>Makes the set of <paramref name="symbols"/>.</summary>
    public ExportedSymbols(IEnumerable<ExportedSymbol> symbols) =>
        _byName = symbols.ToDictionary(symbol => symbol.Name, StringComparer.Ordinal);

    /// <summary>What the core module has for new code (include/ksplice/shadow.h): it is there whenever an update is.</summary>
    public static ImmutableArray<string> OfCore { get; } =
    ["ksplice_shadow_attach", "ksplice_shadow_detach", "ksplice_shadow_free_all", "ksplice_shadow_get", "ksplice_shadow_get_or_attach"];

    /// <summary>These, and what a target uses of others of the same update.</summary>
    public ExportedSymbols With(IReadOnlyList<SharedSymbol> borrowed)
    {
        ArgumentNullException.ThrowIfNull(borrowed);
        return borrowed.Count == 0
            ? this
            : new(
                _byName
                    .Values.ExceptBy(borrowed.Select(symbol => symbol.Name), symbol => symbol.Name, StringComparer.Ordinal)
                    .Concat(borrowed.Select(symbol => new ExportedSymbol(symbol.Name, "") { Borrowed = symbol }))
            );
    }

    /// <summary>The symbol of that name, or null.</summary>
    public ExportedSymbol? Find(string name) => _byName.GetValueOrDefault(name);

    /// <summary>
    /// The run symbols that the helper has to resolve for <paramref name="diffs"/>: those that are not exported; what is no address comes
    /// last.
    /// </summary>
    public IReadOnlyList<RunSymbol> SymbolsToResolve(IReadOnlyList<ObjectDiff> diffs) =>
        [
            .. ObjectDiff
                .NeededBy(diffs)
                .Where(symbol => symbol is not GlobalSymbol global || Find(global.Name) is null)
                .OrderBy(symbol => symbol is RuntimeConstant),
        ];
}
