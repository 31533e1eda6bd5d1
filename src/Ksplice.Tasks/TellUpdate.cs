// SPDX-License-Identifier: MIT
using Ksplice.Build.Reporting;
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Says at the end of each build what there is, also if this build had nothing to do.</summary>
public sealed class TellUpdate : KspliceTask
{
    /// <summary>What <see cref="GenerateModules"/> says of the update.</summary>
    [Required]
    public string UpdateFile { get; set; } = "";

    /// <summary>What <see cref="ReadPackage"/> found.</summary>
    public ITaskItem[] Updates { get; set; } = [];

    /// <summary>The project, whose name the terminal's logger looks for in front of an output's path.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        var update = UpdateDescription.Read(UpdateFile, TaskFiles.Remedy);
        foreach (var package in Updates)
        {
            Tell($"{Path.GetFileNameWithoutExtension(ProjectFile)} -> {package.ItemSpec}");
            Tell(
                string.Join(
                    ", ",
                    Words.Count(update.Units.Sum(unit => unit.Replaced.Count), "function") + " replaced",
                    Words.Count(update.Units.Sum(unit => unit.New.Count), "new function"),
                    Words.Count(update.Diagnostics.Count(diagnostic => diagnostic.Level == "warning"), "warning"),
                    Words.Count(update.Acknowledged.Count, "acknowledged error")
                ) + $"; report: {package.GetMetadata("Report")}"
            );
        }
        return Task.FromResult(true);
    }

    private void Tell(string text) => Log.LogMessageFromText(text, MessageImportance.High);
}
