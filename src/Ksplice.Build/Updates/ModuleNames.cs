// SPDX-License-Identifier: MIT
// KSP5022 for modules. An analyzer asks the kernel's image about the names of new functions; a module's names are in its file, which is
// opened for matching.
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Updates;

/// <summary>Checks the names of new functions of a module.</summary>
internal static class ModuleNames
{
    /// <summary>
    /// Reports each new global function of <paramref name="diffs"/> that has the name of a global function of the module: the module's
    /// own callers would go on to call that one. A function that moved from one unit to another is told as such elsewhere (KSP6004).
    /// </summary>
    public static void Check(ModuleFile module, IReadOnlyList<ObjectDiff> diffs, DiagnosticBag diagnostics)
    {
        var moved = diffs.SelectMany(diff => diff.RemovedFunctions).ToHashSet(StringComparer.Ordinal);
        var known = module
            .Elf.Symbols.Where(symbol =>
                symbol is { IsInSection: true, Type: ElfSymbolType.Function, Binding: not ElfSymbolBinding.Local }
                && !moved.Contains(symbol.Name)
            )
            .ToLookup(symbol => symbol.Name, symbol => symbol.Binding, StringComparer.Ordinal);
        foreach (var diff in diffs)
        {
            foreach (var function in diff.NewFunctions.Where(function => function.IsGlobal && known.Contains(function.Name)))
                diagnostics.Report(
                    CodeDiagnostics.NameTaken,
                    new SourceLocation(diff.Unit),
                    function.Name,
                    (known[function.Name].First() == ElfSymbolBinding.Weak ? "a weak function" : "a function") + $" of module {module.Name}"
                );
        }
    }
}
