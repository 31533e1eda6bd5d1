// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Serialization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Updates;

namespace Ksplice.Cli.Commands;

/// <summary>What <c>ksplice diff --json</c> prints: the unit's difference (docs/difference.schema.json), and how it ended.</summary>
/// <param name="Result">differs, same or refused.</param>
/// <param name="TypesCompared">False where an object has no types.</param>
/// <param name="Difference">What differs; nothing of it if it was refused.</param>
/// <param name="Diagnostics">What there is to say.</param>
internal sealed record DiffReport(
    string Result,
    bool TypesCompared,
    UnitDescription Difference,
    IReadOnlyList<DiffReport.Reported> Diagnostics
)
{
    /// <summary>A diagnostic.</summary>
    /// <param name="Id">The rule.</param>
    /// <param name="Severity">error, warning or info.</param>
    /// <param name="Message">The text.</param>
    internal sealed record Reported(string Id, string Severity, string Message);

    public static string Write(UnitDescription difference, int code, bool types, IReadOnlyList<Diagnostic> diagnostics) =>
        JsonSerializer.Serialize(
            new(
                code switch
                {
                    (int)ExitCode.Ok => "differs",
                    DiffCommand.NoDifference => "same",
                    _ => "refused",
                },
                types,
                difference,
                [
                    .. diagnostics.Select(reported => new Reported(
                        reported.Id,
                        reported.Severity.ToString().ToLowerInvariant(),
                        reported.Message
                    )),
                ]
            ),
            DiffReportJson.Default.DiffReport
        ) + "\n";
}

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(DiffReport))]
internal sealed partial class DiffReportJson : JsonSerializerContext;
