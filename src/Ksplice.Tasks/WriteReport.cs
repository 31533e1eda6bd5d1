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
        string package = PackagePath.Read(IdFile, OutputFolder).Folder;
        // Says of the file itself if it is damaged.
        _ = UpdateManifest.Read(Path.Combine(package, UpdateManifest.FileName), TaskFiles.Remedy);
        if (UpdatePackage.Open(package, Diagnostics) is not { } whole)
            return Task.FromResult(false);
        var update = UpdateDescription.Read(UpdateFile, TaskFiles.Remedy);
        string output = ReportOf(package);
        AtomicFile.Write(output, new UTF8Encoding(false).GetBytes(HtmlReport.Write(whole, update, HelpAddress)));
        if (Record is not null)
            StageRecord.Write(Record, "", [UpdateFile, IdFile, Path.Combine(package, UpdateManifest.FileName)], [output]);
        return Task.FromResult(true);
    }

    /// <summary>The report that belongs to a package's folder.</summary>
    public static string ReportOf(string package) => package + ".html";
}
