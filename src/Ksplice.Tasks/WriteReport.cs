// SPDX-License-Identifier: MIT
using System.Text;
using Ksplice.Build.Files;
using Ksplice.Build.Generation;
using Ksplice.Build.Reporting;
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Writes the report of an update beside its package.</summary>
public sealed class WriteReport : KspliceTask
{
    /// <summary>What <see cref="GenerateModules"/> says of the update.</summary>
    [Required]
    public string UpdateFile { get; set; } = "";

    /// <summary>The file with the package's id.</summary>
    [Required]
    public string IdFile { get; set; } = "";

    /// <summary>The folder that packages are put into.</summary>
    [Required]
    public string OutputFolder { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        string package = PackagePath.Read(IdFile, OutputFolder);
        if (UpdatePackage.Open(package, Diagnostics) is not { } whole)
            return Task.FromResult(false);
        var manifest = whole.Manifest;
        var update = UpdateDescription.Read(UpdateFile, TaskFiles.Remedy);
        string output = ReportOf(package);
        AtomicFile.Write(output, new UTF8Encoding(false).GetBytes(HtmlReport.Write(whole, update, HelpAddress)));
        if (Record is not null)
            StageRecord.Write(Record, "", [UpdateFile, IdFile, Path.Combine(package, UpdateManifest.FileName)], [output]);
        Log.LogMessage(
            MessageImportance.High,
            "{0} replaced, {1} new; {2}, {3}; report: {4}",
            Count(update.Units.Sum(unit => unit.Replaced.Count), "function"),
            update.Units.Sum(unit => unit.New.Count),
            Count(update.Diagnostics.Count(diagnostic => diagnostic.Level == "warning"), "warning"),
            Count(manifest.Acknowledged.Count, "acknowledged error"),
            output
        );
        return Task.FromResult(true);
    }

    private static string Count(int number, string one) => $"{number} {one}{(number == 1 ? "" : "s")}";

    /// <summary>The report that belongs to a package's folder.</summary>
    public static string ReportOf(string package) => package + ".html";
}
