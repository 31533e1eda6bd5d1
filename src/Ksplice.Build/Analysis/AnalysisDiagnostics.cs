// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Analysis;

/// <summary>What can be wrong with the analysis itself, KSP5070 to KSP5079.</summary>
public static class AnalysisDiagnostics
{
#pragma warning disable CS1591 // Titles and messages say it.
    public static readonly DiagnosticDescriptor AnalyzerFailed = new(
        "KSP5070",
        "An analyzer failed",
        "the analyzer {0} threw {1}: {2} ({3}); what it checks is not checked. "
            + "Mend it, or take it out of the project's KspliceAnalyzer items",
        DiagnosticSeverity.Error
    );

    public static readonly DiagnosticDescriptor AnalyzerNotLoaded = new(
        "KSP5071",
        "An analyzer cannot be loaded",
        "the KspliceAnalyzer item '{0}' {1}",
        DiagnosticSeverity.Error
    );

    public static readonly DiagnosticDescriptor AcknowledgementUnused = new(
        "KSP5072",
        "An acknowledgement is about nothing",
        "{0} of '{1}' is acknowledged, but no such error was found; take the acknowledgement out, so that it cannot hide a later one",
        DiagnosticSeverity.Warning
    );

    public static readonly DiagnosticDescriptor AcknowledgementBad = new(
        "KSP5073",
        "An acknowledgement is not complete",
        "the acknowledgement '{0}' {1}",
        DiagnosticSeverity.Error
    );

    public static readonly DiagnosticDescriptor SeverityFixed = new(
        "KSP5074",
        "An error cannot be turned off",
        "{0} is set to '{1}' here, but it protects the running kernel and stays an error; acknowledge it for one object, with a reason",
        DiagnosticSeverity.Warning
    );

    public static readonly DiagnosticDescriptor SeverityIneffective = new(
        "KSP5075",
        "A severity does not count",
        "{0} has no effect here: {1}",
        DiagnosticSeverity.Warning
    );
#pragma warning restore CS1591
}
