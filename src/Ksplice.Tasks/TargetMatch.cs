using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Tasks;

/// <summary>What matching looks for in one target. Made by each stage that needs it, like the differences.</summary>
/// <param name="Diffs">What changes in the target.</param>
/// <param name="Module">The module's file; null for the kernel itself.</param>
/// <param name="Exported">What its new code may use without being told where it is.</param>
/// <param name="Data">The match data.</param>
internal sealed record TargetMatch(TargetDiffs Diffs, ModuleFile? Module, ExportedSymbols Exported, MatchData Data)
{
    /// <summary>The modules' files that <paramref name="matches"/> were made with.</summary>
    public static IEnumerable<string> Files(IEnumerable<TargetMatch> matches) =>
        matches.Select(match => match.Module?.Path).OfType<string>();

    /// <summary>The match data of all targets; null after an error.</summary>
    public static IReadOnlyList<TargetMatch>? Build(
        IReadOnlyList<TargetDiffs> targets,
        KernelRelease release,
        ShippedModules modules,
        DiagnosticBag diagnostics
    )
    {
        List<TargetMatch> matches = [];
        if (ExportedSymbols.Read(release.ModuleSymvers, diagnostics) is not { } kernel)
            return null;
        foreach (var target in targets.Select(target => target.LateIfPossible(kernel)))
        {
            var module = target.Target.IsKernel ? null : modules.Open(target.Target.Name, diagnostics);
            if (module is null && !target.Target.IsKernel)
                continue;
            // What other modules export is found like all else that comes with a late one.
            if ((target.Target.IsLate ? kernel : ExportedSymbols.Read(release.ModuleSymvers, diagnostics, module)) is not { } exported)
                return null;
            if (MatchDataBuilder.Build(target.Diffs, PrimaryObject.SymbolsToResolve(target.Diffs, exported), diagnostics) is { } data)
                matches.Add(new TargetMatch(target, module, exported, data));
        }
        return matches.Count == targets.Count ? matches : null;
    }
}
