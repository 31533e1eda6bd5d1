// SPDX-License-Identifier: MIT
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Matches the pre code against the shipped image and modules: run-pre matching, at build time.</summary>
public sealed class MatchUpdate : UpdateTask
{
    /// <summary>The report to write.</summary>
    [Required]
    public string Report { get; set; } = "";

    private protected override bool RunStage(CancellationToken cancellation)
    {
        if (Take(Update.Programs(cancellation)) is null || Take(Update.Matches(cancellation)) is not { } matches)
            return false;
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(Report))!);
        File.WriteAllText(Report, MatchReport.Write(matches));
        if (Record is not null)
            StageRecord.Write(
                Record,
                "",
                [KernelFile, BasesFile, .. Objects, .. matches.Select(match => match.Program.Module?.Path).OfType<string>()],
                [Report]
            );
        return true;
    }
}
