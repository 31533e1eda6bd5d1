using System.Globalization;
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Matches the pre code against the shipped image and modules: run-pre matching, at build time.</summary>
public sealed class MatchUpdate : KspliceTask
{
    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The units, with Pre and Post.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The updates that this one goes on top of, as <see cref="ApplyPatches"/> wrote them.</summary>
    [Required]
    public string BasesFile { get; set; } = "";

    /// <summary>The report to write.</summary>
    [Required]
    public string Report { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        var release = Tasks.KernelFile.Open(KernelFile).Release;
        ShippedModules modules = new(release);
        if (
            UnitDiffs.FindTargets("", Units, Diagnostics) is not { } targets
            || TargetMatch.Build(targets, release, modules, Diagnostics) is not { } matches
            || KernelImage.Open(release.Image, Diagnostics) is not { } image
        )
            return Task.FromResult(false);
        StringBuilder report = new();
        bool onTop = BaseList.Open(BasesFile).Count != 0;
        foreach (var match in matches)
        {
            cancellation.ThrowIfCancellationRequested();
            var module = match.Module is null ? null : LoadedModule.Load(match.Module, modules, image, Diagnostics);
            if (module is null && match.Module is not null)
                continue;
            var result =
                onTop ? ImageMatch.CheckOnTop(match.Data, module, image, Diagnostics)
                : module is null ? ImageMatch.Check(match.Data, image, Diagnostics)
                : ImageMatch.Check(match.Data, module, image, Diagnostics);
            if (!StaticKeyCheck.Check(match.Diffs.Diffs, image, Diagnostics, module))
                continue;
            if (result.IsMatch)
                Describe(report, match.Module?.Path ?? release.Image, match.Data, result);
            else
                report.Append(
                    CultureInfo.InvariantCulture,
                    $"{(report.Length == 0 ? "" : "\n")}{match.Diffs.Target.Name}: "
                        + $"goes on top of other updates and is matched when it is applied\n"
                );
        }
        if (Diagnostics.HasErrors)
            return Task.FromResult(false);
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(Report))!);
        File.WriteAllText(Report, report.ToString());
        if (Record is not null)
            StageRecord.Write(Record, "", [KernelFile, BasesFile, .. UnitDiffs.Objects(Units), .. TargetMatch.Files(matches)], [Report]);
        return Task.FromResult(true);
    }

    // Addresses in the shipped files, for people; they go into nothing that is loaded.
    private static void Describe(StringBuilder text, string path, MatchData data, MatchResult result)
    {
        text.Append(CultureInfo.InvariantCulture, $"{(text.Length == 0 ? "" : "\n")}{path}\n\nreplaced functions\n");
        for (int i = 0; i < data.Functions.Length; i++)
            text.Append(
                CultureInfo.InvariantCulture,
                $"{result.Functions[i].Start:x16} {data.Functions[i].Name} ({data.Functions[i].Unit}), "
                    + $"{result.Functions[i].End - result.Functions[i].Start} bytes\n"
            );
        text.Append("\nsymbols that new code needs\n");
        for (int i = 0; i < data.Exports.Length; i++)
            text.Append(CultureInfo.InvariantCulture, $"{result.Exports[i]:x16} {Escaped(data.Exports[i])}\n");
    }

    private static string Escaped(RunSymbol symbol) => symbol.DisplayName.ReplaceLineEndings("\\n");
}
