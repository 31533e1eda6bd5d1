// SPDX-License-Identifier: MIT
using System.Text.Json;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Analysis;

/// <summary>A folder that the paths of a log are relative to.</summary>
/// <param name="Id">Its name in the log, by the custom of readers <c>SRCROOT</c> for the repository or the project.</param>
/// <param name="Folder">Its path, which the log does not say.</param>
/// <param name="Description">What it is.</param>
public sealed record SarifBase(string Id, string Folder, string Description);

/// <summary>Diagnostics in the Static Analysis Results Interchange Format (OASIS SARIF 2.1.0), which editors and code hosts read.</summary>
public static class SarifLog
{
    /// <summary>The log of one run.</summary>
    /// <param name="diagnostics">What was said.</param>
    /// <param name="bases">Folders that paths are relative to, so that the log is the same on any machine.</param>
    /// <param name="help">The address of a rule's page; null if it has none.</param>
    public static byte[] Write(
        IReadOnlyCollection<Diagnostic> diagnostics,
        IReadOnlyList<SarifBase> bases,
        Func<string, string?>? help = null
    )
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        ArgumentNullException.ThrowIfNull(bases);
        var rules = diagnostics
            .Select(diagnostic => diagnostic.Descriptor)
            .DistinctBy(rule => rule.Id, StringComparer.Ordinal)
            .OrderBy(rule => rule.Id, StringComparer.Ordinal)
            .ToList();
        using MemoryStream bytes = new();
        using (Utf8JsonWriter json = new(bytes, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteString("$schema", "https://json.schemastore.org/sarif-2.1.0.json");
            json.WriteString("version", "2.1.0");
            json.WriteStartArray("runs");
            json.WriteStartObject();
            json.WriteStartObject("tool");
            json.WriteStartObject("driver");
            json.WriteString("name", "Ksplice for .NET");
            json.WriteStartArray("rules");
            foreach (var rule in rules)
            {
                json.WriteStartObject();
                json.WriteString("id", rule.Id);
                json.WriteStartObject("shortDescription");
                json.WriteString("text", rule.Title);
                json.WriteEndObject();
                // A page of this project's documentation has no address of its own.
                if (Uri.TryCreate(help?.Invoke(rule.Id) ?? rule.HelpLink, UriKind.Absolute, out var page))
                    json.WriteString("helpUri", page.AbsoluteUri);
                json.WriteStartObject("defaultConfiguration");
                json.WriteString("level", Level(rule.Severity));
                json.WriteEndObject();
                json.WriteStartObject("properties");
                json.WriteString("category", rule.Category);
                json.WriteEndObject();
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndObject();
            if (bases.Count != 0)
                WriteBases(json, bases);
            json.WriteStartArray("results");
            foreach (var diagnostic in diagnostics)
                WriteResult(json, bases, diagnostic, rules.FindIndex(rule => rule.Id == diagnostic.Id));
            json.WriteEndArray();
            json.WriteEndObject();
            json.WriteEndArray();
            json.WriteEndObject();
        }
        return bytes.ToArray();
    }

    private static void WriteBases(Utf8JsonWriter json, IReadOnlyList<SarifBase> bases)
    {
        json.WriteStartObject("originalUriBaseIds");
        foreach (var root in bases)
        {
            json.WriteStartObject(root.Id);
            json.WriteStartObject("description");
            json.WriteString("text", root.Description);
            json.WriteEndObject();
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }

    private static void WriteResult(Utf8JsonWriter json, IReadOnlyList<SarifBase> bases, Diagnostic diagnostic, int rule)
    {
        json.WriteStartObject();
        json.WriteString("ruleId", diagnostic.Id);
        json.WriteNumber("ruleIndex", rule);
        json.WriteString("level", Level(diagnostic.Severity));
        json.WriteStartObject("message");
        json.WriteString("text", diagnostic.Message);
        json.WriteEndObject();
        if (diagnostic.Location is { Path.Length: > 0 } location)
        {
            json.WriteStartArray("locations");
            WriteLocation(json, bases, location, null);
            json.WriteEndArray();
        }
        if (diagnostic.Related.Count != 0)
        {
            json.WriteStartArray("relatedLocations");
            foreach (var related in diagnostic.Related)
                WriteLocation(json, bases, related.Location, related.Message);
            json.WriteEndArray();
        }
        json.WriteEndObject();
    }

    /// <summary>The word for a severity: error, warning or note.</summary>
    public static string Level(DiagnosticSeverity severity) =>
        severity switch
        {
            DiagnosticSeverity.Error => "error",
            DiagnosticSeverity.Warning => "warning",
            _ => "note",
        };

    private static void WriteLocation(Utf8JsonWriter json, IReadOnlyList<SarifBase> bases, SourceLocation location, string? message)
    {
        json.WriteStartObject();
        json.WriteStartObject("physicalLocation");
        json.WriteStartObject("artifactLocation");
        var root = bases.FirstOrDefault(one => location.Path.StartsWith(one.Folder.TrimEnd('/') + "/", StringComparison.Ordinal));
        string path = root is null ? location.Path : Path.GetRelativePath(root.Folder, location.Path);
        json.WriteString(
            "uri",
            Path.IsPathRooted(path) ? new Uri(path).AbsoluteUri : Uri.EscapeDataString(path).Replace("%2F", "/", StringComparison.Ordinal)
        );
        if (root is not null)
            json.WriteString("uriBaseId", root.Id);
        json.WriteEndObject();
        if (location.Line > 0)
        {
            json.WriteStartObject("region");
            json.WriteNumber("startLine", location.Line);
            if (location.Column > 0)
                json.WriteNumber("startColumn", location.Column);
            json.WriteEndObject();
        }
        json.WriteEndObject();
        if (message is not null)
        {
            json.WriteStartObject("message");
            json.WriteString("text", message);
            json.WriteEndObject();
        }
        json.WriteEndObject();
    }
}
