// SPDX-License-Identifier: MIT
// How severe a report is, by what a .NET project says about it. As in the C# compiler, a .editorconfig counts more than a
// .globalconfig, a nearer file more than a farther one and a later section more than an earlier one; NoWarn takes a warning
// away, WarningsAsErrors and TreatWarningsAsErrors make it an error. Errors stay what they are.
namespace Ksplice.Build.Diagnostics;

/// <summary>What a project says about severities.</summary>
/// <param name="Files">Its configuration files; those that count more come later.</param>
/// <param name="NoWarn">Warnings that are not shown.</param>
/// <param name="WarningsAsErrors">Warnings that are errors.</param>
/// <param name="WarningsNotAsErrors">Warnings that stay warnings when all others are errors.</param>
/// <param name="TreatWarningsAsErrors">True if all warnings are errors.</param>
/// <param name="Folder">The project's folder: paths of the kernel's sources are taken as if they lay below it.</param>
public sealed record DiagnosticConfiguration(
    IReadOnlyList<EditorConfig> Files,
    IReadOnlySet<string> NoWarn,
    IReadOnlySet<string> WarningsAsErrors,
    IReadOnlySet<string> WarningsNotAsErrors,
    bool TreatWarningsAsErrors,
    string Folder
)
{
    /// <summary>Says nothing.</summary>
    public static DiagnosticConfiguration None { get; } =
        new([], new HashSet<string>(), new HashSet<string>(), new HashSet<string>(), false, "/");

    /// <summary>Takes a list of ids apart, as NoWarn and its like have them.</summary>
    public static IReadOnlySet<string> Ids(string? list) =>
        (list ?? "")
            .Split([';', ',', ' ', '\n', '\r', '\t'], StringSplitOptions.RemoveEmptyEntries)
            .ToHashSet(StringComparer.OrdinalIgnoreCase);

    /// <summary>The report as it counts, or null if it is not to be shown.</summary>
    public Diagnostic? Apply(Diagnostic diagnostic)
    {
        ArgumentNullException.ThrowIfNull(diagnostic);
        if (diagnostic.Descriptor.Severity == DiagnosticSeverity.Error)
            return diagnostic;
        var severity = diagnostic.Severity;
        switch (Configured(diagnostic))
        {
            case "none" or "silent":
                return null;
            case "suggestion":
                severity = DiagnosticSeverity.Info;
                break;
            case "warning":
                severity = DiagnosticSeverity.Warning;
                break;
            case "error":
                severity = DiagnosticSeverity.Error;
                break;
        }
        if (severity == DiagnosticSeverity.Warning)
        {
            if (NoWarn.Contains(diagnostic.Id))
                return null;
            if (WarningsAsErrors.Contains(diagnostic.Id) || (TreatWarningsAsErrors && !WarningsNotAsErrors.Contains(diagnostic.Id)))
                severity = DiagnosticSeverity.Error;
        }
        return diagnostic with { Severity = severity };
    }

    /// <summary>Rules whose severity a file tries to lower though they are errors: the file, the rule's id and the value.</summary>
    public IEnumerable<(string File, string Id, string Value)> Powerless(IEnumerable<DiagnosticDescriptor> errors)
    {
        ArgumentNullException.ThrowIfNull(errors);
        return from rule in errors
            where rule.Severity == DiagnosticSeverity.Error
            from file in Files
            from section in file.Sections
            where
                section.Properties.TryGetValue($"dotnet_diagnostic.{rule.Id.ToLowerInvariant()}.severity", out string? value)
                && value is not ("error" or "default")
            select (file.Path, rule.Id, section.Properties[$"dotnet_diagnostic.{rule.Id.ToLowerInvariant()}.severity"]);
    }

    // Any one rule's setting counts more than one of its category, and that more than one of all.
    private string? Configured(Diagnostic diagnostic)
    {
        foreach (
            string key in (string[])
                [
                    $"dotnet_diagnostic.{diagnostic.Id}.severity",
                    $"dotnet_analyzer_diagnostic.category-{diagnostic.Descriptor.Category}.severity",
                    "dotnet_analyzer_diagnostic.severity",
                ]
        )
        {
            string? value = null;
            foreach (var file in Files.OrderBy(file => !file.IsGlobal))
            {
                foreach (var section in file.Sections)
                {
                    if (
                        section.Properties.TryGetValue(key.ToLowerInvariant(), out string? here)
                        && Counts(file, section, diagnostic.Location?.Path)
                    )
                        value = here;
                }
            }
            if (value is not null and not "default")
                return value.ToLowerInvariant();
        }
        return null;
    }

    private bool Counts(EditorConfig file, EditorConfigSection section, string? path)
    {
        if (section.Glob.Length == 0)
            return file.IsGlobal;
        if (path is null)
            return section.Glob is "*" or "**";
        string full = Path.GetFullPath(path, Folder),
            folder = file.IsGlobal ? "/" : Path.GetDirectoryName(file.Path) ?? "/";
        return section.Matches(Path.GetRelativePath(folder, full)) || (file.IsGlobal && section.Matches(path));
    }
}
