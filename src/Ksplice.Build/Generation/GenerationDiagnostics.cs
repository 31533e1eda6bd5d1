// SPDX-License-Identifier: MIT
// What generation and packaging report, KSP6001 to KSP6099 without those of Targets/TargetDiagnostics.cs.
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Generation;

/// <summary>The diagnostics of generation and packaging.</summary>
public static class GenerationDiagnostics
{
    private static DiagnosticDescriptor Error(string id, string title, string format) => new(id, title, format, DiagnosticSeverity.Error);

    /// <summary>New code refers to something that matching does not resolve.</summary>
    public static readonly DiagnosticDescriptor UnresolvedSymbol = Error(
        "KSP6001",
        "Symbol not resolved",
        "New code of {0} refers to {1}, which is neither exported by the kernel nor among what matching resolves"
    );

    /// <summary>A replaced function is not in the match data.</summary>
    public static readonly DiagnosticDescriptor FunctionNotMatched = Error(
        "KSP6002",
        "Function not in the match data",
        "Replaced function '{0}' of {1} is not in the match data"
    );

    /// <summary>Two units bring the same global name.</summary>
    public static readonly DiagnosticDescriptor DuplicateGlobal = Error(
        "KSP6005",
        "Global name defined twice",
        "Both {1} and {2} bring the global symbol '{0}'"
    );

    /// <summary>kbuild failed.</summary>
    public static readonly DiagnosticDescriptor KernelBuildFailed = Error(
        "KSP6007",
        "Module build failed",
        "Building {0} with {1} failed: {2}"
    );

    /// <summary>make said something that is no error.</summary>
    public static readonly DiagnosticDescriptor KernelBuildWarning = new(
        "KSP6008",
        "Module build warned",
        "Building {0}: {1}",
        DiagnosticSeverity.Warning
    );

    /// <summary>The headers package is missing.</summary>
    public static readonly DiagnosticDescriptor HeadersMissing = Error(
        "KSP6009",
        "Kernel headers missing",
        "{0} has no Makefile and Module.symvers; install linux-headers-{1}"
    );

    /// <summary>A static key of the running kernel is read-only after init.</summary>
    public static readonly DiagnosticDescriptor ReadOnlyKey = Error(
        "KSP6010",
        "Static key is read-only",
        "'{0}' of {1} branches on '{2}', which is read-only after init in {3}: loading a module with such a branch would fault (K4)"
    );

    /// <summary>An update package is damaged.</summary>
    public static readonly DiagnosticDescriptor DamagedPackage = Error("KSP6011", "Package damaged", "Update package {0}: {1}");

    /// <summary>The image does not say where read-only-after-init memory is.</summary>
    public static readonly DiagnosticDescriptor NoReadOnlyBounds = Error(
        "KSP6012",
        "Read-only memory not found",
        "{0} has no symbols __start_ro_after_init and __end_ro_after_init; whether new code's static keys can be written cannot be told"
    );

    /// <summary>What is to be signed with cannot be used.</summary>
    public static readonly DiagnosticDescriptor SigningNotPossible = Error(
        "KSP6050",
        "Update not signed",
        "The update cannot be signed: {0}"
    );

    /// <summary>The primary could never be unloaded.</summary>
    public static readonly DiagnosticDescriptor Pinned = new(
        "KSP6013",
        "Update cannot be unloaded",
        "Once applied, the primary module stays loaded, also after an undo: '{0}' of {1} hands out the address of {2}",
        DiagnosticSeverity.Info
    );
}
