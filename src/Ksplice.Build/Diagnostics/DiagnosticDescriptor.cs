// SPDX-License-Identifier: MIT
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
/// class named <c>…Diagnostics</c>; AnalyzerReleases.Shipped.md and .Unshipped.md list them all and docs/diagnostics has a page for each.
/// </summary>
/// <param name="Id">KSPnnnn; the thousands name the stage (1 input and patch, 2 build and toolchain, 3 differencing,
/// 4 matching, 5 data and semantics, 6 generation and packaging). Never reused.</param>
/// <param name="Title">A short name of the rule.</param>
/// <param name="MessageFormat">What was found, what was wanted and what to do, for
/// <see cref="string.Format(IFormatProvider, string, object[])"/>.</param>
/// <param name="Severity">The severity it has unless configured otherwise. An error protects the
/// kernel: no configuration lowers it.</param>
public sealed record DiagnosticDescriptor(string Id, string Title, string MessageFormat, DiagnosticSeverity Severity)
{
    /// <summary>The group that the rule belongs to; the stage's name for the project's own rules.</summary>
    public string Category
    {
        get => field ?? OwnCategory(Id);
        init;
    }

    /// <summary>The page that explains the rule: a file of this project's documentation, or an address for a rule of others.</summary>
    public string HelpLink
    {
        get => field ?? $"docs/diagnostics/{Id}.md";
        init;
    }

    /// <summary>True for an error that a person may take over, one named object at a time (<see cref="Acknowledgement"/>): what it
    /// warns of can be put right by a hook. Other errors mean that the update cannot be made.</summary>
    public bool CanBeAcknowledged { get; init; }

    private static string OwnCategory(string id) =>
        id.StartsWith("KSP", StringComparison.Ordinal) && id.Length > 4
            ? id[3] switch
            {
                '1' => string.CompareOrdinal(id, "KSP1010") < 0 ? "Input" : "Patching",
                '2' => "Build",
                '3' => "Differencing",
                '4' => "Matching",
                '5' => "Analysis",
                '6' => "Generation",
                _ => "Other",
            }
            : "Other";
}
