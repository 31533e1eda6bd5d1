// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Ksplice.Build.Generation;
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>
/// Generates what the modules of the update are made from, and the description of the update that package and report are made from.
/// Files that would be the same are left alone, so that their time tells whether something has to be linked or packed.
/// </summary>
public sealed class GenerateModules : UpdateTask
{
    /// <summary>The folder to write into.</summary>
    [Required]
    public string SourceFolder { get; set; } = "";

    /// <summary>The description to write.</summary>
    [Required]
    public string UpdateFile { get; set; } = "";

    /// <summary>The folder of the pre tree, where there are updates below.</summary>
    [Required]
    public string BaseTree { get; set; } = "";

    private protected override bool RunStage(CancellationToken cancellation)
    {
        if (
            TakeSilently(Update.Programs(cancellation)) is not { } programs
            || TakeSilently(Update.Matches(cancellation)) is not { } matches
            || Take(Update.Modules(cancellation)) is not { } modules
            || TakeSilently(Update.Judgement(cancellation)) is not { } judgement
            || TakeSilently(Update.Kernel(cancellation)) is not { } kernel
        )
            return false;
        var files = ModuleSources.Write(
            SourceFolder,
            [.. modules.Targets.Select(target => (target.Helper, target.Primary))],
            modules.Data,
            Update.Inputs.Bases
        );
        UpdateDescriber describer = new(
            Update.Inputs.Bases.Count == 0 ? SourceTree : Path.GetFullPath(BaseTree),
            Path.GetFullPath(PostTree)
        );
        AtomicFile.WriteIfDifferent(
            UpdateFile,
            describer.Describe(Update, kernel.Image, matches, modules.Data, judgement, Shown(cancellation)).ToJson()
        );
        if (Record is not null)
            StageRecord.Write(
                Record,
                Update.Inputs.UpdateId,
                [KernelFile, BasesFile, .. Objects, .. programs.Select(program => program.Module?.Path).OfType<string>()],
                [.. files, UpdateFile]
            );
        Forget();
        return true;
    }

    // What the judgement said, as the project's configuration shows it.
    private List<ReportedDiagnostic> Shown(CancellationToken cancellation) =>
        [
            .. Update
                .Judgement(cancellation)
                .Diagnostics.Select(Severities.Apply)
                .OfType<Diagnostic>()
                .Select(InPatch)
                .Select(diagnostic => Reported(diagnostic) with { File = InTree(diagnostic.Location?.Path) }),
        ];

    private string? InTree(string? path) =>
        ((string[])[SourceTree, Path.GetFullPath(PostTree)])
            .Select(tree => tree + "/")
            .Where(tree => path?.StartsWith(tree, StringComparison.Ordinal) == true)
            .Select(tree => path![tree.Length..])
            .FirstOrDefault();
}
