namespace Ksplice.Build.Diagnostics;

/// <summary>How much a diagnostic weighs. An error stops the build at the stage that reports it.</summary>
public enum DiagnosticSeverity
{
    /// <summary>Worth reading, changes nothing.</summary>
    Info,

    /// <summary>A person should look; the update is still built.</summary>
    Warning,

    /// <summary>The update is not built.</summary>
    Error,
}

/// <summary>
/// One kind of thing that the engine reports, in the manner of Roslyn's descriptors. Every stage keeps its own in a static
/// class named <c>…Diagnostics</c>; AnalyzerReleases.Unshipped.md lists them all and docs/diagnostics has a page for each.
/// </summary>
/// <param name="Id">KSPnnnn; the thousands name the stage (1 input and patch, 2 build and toolchain, 3 differencing,
/// 4 matching, 5 data and semantics, 6 generation and packaging). Never reused.</param>
/// <param name="Title">A short name of the rule.</param>
/// <param name="MessageFormat">What was found, what was wanted and what to do, for <see cref="string.Format(IFormatProvider, string, object[])"/>.</param>
/// <param name="Severity">The severity it has unless configured otherwise.</param>
public sealed record DiagnosticDescriptor(string Id, string Title, string MessageFormat, DiagnosticSeverity Severity)
{
    /// <summary>The page that explains the rule, below the folder of this project's documentation.</summary>
    public string HelpLink => $"docs/diagnostics/{Id}.md";
}
