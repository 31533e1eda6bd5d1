// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Tests.Analysis;

/// <summary>What is said of the types of two objects alone, without the rest of an update.</summary>
internal static class TypeVerdict
{
    /// <summary>
    /// Reports every type, function and variable of <paramref name="unit"/> (its source path) that is not the same in
    /// <paramref name="post"/> as in <paramref name="pre"/>, by kind and name. True if all are.
    /// </summary>
    public static bool Compare(ElfObject pre, ElfObject post, string unit, DiagnosticBag bag)
    {
        var (before, after) = (BtfReader.Read(pre), BtfReader.Read(post));
        if (before is null)
            bag.Report(TypeDiagnostics.NoTypes, new SourceLocation(unit), "pre");
        if (after is null)
            bag.Report(TypeDiagnostics.NoTypes, new SourceLocation(unit), "post");
        if (before is null || after is null)
            return false;
        var changes = TypeComparison.Find(before, after, TypeComparison.Globals(pre));
        foreach (var change in changes)
            bag.Add(
                change.ToDiagnostic(
                    new SourceLocation(unit),
                    change.Rule == TypeDiagnostics.PrototypeChanged ? "callers elsewhere were compiled with the old one" : ""
                )
            );
        return changes.Count == 0;
    }
}
