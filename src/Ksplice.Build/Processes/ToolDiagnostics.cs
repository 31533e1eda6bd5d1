// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Processes;

/// <summary>What can be wrong with the programs that a build runs.</summary>
public static class ToolDiagnostics
{
    /// <summary>KSP2014: a program is missing, or cannot be executed.</summary>
    public static readonly DiagnosticDescriptor CannotRun = new(
        "KSP2014",
        "A program cannot be run",
        "'{0}' cannot be run: {1}; {2}",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2054: a path with a character that a program takes for something else.</summary>
    public static readonly DiagnosticDescriptor BadPath = new(
        "KSP2054",
        "A path that the tools cannot take",
        "{0} is '{1}', and {2} cannot take {3} in a path; {4}",
        DiagnosticSeverity.Error
    );
}
