namespace Ksplice.Build.Diagnostics;

/// <summary>What can be wrong with a patch project as such, KSP2020 to KSP2029.</summary>
public static class ProjectDiagnostics
{
    /// <summary>KSP2020: a file system error.</summary>
    public static readonly DiagnosticDescriptor FileProblem = Error("KSP2020", "A file cannot be read or written", "{0}");

    /// <summary>KSP2021: an object file is malformed.</summary>
    public static readonly DiagnosticDescriptor MalformedObject = Error("KSP2021", "An object is malformed", "{0}; clean and build again");

    /// <summary>KSP2022: KernelRelease is not set.</summary>
    public static readonly DiagnosticDescriptor NoRelease = Error("KSP2022", "No kernel release is named",
        "the project does not say which kernel it is for; set KernelRelease to what `uname -r` shows there, <KernelRelease>6.1.0-56-cloud-amd64</KernelRelease>");

    /// <summary>KSP2023: no KernelPatch items.</summary>
    public static readonly DiagnosticDescriptor NoPatch = Error("KSP2023", "No patch is named",
        "the project has no KernelPatch item; add <KernelPatch Include=\"*.patch\" />");


    private static DiagnosticDescriptor Error(string id, string title, string message) => new(id, title, message, DiagnosticSeverity.Error);
}
