// K4: before 6.10 the loader writes into every static key that a module uses. A key that is read-only after init faults
// there, so the update is refused here, where the image tells which keys those are.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Generation;

/// <summary>Checks the keys that an update's code branches on against a kernel image.</summary>
public static class StaticKeyCheck
{
    /// <summary>Reports every use of a key between the image's bounds of read-only-after-init memory; false if there was one.</summary>
    public static bool Check(IReadOnlyList<ObjectDiff> diffs, KernelImage image, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(diffs);
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(diagnostics);
        if (diffs.All(diff => diff.StaticKeys.Count == 0))
            return true;
        if (image.Symbols.FindUnique("__start_ro_after_init") is not { } start || image.Symbols.FindUnique("__end_ro_after_init") is not { } end)
        {
            diagnostics.Report(GenerationDiagnostics.NoReadOnlyBounds, new SourceLocation(image.Path), image.Path);
            return false;
        }
        bool good = true;
        foreach (var diff in diffs)
        {
            foreach (var use in diff.StaticKeys)
            {
                string name = use.Key switch { GlobalSymbol global => global.Name, LocalSymbol local => local.Name, _ => "" };
                // Of a static key's name there may be several: none of them may be read-only.
                if (!image.Symbols.Find(name).Any(symbol => symbol.Address >= start && symbol.Address < end))
                    continue;
                diagnostics.Report(GenerationDiagnostics.ReadOnlyKey, new SourceLocation(diff.Unit), use.Function, diff.Unit, use.Key.DisplayName, image.Release);
                good = false;
            }
        }
        return good;
    }
}
