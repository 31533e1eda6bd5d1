using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Analysis;

/// <summary>What can be wrong with the analysis itself, KSP5070 to KSP5079.</summary>
public static class AnalysisDiagnostics
{
#pragma warning disable CS1591 // Titles and messages say it.
    public static readonly DiagnosticDescriptor AnalyzerFailed = new("KSP5070", "An analyzer failed",
        "the analyzer {0} threw {1}: {2} ({3}); what it checks is not checked. Mend it, or take it out of the project's KspliceAnalyzer items", DiagnosticSeverity.Error);

    public static readonly DiagnosticDescriptor AnalyzerNotLoaded = new("KSP5071", "An analyzer cannot be loaded",
        "the KspliceAnalyzer item '{0}' {1}", DiagnosticSeverity.Error);
#pragma warning restore CS1591
}
