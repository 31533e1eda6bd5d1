// SPDX-License-Identifier: MIT
// K4: before 6.10 the loader writes into every static key that a module uses. A key that is read-only after init faults
// there, so the update is refused here, where the image tells which keys those are.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Generation;

/// <summary>Checks the keys that an update's code branches on against a kernel image.</summary>
public static class StaticKeyCheck
{
    /// <summary>
    /// Reports every use of a key in memory that is read-only after init, of the image or, if the code is its, of
    /// <paramref name="module"/>; false if there was one.
    /// </summary>
    public static bool Check(IReadOnlyList<ObjectDiff> diffs, KernelImage image, DiagnosticBag diagnostics, LoadedModule? module = null)
    {
        ArgumentNullException.ThrowIfNull(diffs);
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(diagnostics);
        // Since 6.10 the kernel seals such keys, and the loader leaves sealed ones alone.
        if (diffs.All(diff => diff.StaticKeys.Count == 0) || image.Symbols.Find("jump_label_init_ro").Any())
            return true;
        if (
            image.Symbols.FindUnique("__start_ro_after_init") is not { } start
            || image.Symbols.FindUnique("__end_ro_after_init") is not { } end
        )
        {
            diagnostics.Report(GenerationDiagnostics.NoReadOnlyBounds, new SourceLocation(image.Path), image.Path);
            return false;
        }
        bool good = true;
        foreach (var diff in diffs)
        {
            foreach (var use in diff.StaticKeys)
            {
                string name = use.Key switch
                {
                    GlobalSymbol global => global.Name,
                    LocalSymbol local => local.Name,
                    _ => "",
                };
                // Of a static key's name there may be several: none of them may be read-only. A module's own comes first.
                ulong[] own = [.. module?.Find(name) ?? []];
                bool readOnly =
                    own.Length != 0
                        ? own.Any(module!.IsReadOnlyAfterInit)
                        : image.Symbols.Find(name).Any(symbol => symbol.Address >= start && symbol.Address < end);
                if (!readOnly)
                    continue;
                diagnostics.Report(
                    GenerationDiagnostics.ReadOnlyKey,
                    new SourceLocation(diff.Unit),
                    use.Function,
                    diff.Unit,
                    use.Key.DisplayName,
                    image.Release
                );
                good = false;
            }
        }
        return good;
    }
}
