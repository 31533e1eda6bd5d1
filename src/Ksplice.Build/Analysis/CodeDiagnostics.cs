// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Analysis;

/// <summary>What speaks against new code where it runs, KSP5011 to KSP5022.</summary>
public static class CodeDiagnostics
{
#pragma warning disable CS1591 // Titles and messages say it.
    public static readonly DiagnosticDescriptor UsedWhilePatching = new(
        "KSP5011",
        "Code is used while patching",
        "'{0}' runs while the redirects are written ({1}); it would be changed under itself. Change a caller of it instead",
        DiagnosticSeverity.Error
    )
    {
        CanBeAcknowledged = true,
    };

    public static readonly DiagnosticDescriptor RunsInNmi = new(
        "KSP5012",
        "Code may run in an NMI",
        "'{0}' may run in an NMI ({1}), which comes while the machine is stopped and may meet a half-written jump; "
            + "the function tracer, which needs no jump, has no site in it",
        DiagnosticSeverity.Error
    )
    {
        CanBeAcknowledged = true,
    };

    public static readonly DiagnosticDescriptor NeverLeft = new(
        "KSP5013",
        "A thread never leaves the function",
        "'{0}' is on the stack of a thread for good ({1}), so the update would never be applied. Change a function that it calls instead",
        DiagnosticSeverity.Error
    )
    {
        CanBeAcknowledged = true,
    };

    public static readonly DiagnosticDescriptor LongWait = new(
        "KSP5014",
        "A thread may wait long in the function",
        "'{0}' waits in a loop ({1}); user threads that wait there are interrupted, others keep the update from being applied (code_busy)",
        DiagnosticSeverity.Warning
    );

    public static readonly DiagnosticDescriptor PairsDiffer = new(
        "KSP5015",
        "Acquire and release differ",
        "'{0}' may return with another count of '{1}' than before: {2} before, {3} now (acquired less released, over all paths). "
            + "What was acquired by the old code may be released by the new",
        DiagnosticSeverity.Warning
    );

    public static readonly DiagnosticDescriptor ExportChecksum = new(
        "KSP5016",
        "An export's checksum changes",
        "{0} is part of the type of {1}, exported: modules that were built before and after disagree about it, "
            + "and the running kernel's checksum stays",
        DiagnosticSeverity.Warning
    );

    public static readonly DiagnosticDescriptor OnlyInModule = new(
        "KSP5017",
        "Symbol only in a module",
        "'{0}' calls or uses '{1}', which only the loadable module {2} exports; the kernel itself cannot depend on a module",
        DiagnosticSeverity.Error
    );

    public static readonly DiagnosticDescriptor HookInRealTimeStop = new(
        "KSP5018",
        "A hook runs in the stop of a real-time kernel",
        "'{0}' is a hook of kind {1}, which runs while the machine is stopped, and kernel {2} has PREEMPT_RT: "
            + "there a holder of a spinlock may have been stopped in the middle, "
            + "and what the hook sees may be half updated. Do its work in a pre_* or post_* hook, under the lock",
        DiagnosticSeverity.Error
    );

    public static readonly DiagnosticDescriptor HookWaitsForModules = new(
        "KSP5019",
        "A hook waits for modules",
        "'{0}', a hook of kind {1}, calls {2}{3}, which {4}: "
            + "the request would wait for modules with no bound and no way to end it, perhaps for one that this update changes. "
            + "Do this before the update is applied, or in new code that runs later",
        DiagnosticSeverity.Error
    );

    public static readonly DiagnosticDescriptor HookSleeps = new(
        "KSP5020",
        "A hook sleeps in the stop",
        "'{0}', a hook of kind {1}, sleeps whenever it runs ({2}): it runs while the machine is stopped, and to sleep there is a panic. "
            + "Do this in a pre_* or post_* hook",
        DiagnosticSeverity.Error
    );

    public static readonly DiagnosticDescriptor HookMaySleep = new(
        "KSP5021",
        "A hook may sleep in the stop",
        "'{0}', a hook of kind {1}, may sleep ({2}): it runs while the machine is stopped, and to sleep there is a panic",
        DiagnosticSeverity.Warning
    );

    public static readonly DiagnosticDescriptor NameTaken = new(
        "KSP5022",
        "The kernel has a function of the name",
        "the new function '{0}' has the name of {1} of the running kernel, which the kernel's other callers would go on to call; "
            + "change that function, or give the new one another name",
        DiagnosticSeverity.Error
    );
#pragma warning restore CS1591
}
