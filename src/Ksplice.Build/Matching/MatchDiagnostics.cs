// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Matching;

/// <summary>What can keep an update from being matched, KSP4001 to KSP4999.</summary>
public static class MatchDiagnostics
{
    /// <summary>KSP4001: code or constant data differs.</summary>
    public static readonly DiagnosticDescriptor Mismatch = Error(
        "KSP4001",
        "The kernel is not the source's",
        "'{0}' does not hold the code that was compiled from the source: {1}; "
            + "the source, the configuration or the compiler is another than the kernel's"
    );

    /// <summary>KSP4002: nothing leads to what new code needs.</summary>
    public static readonly DiagnosticDescriptor Unreachable = Error(
        "KSP4002",
        "A symbol cannot be found by matching",
        "the new code refers to {0}, but no code of the unpatched unit does, so that matching cannot find its address"
    );

    /// <summary>KSP4003: code that the matcher does not understand.</summary>
    public static readonly DiagnosticDescriptor Unmatchable = Error(
        "KSP4003",
        "Code cannot be matched",
        "{0}+0x{1:x} cannot be matched: {2}"
    );

    /// <summary>KSP4004: more than one place matches.</summary>
    public static readonly DiagnosticDescriptor Ambiguous = Error(
        "KSP4004",
        "More than one place matches",
        "'{0}': {1}; the kernel holds {2} that cannot be told apart, and none may be guessed"
    );

    /// <summary>KSP4005: no place to try.</summary>
    public static readonly DiagnosticDescriptor NotFound = Error("KSP4005", "The kernel lacks a symbol", "'{0}': {1}; {2}");

    /// <summary>KSP4006: the redirect has no room.</summary>
    public static readonly DiagnosticDescriptor NoRoom = Error(
        "KSP4006",
        "The redirect does not fit",
        "'{0}': {1}; the function is shorter than a jump, or the kernel may rewrite the bytes that the jump would overwrite"
    );

    /// <summary>KSP4007: an indirect call would fault.</summary>
    public static readonly DiagnosticDescriptor NoEndbr = Error(
        "KSP4007",
        "A function may not be called through a pointer",
        "'{0}' has no ENDBR at the start of {1}, or the kernel overwrites it, and {2} takes its address; "
            + "on a processor with IBT a call through it is a panic"
    );

    /// <summary>KSP4008: a table of another release's layout.</summary>
    public static readonly DiagnosticDescriptor UnknownLayout = Error(
        "KSP4008",
        "A layout of another kernel",
        "{0} of {1}: {2}; the core does not know that layout, which is another release's"
    );

    /// <summary>KSP4060: the name is another unit's.</summary>
    public static readonly DiagnosticDescriptor NotInSequence = Error(
        "KSP4060",
        "The name is another file's",
        "'{0}': {1}; the kernel has {2} of that name, but around none of them stand the functions of this file in their order; "
            + "another file's function is not touched"
    );

    /// <summary>KSP4061: no kernel in the memory.</summary>
    public static readonly DiagnosticDescriptor BadMemory = Error(
        "KSP4061",
        "A kernel's memory cannot be used",
        "'{0}' cannot be matched against: {1}"
    );

    /// <summary>KSP4062: the memory is not of the image.</summary>
    public static readonly DiagnosticDescriptor OtherKernel = Error(
        "KSP4062",
        "The memory is another kernel's",
        "'{0}' holds '{1}', but '{2}' is '{3}'; a run kernel is matched together with the image that it was booted from"
    );

    /// <summary>KSP4063: no image beside the module or the memory.</summary>
    public static readonly DiagnosticDescriptor NoImage = Error(
        "KSP4063",
        "The kernel's image is missing",
        "'{0}' is of kernel {1}, whose image is not at {2}; modules and memory are matched together with it"
    );

    /// <summary>KSP4064: what other updates put in place is in no image.</summary>
    public static readonly DiagnosticDescriptor OnTop = new(
        "KSP4064",
        "Matched when it is applied",
        "The update goes on top of others, and '{0}' does not have their code: {1}; only the running kernel can tell whether it matches",
        DiagnosticSeverity.Info
    );

    /// <summary>KSP4065: the vendor's kernel has other code.</summary>
    public static readonly DiagnosticDescriptor NotInFuture = new(
        "KSP4065",
        "The other kernel has other code",
        "{0} of {1} is not in kernel {2} as the update brings it: {3}",
        DiagnosticSeverity.Warning
    );

    /// <summary>KSP2077: the kernel was not made from this source.</summary>
    public static readonly DiagnosticDescriptor OtherSource = Error(
        "KSP2077",
        "Source and kernel are not one",
        "kernel {0} was not compiled from this source by this compiler in this configuration: of the {2} functions in {3} of its files "
            + "'{1}' has {4}; wanted is the source with all patches that the kernel was built with"
    );

    private static DiagnosticDescriptor Error(string id, string title, string message) => new(id, title, message, DiagnosticSeverity.Error);
}
