// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>
/// Shows again what the judgement warned of, where this build took the judgement of an earlier one: a warning counts until somebody has
/// done something about it.
/// </summary>
public sealed class ReplayWarnings : KspliceTask
{
    /// <summary>What <see cref="GenerateModules"/> says of the update.</summary>
    [Required]
    public string UpdateFile { get; set; } = "";

    /// <summary>The SARIF file of <see cref="AnalyzeUnits"/>, which tells one update of a build from another.</summary>
    [Required]
    public string SarifFile { get; set; } = "";

    /// <summary>Notes that this build has judged the update itself, and so shown its warnings.</summary>
    internal static void Shown(IBuildEngine4 engine, string sarifFile) =>
        engine.RegisterTaskObject(Key(sarifFile), true, RegisteredTaskObjectLifetime.Build, allowEarlyCollection: false);

    private static string Key(string sarifFile) => $"Ksplice.ReplayWarnings {Path.GetFullPath(sarifFile)}";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        if (BuildEngine4.UnregisterTaskObject(Key(SarifFile), RegisteredTaskObjectLifetime.Build) is not null)
            return Task.FromResult(true);
        var update = UpdateDescription.Read(UpdateFile, TaskFiles.Remedy);
        foreach (var warning in update.Diagnostics.Where(diagnostic => diagnostic.Level == "warning"))
            Show(DiagnosticSeverity.Warning, warning.Id, warning.Place, warning.Message);
        return Task.FromResult(true);
    }
}
