// SPDX-License-Identifier: MIT
using System.Text;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Ksplice.Build.Reporting;
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>
/// A task that may find that no update can come of the patches. A refused build has a report too, in the intermediate folder; what the
/// build says next makes it out of date.
/// </summary>
public abstract class PatchTask : KspliceTask
{
    /// <summary>The update's name.</summary>
    public string UpdateName { get; set; } = "";

    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The folder of the kernel cache, if not the usual one.</summary>
    public string? Cache { get; set; }

    /// <summary>The patches, in the order of their application.</summary>
    public ITaskItem[] Patches { get; set; } = [];

    /// <summary>The list of units and of lines that patches brought.</summary>
    [Required]
    public string UnitsFile { get; set; } = "";

    private protected static ReportedDiagnostic Reported(Diagnostic diagnostic) =>
        new(diagnostic.Id, SarifLog.Level(diagnostic.Severity), diagnostic.Location, diagnostic.Message);

    /// <inheritdoc/>
    private protected sealed override void Ended(bool done, IReadOnlyList<Diagnostic> shown)
    {
        string file = Path.Combine(Path.GetDirectoryName(Path.GetFullPath(UnitsFile))!, "refused.html");
        if (File.Exists(file))
            File.Delete(file);
        if (done)
            return;
        RefusedBuild build = new(
            UpdateName,
            ResolvedKernel.Open(KernelFile).Release.Release,
            [
                .. Patches
                    .Select(patch => (Name: patch.ItemSpec, Path: patch.GetMetadata("FullPath")))
                    .Where(patch => File.Exists(patch.Path))
                    .Select(patch => (patch.Name, File.ReadAllText(patch.Path))),
            ],
            [.. shown.Select(Reported)]
        );
        AtomicFile.Write(file, new UTF8Encoding(false).GetBytes(HtmlReport.WriteRefused(build, HelpAddress)));
        Log.LogMessage(MessageImportance.High, "refused; report: {0}", file);
    }
}
