// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Diagnostics;

/// <summary>What can be wrong with a patch project as such, KSP2020 to KSP2029 and from KSP2040 on.</summary>
public static class ProjectDiagnostics
{
    /// <summary>KSP2020: a file system error.</summary>
    public static readonly DiagnosticDescriptor FileProblem = Error("KSP2020", "A file cannot be read or written", "{0}");

    /// <summary>KSP2021: an object file is malformed.</summary>
    public static readonly DiagnosticDescriptor MalformedObject = Error("KSP2021", "An object is malformed", "{0}; clean and build again");

    /// <summary>KSP2022: KernelRelease is not set.</summary>
    public static readonly DiagnosticDescriptor NoRelease = Error(
        "KSP2022",
        "No kernel release is named",
        "the project does not say which kernel it is for; set KernelRelease to what `uname -r` shows there, "
            + "<KernelRelease>6.1.0-56-cloud-amd64</KernelRelease>"
    );

    /// <summary>KSP2023: no KernelPatch items.</summary>
    public static readonly DiagnosticDescriptor NoPatch = Error(
        "KSP2023",
        "No patch is named",
        "the project has no KernelPatch item; add <KernelPatch Include=\"*.patch\" />"
    );

    /// <summary>KSP2024: it is not said which update a patch below belongs to.</summary>
    public static readonly DiagnosticDescriptor NoUpdateOfBase = Error(
        "KSP2024",
        "A base patch does not say its update",
        "KernelBasePatch {0} {1}; set it to the id of the applied update that brought the patch, as `ksplice view` shows it: "
            + "<KernelBasePatch Include=\"{0}\" UpdateId=\"0123abcd\" />, or name that update's package as KernelBaseUpdate"
    );

    /// <summary>KSP2025: the patches of one update below are not listed one after the other.</summary>
    public static readonly DiagnosticDescriptor BaseApart = Error(
        "KSP2025",
        "Base patches of one update stand apart",
        "KernelBasePatch {0} is of update {1}, and stands behind patches of update {2}; "
            + "list the patches of each update together, those of the lowest update first"
    );

    /// <summary>KSP2026: an update below is for another kernel.</summary>
    public static readonly DiagnosticDescriptor BaseOfOtherKernel = Error(
        "KSP2026",
        "A base update is for another kernel",
        "update {0} is for kernel {1}, this project is for {2}; build the base for {2} too"
    );

    /// <summary>KSP2027: two places disagree about an update below.</summary>
    public static readonly DiagnosticDescriptor BasesDiffer = Error(
        "KSP2027",
        "Two base updates of one id differ",
        "update {0} has other patches here than in {1}; one of them is not what is applied"
    );

    /// <summary>KSP2028: a file that a build wrote is damaged.</summary>
    public static readonly DiagnosticDescriptor DamagedFile = Error(
        "KSP2028",
        "A file of the build is damaged",
        "'{0}' is damaged: {1}; {2}"
    );

    /// <summary>KSP2029: a property or item that nobody reads.</summary>
    public static readonly DiagnosticDescriptor UnknownName = Warning(
        "KSP2029",
        "A name that the Sdk does not read",
        "the Sdk reads no {0} '{1}'; the nearest that it reads is '{2}'"
    );

    /// <summary>KSP2040: a pattern of an item matches no file.</summary>
    public static readonly DiagnosticDescriptor NoFileOfPattern = Warning(
        "KSP2040",
        "A pattern matches no file",
        "'{0}' of {1} matches no file"
    );

    /// <summary>KSP2050: publishing or packing found no package.</summary>
    public static readonly DiagnosticDescriptor NoPackage = Error(
        "KSP2050",
        "There is no update to publish or pack",
        "{0}; build the project first, or publish and pack without --no-build"
    );

    /// <summary>KSP2052: the version cannot be part of a file name.</summary>
    public static readonly DiagnosticDescriptor BadVersion = Error(
        "KSP2052",
        "A version of another form",
        "'{0}' cannot be UpdateVersion: wanted are at most 64 letters, digits and . + ~ - with a letter or digit in front, such as 1.2-rc1"
    );

    /// <summary>KSP2053: no id of an advisory.</summary>
    public static readonly DiagnosticDescriptor BadAdvisory = Error(
        "KSP2053",
        "An advisory of another form",
        "'{0}' cannot be an UpdateAdvisory; wanted is one id for each item, such as CVE-2022-0847 or DSA-5092-1"
    );

    /// <summary>KSP2055: of several kernels some have no update.</summary>
    public static readonly DiagnosticDescriptor ReleasesMissing = Error(
        "KSP2055",
        "Not every kernel has an update",
        "an update of KernelReleases was not built, for the reasons above; {0} is written when all are built"
    );

    /// <summary>KSP2058: the name of who builds is no URI.</summary>
    public static readonly DiagnosticDescriptor BadBuilder = Error(
        "KSP2058",
        "The builder's name is no URI",
        "'{0}' cannot be KspliceBuilderId; wanted is a URI, such as https://ci.example/runners/kernel"
    );

    /// <summary>KSP2060: no kernel to look for the new code in.</summary>
    public static readonly DiagnosticDescriptor NoFuture = Error(
        "KSP2060",
        "No kernel is named to look for the new code in",
        "KspliceVerifyFuture needs a kernel with the fix: set KernelFutureRelease to its release, or KernelFutureImage to its image"
    );

    private static DiagnosticDescriptor Warning(string id, string title, string message) =>
        new(id, title, message, DiagnosticSeverity.Warning);

    private static DiagnosticDescriptor Error(string id, string title, string message) => new(id, title, message, DiagnosticSeverity.Error);
}
