using System.Reflection;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Tasks;

/// <summary>The engine's rules.</summary>
internal static class Rules
{
    /// <summary>All of them.</summary>
    public static IReadOnlyList<DiagnosticDescriptor> All { get; } =
    [
        .. typeof(DiagnosticDescriptor).Assembly.GetExportedTypes()
            .SelectMany(type => type.GetFields(BindingFlags.Static | BindingFlags.Public | BindingFlags.DeclaredOnly))
            .Where(field => field.FieldType == typeof(DiagnosticDescriptor)).Select(field => (DiagnosticDescriptor)field.GetValue(null)!),
    ];

    /// <summary>Reports what is missing in an acknowledgement.</summary>
    public static void Check(Acknowledgement acknowledgement, SourceLocation location, DiagnosticBag diagnostics)
    {
        var rule = All.FirstOrDefault(rule => rule.Id == acknowledgement.Id);
        string? problem = acknowledgement.Object.Length == 0 ? "names no object: set Object to what the error names"
            : acknowledgement.Reason.Length == 0 ? "gives no reason: set Reason to why the change is safe"
            : rule is null && acknowledgement.Id.StartsWith("KSP", StringComparison.Ordinal) ? "names no rule"
            : rule is { CanBeAcknowledged: false } ? $"is about '{rule.Title}', which nobody can take over: such an update cannot be made"
            : null;
        if (problem is not null)
            diagnostics.Report(AnalysisDiagnostics.AcknowledgementBad, location, acknowledgement.Id, problem);
    }
}
