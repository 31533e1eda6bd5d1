// SPDX-License-Identifier: MIT
// K21: a module that is loaded after the update. Its primary is loaded without it, so nothing in that may need the loader to
// know an address of the module: the core fills those in when the module comes (src/Ksplice.Kernel/core/notifier.c).
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Targets;

/// <summary>Tells whether the update of a module can be applied before the module is loaded.</summary>
public static class LateTarget
{
    /// <summary>How the core encodes a field that the new code has as <paramref name="type"/>; null if it does not.</summary>
    public static ElfRelocationType? TypeFor(ElfRelocationType type) =>
        type switch
        {
            ElfRelocationType.Abs64 or ElfRelocationType.Pc32 or ElfRelocationType.Abs32Signed => type,
            ElfRelocationType.Plt32 => ElfRelocationType.Pc32,
            _ => null,
        };

    /// <summary>
    /// Why the module has to be loaded when the update is applied, for a sentence that goes on after a colon; null if it may
    /// come later. <paramref name="kernel"/> is what vmlinux exports: all else is there no earlier than the module.
    /// </summary>
    public static string? Obstacle(IReadOnlyList<ObjectDiff> diffs, ExportedSymbols kernel)
    {
        ArgumentNullException.ThrowIfNull(diffs);
        ArgumentNullException.ThrowIfNull(kernel);
        var later = kernel.SymbolsToResolve(diffs).Where(symbol => symbol is not RuntimeConstant).ToHashSet();
        return diffs
            .SelectMany(diff => diff.Carried.Select(piece => Obstacle(diff.Unit, piece, later)))
            .FirstOrDefault(reason => reason is not null);
    }

    /// <summary>
    /// The same, of new code of a module that another target uses: it would be there without the module, and what it refers to there not.
    /// </summary>
    public static string ObstacleOf(SharedSymbol lent)
    {
        ArgumentNullException.ThrowIfNull(lent);
        return $"new code of {lent.User} uses '{lent.Name}', which {lent.Diff.Unit} brings";
    }

    private static string? Obstacle(string unit, CarriedPiece piece, HashSet<RunSymbol> later)
    {
        if (piece.Kind == CarriedKind.Hook)
            return $"{unit} has a hook, which runs when the update is applied";
        foreach (var reference in piece.References.Where(reference => reference.Symbol is { } symbol && later.Contains(symbol)))
        {
            // Tables are for the loader, alternatives are in place before the core sees them, and per-CPU data is copied.
            if (
                piece.Kind == CarriedKind.SpecialEntry
                || piece.OutputSection.StartsWith(".altinstr", StringComparison.Ordinal)
                || piece.OutputSection == ".data..percpu"
            )
                return $"new code of {unit} has an entry in {piece.OutputSection} about {reference.Symbol!.DisplayName}, "
                    + "for the kernel's loader to deal with";
            if (TypeFor(reference.Type) is null)
                return $"new code of {unit} refers to {reference.Symbol!.DisplayName} by a relocation of type {reference.Type}";
        }
        return null;
    }
}
