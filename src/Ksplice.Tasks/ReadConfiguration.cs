// SPDX-License-Identifier: MIT
using System.Text.Json;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Ksplice.Build.Processes;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>A configuration file of diagnostics as it was read.</summary>
/// <param name="Path">Its full path.</param>
/// <param name="Text">What it says.</param>
public sealed record ConfigurationText(string Path, string Text);

/// <summary>configuration.json: what the project says about diagnostics. Stages depend on the file, so it holds the text of the
/// project's .editorconfig files and not their names alone, and is written only when something in it differs.</summary>
/// <param name="Folder">The project's folder.</param>
/// <param name="Files">The configuration files; those that count more come later.</param>
/// <param name="NoWarn">The property.</param>
/// <param name="WarningsAsErrors">The property.</param>
/// <param name="WarningsNotAsErrors">The property.</param>
/// <param name="TreatWarningsAsErrors">The property.</param>
/// <param name="Acknowledgements">The project's KspliceAcknowledge items.</param>
public sealed record ConfigurationFile(
    string Folder,
    IReadOnlyList<ConfigurationText> Files,
    string NoWarn,
    string WarningsAsErrors,
    string WarningsNotAsErrors,
    bool TreatWarningsAsErrors,
    IReadOnlyList<Acknowledgement> Acknowledgements
)
{
    /// <summary>Reads the file; null if there is none.</summary>
    /// <exception cref="DamagedFileException">It is damaged.</exception>
    public static ConfigurationFile? Read(string? path)
    {
        if (path is null || !File.Exists(path))
            return null;
        var file = JsonFile.Read(path, TaskFiles.Default.ConfigurationFile, TaskFiles.Remedy);
        return Path.IsPathFullyQualified(file.Folder)
            ? file
            : throw new DamagedFileException(path, $"'{file.Folder}' is no full path", TaskFiles.Remedy);
    }

    /// <summary>The engine's form.</summary>
    public DiagnosticConfiguration ToConfiguration() =>
        new(
            [.. Files.Select(file => EditorConfig.Parse(file.Path, file.Text))],
            DiagnosticConfiguration.Ids(NoWarn),
            DiagnosticConfiguration.Ids(WarningsAsErrors),
            DiagnosticConfiguration.Ids(WarningsNotAsErrors),
            TreatWarningsAsErrors,
            Folder
        );
}

/// <summary>Collects what the project says about diagnostics.</summary>
public sealed class ReadConfiguration : KspliceTask
{
    /// <summary>The project.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>Configuration files that the project names beside those that are found.</summary>
    public ITaskItem[] Files { get; set; } = [];

    /// <summary>Errors that a person takes over: the rule's id, with Object and Reason.</summary>
    public ITaskItem[] Acknowledgements { get; set; } = [];

    /// <summary>The property.</summary>
    public string? NoWarn { get; set; }

    /// <summary>The property.</summary>
    public string? WarningsAsErrors { get; set; }

    /// <summary>The property.</summary>
    public string? WarningsNotAsErrors { get; set; }

    /// <summary>The property.</summary>
    public bool TreatWarningsAsErrors { get; set; }

    /// <summary>The file to write.</summary>
    [Required]
    public string Output { get; set; } = "";

    private protected override string? IntermediateFolder => Path.GetDirectoryName(Path.GetFullPath(Output));

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        string folder = Path.GetDirectoryName(Path.GetFullPath(ProjectFile))!;
        if (!ToolPath.CheckForCompiler("the folder of intermediate files", IntermediateFolder!, "build in another folder", Diagnostics))
            return Task.FromResult(false);
        // Of two .editorconfig files the nearer counts more; those that the project names are global mostly.
        var named = Files
            .Select(file => file.GetMetadata("FullPath"))
            .Where(File.Exists)
            .Distinct(StringComparer.Ordinal)
            .Select(path => EditorConfig.Parse(path, File.ReadAllText(path)))
            .Where(file => file.IsGlobal);
        var paths = named.Concat(EditorConfig.Discover(folder)).Select(file => file.Path).Distinct(StringComparer.Ordinal);
        ConfigurationFile file = new(
            folder,
            [.. paths.Select(path => new ConfigurationText(path, File.ReadAllText(path)))],
            NoWarn ?? "",
            WarningsAsErrors ?? "",
            WarningsNotAsErrors ?? "",
            TreatWarningsAsErrors,
            [
                .. Acknowledgements.Select(item => new Acknowledgement(
                    item.ItemSpec.Trim(),
                    item.GetMetadata("Object").Trim(),
                    item.GetMetadata("Reason").Trim(),
                    Path.GetFileName(ProjectFile)
                )),
            ]
        );
        foreach (var (path, id, value) in file.ToConfiguration().Powerless(Rules.All))
            Diagnostics.Report(AnalysisDiagnostics.SeverityFixed, new(path), id, value);
        foreach (var (place, key, why) in file.ToConfiguration().Ineffective())
            Diagnostics.Report(AnalysisDiagnostics.SeverityIneffective, place, key, why);
        foreach (var acknowledgement in file.Acknowledgements)
            UpdateJudgement.Check(acknowledgement, Rules.All, new(ProjectFile), Diagnostics);
        AtomicFile.WriteIfDifferent(Output, JsonSerializer.SerializeToUtf8Bytes(file, TaskFiles.Default.ConfigurationFile));
        return Task.FromResult(!Diagnostics.HasErrors);
    }
}
