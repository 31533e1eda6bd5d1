// SPDX-License-Identifier: MIT
// What is reported of targets, of KSP6001 to KSP6099.
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Targets;

/// <summary>The diagnostics of targets.</summary>
public static class TargetDiagnostics
{
    private static DiagnosticDescriptor Error(string id, string title, string format) => new(id, title, format, DiagnosticSeverity.Error);

    /// <summary>The units together change nothing.</summary>
    public static readonly DiagnosticDescriptor NothingToUpdate = Error(
        "KSP6003",
        "Nothing to update",
        "The patch changes no code of this kernel: before and after, the objects of {0} units are the same"
    );

    /// <summary>A function moved from one unit to another.</summary>
    public static readonly DiagnosticDescriptor FunctionMoved = Error(
        "KSP6004",
        "Function moved to another unit",
        "Function '{0}' moved from {1} to {2}; calls of the old one could not be redirected"
    );

    /// <summary>Module.symvers cannot be used.</summary>
    public static readonly DiagnosticDescriptor BadSymbolVersions = Error(
        "KSP6006",
        "Symbol list not usable",
        "The kernel's symbol list {0} {1}; reinstall the package with the kernel's headers"
    );

    /// <summary>New code of one target needs what another target's primary brings and cannot give it.</summary>
    public static readonly DiagnosticDescriptor BroughtElsewhere = Error(
        "KSP6030",
        "Symbol of another target",
        "New code of {0} refers to '{1}', which {2} brings with the update of {3}: {4}. Bring a copy, static or under a name of its own"
    );

    /// <summary>A unit is not part of one module.</summary>
    public static readonly DiagnosticDescriptor NotOneModule = Error(
        "KSP6031",
        "Unit of no single module",
        "{0} changes, and is linked into {1}; only the kernel itself and modules that are known by one name can be changed"
    );

    /// <summary>A module has to be loaded first.</summary>
    public static readonly DiagnosticDescriptor NotLate = new(
        "KSP6032",
        "Module has to be loaded first",
        "Module {0} has to be loaded when the update is applied, and cannot be unloaded while it is: {1}",
        DiagnosticSeverity.Info
    );
}
