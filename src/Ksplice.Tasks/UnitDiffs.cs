using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>
/// The differences of all units. They are found again by each stage that needs them: that takes less than reading them from a file would.
/// </summary>
internal static class UnitDiffs
{
    /// <summary>Compares the objects of <paramref name="units"/>, in their order; null after an error.</summary>
    public static IReadOnlyList<ObjectDiff>? Find(IEnumerable<ITaskItem> units, DiagnosticBag diagnostics)
    {
        List<ObjectDiff> diffs = [];
        bool failed = false;
        foreach (var unit in units)
        {
            if (UpdateJudgement.Compare(Open(unit), diagnostics) is { } diff)
                diffs.Add(diff with { Sites = Sites(unit) });
            else
                failed = true;
        }
        return failed ? null : diffs;
    }

    /// <summary>The differences by target; null after an error, also if there is no difference.</summary>
    public static IReadOnlyList<TargetDiffs>? FindTargets(string updateId, IReadOnlyList<ITaskItem> units, DiagnosticBag diagnostics) =>
        Find(units, diagnostics) is { } diffs ? Split(updateId, units, diffs, diagnostics) : null;

    /// <summary>Puts the differences of <paramref name="units"/> to their targets.</summary>
    public static IReadOnlyList<TargetDiffs>? Split(
        string updateId,
        IReadOnlyList<ITaskItem> units,
        IReadOnlyList<ObjectDiff> diffs,
        DiagnosticBag diagnostics
    ) => TargetDiffs.Split(updateId, [.. units.Zip(diffs, (unit, diff) => new UnitDiff(unit.GetMetadata("Module"), diff))], diagnostics);

    /// <summary>A unit with its two objects.</summary>
    public static AnalyzedUnit Open(ITaskItem unit) =>
        new(
            unit.ItemSpec,
            unit.GetMetadata("Module") is { Length: > 0 } module && module != UpdateTarget.KernelName ? module : null,
            Read(unit, "Pre"),
            Read(unit, "Post")
        );

    private static ElfObject Read(ITaskItem unit, string side) =>
        ElfObject.Read(File.ReadAllBytes(unit.GetMetadata(side)), unit.GetMetadata(side));

    /// <summary>The paths of all objects.</summary>
    public static IEnumerable<string> Objects(IEnumerable<ITaskItem> units) =>
        units.SelectMany(unit => Made(unit.GetMetadata("Pre")).Append(unit.GetMetadata("Post")));

    /// <summary>What compiling made of <paramref name="output"/>: itself, and its copy with objtool's tables where there is one.</summary>
    public static IEnumerable<string> Made(string output) =>
        File.Exists(UnitCompiler.SitesOf(output)) ? [output, UnitCompiler.SitesOf(output)] : [output];

    private static ElfObject? Sites(ITaskItem unit) =>
        Made(unit.GetMetadata("Pre")).ElementAtOrDefault(1) is { } path ? ElfObject.Read(File.ReadAllBytes(path), path) : null;
}
