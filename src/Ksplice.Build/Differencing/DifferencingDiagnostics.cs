// SPDX-License-Identifier: MIT
// What differencing reports, KSP3001 to KSP3099.
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Differencing;

/// <summary>The diagnostics of pre-post differencing.</summary>
public static class DifferencingDiagnostics
{
    private static DiagnosticDescriptor Error(string id, string title, string format) => new(id, title, format, DiagnosticSeverity.Error);

    // The running kernel's copy stays as it is: a hook can put it right.
    private static DiagnosticDescriptor Acknowledgeable(string id, string title, string format) =>
        Error(id, title, format) with
        {
            CanBeAcknowledged = true,
        };

    /// <summary>A variable or constant that the running kernel has differs.</summary>
    public static readonly DiagnosticDescriptor ChangedData = Acknowledgeable(
        "KSP3001",
        "Data changed",
        "'{0}' changes at offset 0x{1:x} in {2}: {3}. The running kernel's copy is live and is not replaced; "
            + "change it in a ksplice_apply hook"
    );

    /// <summary>A variable of the running kernel is gone.</summary>
    public static readonly DiagnosticDescriptor RemovedData = Acknowledgeable(
        "KSP3002",
        "Data removed",
        "Variable '{0}' is gone from {1}; what it holds in the running kernel would be lost. Keep it, or move its value in a hook"
    );

    /// <summary>Numbered symbols cannot be told apart.</summary>
    public static readonly DiagnosticDescriptor Ambiguous = Error(
        "KSP3003",
        "Symbols cannot be told apart",
        "'{0}' of {1} may be any of {2} in the running kernel. Give the variables names of their own, or leave one of their users unchanged"
    );

    /// <summary>An init function differs.</summary>
    public static readonly DiagnosticDescriptor InitChanged = Acknowledgeable(
        "KSP3004",
        "Init code changed",
        "'{0}' changes at offset 0x{1:x} in {2}: {3}. Init and exit code has run or will not run; {4}"
    );

    /// <summary>Exports, initcalls, parameters or module information differ.</summary>
    public static readonly DiagnosticDescriptor DroppedSectionChanged = Acknowledgeable(
        "KSP3005",
        "Boot-time section changed",
        "Section {0} of {1} changes: {2}. The kernel reads it only when it boots or loads the module"
    );

    /// <summary>A section of unknown meaning matters.</summary>
    public static readonly DiagnosticDescriptor UnknownSection = Error(
        "KSP3006",
        "Unknown section",
        "Section {0} of {1} {2}, and it is not known what the kernel does with it"
    );

    /// <summary>Code that cannot be put into a module.</summary>
    public static readonly DiagnosticDescriptor ImmovableCode = Error(
        "KSP3007",
        "Code cannot be moved",
        "'{0}' of {1} cannot be put into a module: {2}"
    );

    /// <summary>New code points into the middle of something.</summary>
    public static readonly DiagnosticDescriptor MiddleReference = Error(
        "KSP3008",
        "Reference into a function",
        "'{0}' of {1} refers to {2}, inside a function; its place in the running kernel is not known"
    );

    /// <summary>New code refers to init memory.</summary>
    public static readonly DiagnosticDescriptor InitReference = Error(
        "KSP3009",
        "Reference to init memory",
        "'{0}' of {1} refers to {2} in section {3}, which the running kernel has freed or does not have"
    );

    /// <summary>A static key is in memory that is read-only after init.</summary>
    public static readonly DiagnosticDescriptor ReadOnlyKey = Error(
        "KSP3010",
        "Static key is read-only",
        "'{0}' of {1} branches on '{2}', which is read-only after init: loading a module with such a branch would fault (K4)"
    );

    /// <summary>A new per-CPU variable is in a subsection that modules do not have.</summary>
    public static readonly DiagnosticDescriptor PerCpuSection = Error(
        "KSP3011",
        "Per-CPU section not available to modules",
        "New per-CPU variable '{0}' of {1} is in section {2}; modules have {3} only"
    );

    /// <summary>A tracepoint or its like differs.</summary>
    public static readonly DiagnosticDescriptor CollectedChanged = Error(
        "KSP3012",
        "Collected section changed",
        "'{0}' in section {1} of {2} is {3}; the kernel collects that section when it boots (tracepoints, syscall metadata and their like)"
    );

    /// <summary>A function is in code that must not be redirected.</summary>
    public static readonly DiagnosticDescriptor SectionNotReplaceable = Error(
        "KSP3013",
        "Function cannot be replaced",
        "'{0}' of {1} is in section {2}, whose code must not leave its place"
    );

    /// <summary>The object is malformed.</summary>
    public static readonly DiagnosticDescriptor MalformedObject = Error("KSP3014", "Object not understood", "Object of {0}: {1}");

    /// <summary>A function is gone.</summary>
    public static readonly DiagnosticDescriptor FunctionRemoved = new(
        "KSP3015",
        "Function removed",
        "Function '{0}' of {1} is gone; it stays in the running kernel, where replaced code calls it no more",
        DiagnosticSeverity.Info
    );

    /// <summary>A function is gone but still used.</summary>
    public static readonly DiagnosticDescriptor RemovedStillUsed = Error(
        "KSP3016",
        "Removed function still used",
        "Function '{0}' of {1} is gone, but {2} refers to it"
    );

    /// <summary>A message is new, gone or changed.</summary>
    public static readonly DiagnosticDescriptor MessageIndexStays = new(
        "KSP3018",
        "Index of messages unchanged",
        "Messages of {0} are new, gone or changed; the running kernel's index of messages (printk/index in debugfs) stays as it is",
        DiagnosticSeverity.Info
    );

    /// <summary>A static call is new, or code of a kind that a module cannot have.</summary>
    public static readonly DiagnosticDescriptor NewFixedCode = Error(
        "KSP3019",
        "New code that only the kernel itself can have",
        "'{0}' of {1} is new and in section {2}: {3}"
    );

    /// <summary>A function has a second entry.</summary>
    public static readonly DiagnosticDescriptor InnerEntry = Error(
        "KSP3040",
        "Function with a second entry",
        "'{0}' of {1} is to be replaced and has the global label '{2}' inside, by which other code enters it behind the redirect"
    );

    /// <summary>Code that cannot be redirected.</summary>
    public static readonly DiagnosticDescriptor NotAFunction = Error(
        "KSP3041",
        "Changed code is no function",
        "The code '{0}' of {1} is to be replaced and is no function: {2}, and a redirect is for functions only"
    );

    /// <summary>A new variable is in a section that only the kernel's image has.</summary>
    public static readonly DiagnosticDescriptor ImageSection = Error(
        "KSP3042",
        "Section not available to modules",
        "New variable '{0}' of {1} is in section {2}, which gets its meaning from its place in the kernel's image; "
            + "in a module it would be ordinary memory"
    );

    /// <summary>An export is new or gone.</summary>
    public static readonly DiagnosticDescriptor ExportChanged = new(
        "KSP3017",
        "Export added or removed",
        "The export of '{0}' in {1} is {2}; the running kernel's table of exports stays as it is",
        DiagnosticSeverity.Warning
    );
}
