using System.Globalization;
using System.Text;
using Ksplice.Build.Differencing;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Matches the pre code against the shipped image: run-pre matching, at build time.</summary>
public sealed class MatchUpdate : KspliceTask
{
    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The units, with Pre and Post.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The report to write.</summary>
    [Required]
    public string Report { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        var release = Tasks.KernelFile.Open(KernelFile).Release;
        if (UnitDiffs.Find(Units, Diagnostics) is not { } diffs
            || ExportedSymbols.Read(release.ModuleSymvers, Diagnostics) is not { } exported
            || MatchDataBuilder.Build(diffs, PrimaryObject.SymbolsToResolve(diffs, exported), Diagnostics) is not { } data
            || KernelImage.Open(release.Image, Diagnostics) is not { } image)
            return Task.FromResult(false);
        var result = ImageMatch.Check(data, image, Diagnostics);
        if (!StaticKeyCheck.Check(diffs, image, Diagnostics) || !result.IsMatch)
            return Task.FromResult(false);
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(Report))!);
        File.WriteAllText(Report, Describe(release, data, result));
        if (Record is not null)
            StageRecord.Write(Record, "", [KernelFile, .. UnitDiffs.Objects(Units)], [Report]);
        return Task.FromResult(true);
    }

    // Addresses in the shipped image, for people; they go into nothing that is loaded.
    private static string Describe(KernelRelease release, MatchData data, MatchResult result)
    {
        StringBuilder text = new();
        text.Append(CultureInfo.InvariantCulture, $"{release.Image}\n\nreplaced functions\n");
        for (int i = 0; i < data.Functions.Length; i++)
            text.Append(CultureInfo.InvariantCulture, $"{result.Functions[i].Start:x16} {data.Functions[i].Name} ({data.Functions[i].Unit}), {result.Functions[i].End - result.Functions[i].Start} bytes\n");
        text.Append("\nsymbols that new code needs\n");
        for (int i = 0; i < data.Exports.Length; i++)
            text.Append(CultureInfo.InvariantCulture, $"{result.Exports[i]:x16} {Escaped(data.Exports[i])}\n");
        return text.ToString();
    }

    private static string Escaped(RunSymbol symbol) => symbol.DisplayName.ReplaceLineEndings("\\n");
}
