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

    /// <summary>KSP2073: no program can be started in the root folder of a toolchain.</summary>
    public static readonly DiagnosticDescriptor CannotEnter = new(
        "KSP2073",
        "The toolchain's root cannot be entered",
        "no program can be run in the toolchain's root {0}: {1}; build where user namespaces are allowed "
            + "(the sysctl user.max_user_namespaces is not 0), or as root, or without KernelToolchain",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2075: a path where a toolchain's root has its own files.</summary>
    public static readonly DiagnosticDescriptor Hidden = new(
        "KSP2075",
        "A path that the toolchain's root hides",
        "{0} is '{1}', and programs in the toolchain's root {2} do not see it: of {3} they see what the root has; put it elsewhere",
        DiagnosticSeverity.Error
    );
}
