// SPDX-License-Identifier: MIT
// How severe a report is, by what a .NET project says about it. As in the C# compiler, a .editorconfig counts more than a global file, a
// nearer .editorconfig more than a farther one and a later section more than an earlier one. Of global files the one of the highest level
// counts; what two of one level say counts not at all. NoWarn takes a warning away, WarningsAsErrors and TreatWarningsAsErrors make it an
// error. Errors stay what they are.
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
        new(
            [],
            new HashSet<string>(StringComparer.Ordinal),
            new HashSet<string>(StringComparer.Ordinal),
            new HashSet<string>(StringComparer.Ordinal),
            false,
            "/"
        );

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
            case "none" or "silent" or "refactoring":
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

    /// <summary>
    /// Settings of severities that change nothing because nobody can tell what they mean: where, the key, and why it does not count.
    /// </summary>
    public IEnumerable<(SourceLocation Place, string Key, string Why)> Ineffective()
    {
        foreach (var file in Files)
        {
            foreach (var section in file.Sections)
            {
                foreach (var (key, value) in section.Properties.Where(property => IsSeverity(property.Key)))
                {
                    string? why =
                        !IsKnown(value) ? $"'{value}' is no severity; it is one of {string.Join(", ", Known)}"
                        : section.Glob.Length == 0
                            ? file.IsGlobal ? null
                                : "it stands above the first section, and is about no file"
                        : file.IsGlobal
                            ? FileOf(section) is not null ? null
                                : $"in a global file a section is the full path of one file, and [{section.Glob}] is none"
                        : section.IsGlob ? null
                        : $"[{section.Glob}] is no glob, and is about no file";
                    why ??=
                        file.IsGlobal
                        && Rivals(file, section, key)
                            .Select(rival => new SourceLocation(rival.File.Path, rival.Section.Line))
                            .FirstOrDefault()
                            is { } place
                            ? $"{place} says it too, on the same level"
                            : null;
                    if (why is not null)
                        yield return (new SourceLocation(file.Path, section.Line), key, why);
                }
            }
        }
    }

    private const string AllRules = "dotnet_analyzer_diagnostic.severity";
    private static readonly string[] Known = ["default", "none", "silent", "refactoring", "suggestion", "warning", "error"];

    private static bool IsKnown(string severity) => Known.Contains(severity, StringComparer.OrdinalIgnoreCase);

    private static bool IsSeverity(string key) =>
        key.EndsWith(".severity", StringComparison.Ordinal)
        && (
            key.StartsWith("dotnet_diagnostic.", StringComparison.Ordinal)
            || key.StartsWith("dotnet_analyzer_diagnostic.", StringComparison.Ordinal)
        );

    // Any one rule's setting counts more than one of its category, and that more than one of all.
    private string? Configured(Diagnostic diagnostic)
    {
        string? path = diagnostic.Location?.Path;
        // What one rule is set to counts if it is a severity, "default" too; other values are as if they were not there. Of categories and
        // of all rules the last value counts, and if that is no severity nothing is set.
        if (Setting($"dotnet_diagnostic.{diagnostic.Id}.severity", path, IsKnown) is { } own)
            return own.ToLowerInvariant();
        foreach (string key in (string[])[$"dotnet_analyzer_diagnostic.category-{diagnostic.Descriptor.Category}.severity", AllRules])
        {
            if (Setting(key, path, _ => true) is { } value && IsKnown(value))
                return value.ToLowerInvariant();
        }
        return null;
    }

    private string? Setting(string key, string? path, Predicate<string> counts)
    {
        string name = key.ToLowerInvariant();
        string? value = null;
        foreach (bool isPreamble in (bool[])[true, false])
        {
            foreach (var file in Files.Where(file => file.IsGlobal))
            {
                foreach (var section in file.Sections.Where(section => isPreamble == (section.Glob.Length == 0)))
                {
                    if (
                        section.Properties.TryGetValue(name, out string? here)
                        && counts(here)
                        && (isPreamble || (path is not null && FileOf(section) == Path.GetFullPath(path, Folder)))
                        && !Rivals(file, section, name).Any()
                        && !Said(name, section).Any(other => other.File.GlobalLevel > file.GlobalLevel)
                    )
                        value = here;
                }
            }
        }
        foreach (var file in Files.Where(file => !file.IsGlobal))
        {
            foreach (var section in file.Sections)
            {
                if (section.Properties.TryGetValue(name, out string? here) && counts(here) && IsAbout(file, section, path))
                    value = here;
            }
        }
        return value;
    }

    // The sections of global files that set a key for the same file as this one, or like this one for all.
    private IEnumerable<(EditorConfig File, EditorConfigSection Section)> Said(string key, EditorConfigSection section) =>
        from file in Files
        where file.IsGlobal
        from other in file.Sections
        where other.Properties.ContainsKey(key)
        where section.Glob.Length == 0 ? other.Glob.Length == 0 : FileOf(section) is { } path && FileOf(other) == path
        select (file, other);

    private IEnumerable<(EditorConfig File, EditorConfigSection Section)> Rivals(
        EditorConfig file,
        EditorConfigSection section,
        string key
    ) => Said(key, section).Where(other => !ReferenceEquals(other.Section, section) && other.File.GlobalLevel == file.GlobalLevel);

    // A section of a global file names one file by its full path; null if it does not.
    private static string? FileOf(EditorConfigSection section) =>
        SectionGlob.Literal(section.Glob) is { } path && path.StartsWith('/') ? path : null;

    private bool IsAbout(EditorConfig file, EditorConfigSection section, string? path)
    {
        if (section.Glob.Length == 0)
            return false;
        string folder = (Path.GetDirectoryName(file.Path) ?? "/").TrimEnd('/') + "/";
        // What has no place in a file, or one that is not below the configuration, is only meant by sections about everything.
        return path is not null && Path.GetFullPath(path, Folder) is var full && full.StartsWith(folder, StringComparison.Ordinal)
            ? section.Matches(full[folder.Length..])
            : section.Glob is "*" or "**";
    }
}
