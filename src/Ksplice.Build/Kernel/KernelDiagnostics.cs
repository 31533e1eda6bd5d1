// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Kernel;

/// <summary>What can be wrong with a kernel release's files and tools.</summary>
public static class KernelDiagnostics
{
    /// <summary>KSP1001: the image cannot be unpacked or is no kernel.</summary>
    public static readonly DiagnosticDescriptor BadImage = new(
        "KSP1001",
        "The kernel image cannot be read",
        "'{0}' is not a kernel image that can be used: {1}; wanted is a vmlinuz or vmlinux of an x86-64 kernel, "
            + "as the linux-image package installs it",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP1002: the source tarball cannot be unpacked.</summary>
    public static readonly DiagnosticDescriptor BadSource = new(
        "KSP1002",
        "The kernel source cannot be unpacked",
        "'{0}' cannot be unpacked: {1}; wanted is a kernel source tree or a tarball of one, as the linux-source package installs it",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2001: no headers.</summary>
    public static readonly DiagnosticDescriptor MissingHeaders = new(
        "KSP2001",
        "The kernel headers are missing",
        "no headers of kernel {0} were found (looked at {1}); install the package linux-headers-{0} or set KernelHeaders{3}",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2002: no configuration.</summary>
    public static readonly DiagnosticDescriptor MissingConfig = new(
        "KSP2002",
        "The kernel configuration is missing",
        "no configuration of kernel {0} was found (looked at {1}); install the package linux-headers-{0} or set KernelConfig",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2003: no image.</summary>
    public static readonly DiagnosticDescriptor MissingImage = new(
        "KSP2003",
        "The kernel image is missing",
        "no image of kernel {0} was found (looked at {1}); install the package linux-image-{0} or set KernelImage",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2004: no source.</summary>
    public static readonly DiagnosticDescriptor MissingSource = new(
        "KSP2004",
        "The kernel source is missing",
        "no source of kernel {0} was found (looked at {1}); install the package linux-source-{2} or set KernelSource",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2005: the source is of another version.</summary>
    public static readonly DiagnosticDescriptor WrongSourceVersion = new(
        "KSP2005",
        "The kernel source is of another version",
        "'{0}' is the source of Linux {1}, but kernel {2} was built from Linux {3}; "
            + "install linux-source of version {3} or set KernelSource",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2006: another compiler.</summary>
    public static readonly DiagnosticDescriptor WrongCompiler = new(
        "KSP2006",
        "The compiler is not the kernel's",
        "kernel {0} was built by '{1}', but {2}; install the package {3} in that version",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2007: the image is of another release.</summary>
    public static readonly DiagnosticDescriptor WrongImage = new(
        "KSP2007",
        "The kernel image is of another release",
        "'{0}' is the image of kernel {1}, wanted is {2}; install the package linux-image-{2} or set KernelImage",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2008: the tree could not be prepared.</summary>
    public static readonly DiagnosticDescriptor PrepareFailed = new(
        "KSP2008",
        "The kernel tree cannot be prepared",
        "'{0}' failed with exit code {1} for kernel {2}: {3}",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2009: gcc refused a unit.</summary>
    public static readonly DiagnosticDescriptor CompilerError = new("KSP2009", "A unit does not compile", "{0}", DiagnosticSeverity.Error);

    /// <summary>KSP2010: objtool refused a unit.</summary>
    public static readonly DiagnosticDescriptor ObjtoolFailed = new(
        "KSP2010",
        "objtool refuses a unit",
        "objtool failed on {0}: {1}",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2011: the post compile saw an unpatched file.</summary>
    public static readonly DiagnosticDescriptor UnpatchedInclude = new(
        "KSP2011",
        "A patched unit includes an unpatched file",
        "the patched {0} was compiled with the unpatched '{1}'; the object was discarded, since it would mix old and new declarations",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2012: the configuration is another kernel's.</summary>
    public static readonly DiagnosticDescriptor WrongConfig = new(
        "KSP2012",
        "The configuration is not the kernel's",
        "'{0}' is not the configuration that the headers of kernel {1} were made with ({2}): {3}",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2013: the unit list of the configuration could not be read.</summary>
    public static readonly DiagnosticDescriptor NoUnits = new(
        "KSP2013",
        "The kernel's compile commands are not known",
        "'{0}' printed no compile commands for kernel {1}; the prepared tree {2} may be damaged: delete it and build again",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2056: code that no update can replace is reached, and cannot be compiled to see whether it changes.</summary>
    public static readonly DiagnosticDescriptor ApartNotCompiled = new(
        "KSP2056",
        "Whether the patch changes code that no update can replace is not known",
        "the change of {0} reaches {1}, which is compiled into {2}, and {1} cannot be compiled here, patched or not, "
            + "to see whether it changes: {3}",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2059: the kernel is newer than every one on which this project was tested.</summary>
    public static readonly DiagnosticDescriptor UntestedKernel = new(
        "KSP2059",
        "The kernel is newer than those that were tested",
        "kernel {0} is Linux {1}, and the newest on which updates were tested is {2}: take a newer version of the Sdk, or set "
            + "KernelMayBeUntested to true and try the update on a machine that may fail",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2070: no update can be made for a kernel that is built in this way.</summary>
    public static readonly DiagnosticDescriptor UnsupportedKernel = new(
        "KSP2070",
        "No update can be made for such a kernel",
        "kernel {0} is built for or with {1} ({2}), and no update can be made for it: {3}",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2071: the compiler is the kernel's in another patch level.</summary>
    public static readonly DiagnosticDescriptor OtherPatchLevel = new(
        "KSP2071",
        "The compiler has another patch level than the kernel's",
        "kernel {0} was built by '{1}', and '{2}' is '{3}'; what it compiles is held against the kernel's image, "
            + "so a difference that matters fails the build; install the package {4} in the kernel's version, or set KernelCompiler",
        DiagnosticSeverity.Warning
    );

    /// <summary>KSP2072: the root folder of a toolchain is not there.</summary>
    public static readonly DiagnosticDescriptor MissingToolchain = new(
        "KSP2072",
        "The toolchain's root is missing",
        "the toolchain's root '{0}' does not exist; make it with 'build/setup --release {1}', or set KernelToolchain to a folder "
            + "with the system that built the kernel, or to / for this machine's compiler",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2074: the root folder of a toolchain lacks programs that kbuild runs.</summary>
    public static readonly DiagnosticDescriptor IncompleteToolchain = new(
        "KSP2074",
        "The toolchain's root lacks programs",
        "the toolchain's root {0} has no {1}; install the packages {2} there, or make a root with 'build/setup --release {3}'",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2076: the kernel's configuration cannot be had here.</summary>
    public static readonly DiagnosticDescriptor LostOptions = new(
        "KSP2076",
        "The kernel's configuration cannot be had",
        "the configuration of kernel {0} does not stay as it is with this source and these tools: {1}; a program that the options "
            + "depend on is missing or another one (pahole, of the package dwarves, for those with BTF), or the source is not the kernel's",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2051: the source is of another revision of Debian's package.</summary>
    public static readonly DiagnosticDescriptor OtherRevision = new(
        "KSP2051",
        "The kernel source is of another revision",
        "'{0}' is of linux-source {1}, but kernel {2} is of {3}: a function may differ that no patch of yours touches; "
            + "install linux-source in version {3} or set KernelSource",
        DiagnosticSeverity.Warning
    );

    /// <summary>KSP2030: a module's file was not found.</summary>
    public static readonly DiagnosticDescriptor MissingModule = new(
        "KSP2030",
        "A module's file is missing",
        "module {0} of kernel {1} was not found (looked below {2}); install the package linux-image-{1} or set KernelModules",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2031: the file is another module's or of another release.</summary>
    public static readonly DiagnosticDescriptor WrongModule = new(
        "KSP2031",
        "A module's file is another's",
        "'{0}' is module {1} of kernel {2}, wanted is {3} of {4}; install the package linux-image-{4} or set KernelModules",
        DiagnosticSeverity.Error
    );

    /// <summary>KSP2032: the module cannot be laid out as the kernel would load it.</summary>
    public static readonly DiagnosticDescriptor BadModule = new(
        "KSP2032",
        "A module's file cannot be used",
        "'{0}' cannot be used: {1}; install the package with the kernel's image again",
        DiagnosticSeverity.Error
    );
}
