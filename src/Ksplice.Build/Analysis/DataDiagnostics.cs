// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Analysis;

/// <summary>What KSP3001 is called where more is known of the data, KSP3043 to KSP3051.</summary>
public static class DataDiagnostics
{
#pragma warning disable CS1591 // Titles and messages say it.
    public static readonly DiagnosticDescriptor OperationsChanged = Error(
        "KSP3043",
        "A table of operations changes",
        "The running kernel goes on calling by the old table. Keep the pointer and change the function that it leads to, "
            + "or write the table in a hook"
    );

    public static readonly DiagnosticDescriptor ParameterChanged = Error(
        "KSP3044",
        "A module parameter's variable changes",
        "It was set at boot or by the administrator since. Set it in a ksplice_apply hook, if it still has the old default"
    );

    public static readonly DiagnosticDescriptor SysctlChanged = Error(
        "KSP3045",
        "A sysctl table changes",
        "The table was registered at boot; what was read out of it then stays. "
            + "Change the handler's code, or the entry's data in a ksplice_apply hook"
    );

    public static readonly DiagnosticDescriptor ReadOnlyAfterInitChanged = Error(
        "KSP3046",
        "Data that is read-only after init changes",
        "Its memory was sealed after boot, so a hook cannot simply store to it: write it with text_poke_kgdb() in a ksplice_apply hook"
    );

    public static readonly DiagnosticDescriptor PerCpuChanged = Error(
        "KSP3047",
        "Per-CPU data changes",
        "Each CPU has had a copy of its own since boot. Change all of them in a ksplice_apply hook, with for_each_possible_cpu()"
    );

    public static readonly DiagnosticDescriptor StaticLocalChanged = Error(
        "KSP3048",
        "A function's static variable changes",
        "It has kept its state since boot, also for the new code. Reset it in a hook, or give the new variable another name"
    );

    public static readonly DiagnosticDescriptor ReadOnlyChanged = Error(
        "KSP3049",
        "Read-only data changes",
        "The running kernel reads its own copy, which a hook can write with text_poke_kgdb() only. Change the code that reads it instead"
    );

    public static readonly DiagnosticDescriptor EnumTableGrew = Error(
        "KSP3050",
        "A table indexed by an enum grows",
        "The running kernel's table has no entry for the new constant, and new code would read behind its end"
    );

    public static readonly DiagnosticDescriptor NewData = new(
        "KSP3051",
        "The update brings data",
        "'{0}' of {1} is new: {2} bytes {3}. It has that value when the update is loaded, "
            + "and its state is gone when the update is unloaded",
        DiagnosticSeverity.Info
    );
#pragma warning restore CS1591

    private static DiagnosticDescriptor Error(string id, string title, string advice) =>
        new(id, title, "'{0}' changes at offset 0x{1:x} in {2}: {3}. " + advice, DiagnosticSeverity.Error) { CanBeAcknowledged = true };
}
