// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Analysis;

/// <summary>What a patch does to types, KSP5001 to KSP5099.</summary>
public static class TypeDiagnostics
{
#pragma warning disable CS1591 // Titles and messages say it.
    public static readonly DiagnosticDescriptor SizeChanged = Error(
        "KSP5001",
        "A type's size changes",
        "the size of {0} changes from {1} to {2} bytes; objects of the old size are live in the running kernel{3}"
    );

    public static readonly DiagnosticDescriptor MemberChanged = Error(
        "KSP5002",
        "A member of a type changes",
        "{0}: member '{1}' {2}; objects of the old layout are live in the running kernel{3}"
    );

    public static readonly DiagnosticDescriptor EnumChanged = Error(
        "KSP5003",
        "An enum changes",
        "{0}: '{1}' {2}; code that is not replaced was compiled with the old values"
    );

    public static readonly DiagnosticDescriptor PrototypeChanged = Error(
        "KSP5004",
        "The prototype of a global function changes",
        "the prototype of {0} changes from '{1}' to '{2}'; {3}"
    );

    public static readonly DiagnosticDescriptor VariableChanged = Error(
        "KSP5005",
        "The type of a variable changes",
        "the type of {0} changes from '{1}' to '{2}'; the running kernel's variable has the old type"
    );

    public static readonly DiagnosticDescriptor TypedefChanged = Error(
        "KSP5006",
        "A typedef changes",
        "typedef {0} changes from '{1}' to '{2}'; objects of the old type are live in the running kernel"
    );

    public static readonly DiagnosticDescriptor NoTypes = new(
        "KSP5007",
        "An object has no type information",
        "the {0} object has no .BTF section, so its types cannot be compared; the compiler must know -gbtf",
        DiagnosticSeverity.Error
    );

    public static readonly DiagnosticDescriptor OtherKernel = new(
        "KSP5008",
        "A type is not the running kernel's",
        "{0} is not what the image of {1} has: {2}; the unit was compiled with another configuration or source than the kernel",
        DiagnosticSeverity.Error
    );

    public static readonly DiagnosticDescriptor OnStacksOnly = new(
        "KSP5009",
        "A changed type lives on stacks only",
        "{0} changes, but it lives only on the stacks of functions that are all replaced ({1}); "
            + "no update is applied while one of them runs",
        DiagnosticSeverity.Info
    );

    public static readonly DiagnosticDescriptor CallersReplaced = new(
        "KSP5010",
        "A changed prototype has no caller outside",
        "the prototype of {0} changes from '{1}' to '{2}', "
            + "and nothing in the running kernel outside of the update calls it or holds its address",
        DiagnosticSeverity.Info
    );
#pragma warning restore CS1591

    private static DiagnosticDescriptor Error(string id, string title, string message) =>
        new(id, title, message, DiagnosticSeverity.Error) { CanBeAcknowledged = true };
}
