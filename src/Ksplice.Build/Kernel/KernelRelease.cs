// SPDX-License-Identifier: MIT
using Ksplice.Build.Processes;

namespace Ksplice.Build.Kernel;

/// <summary>
/// What a patch project says of its kernel. Only the release is needed; the rest overrides what the distribution installs.
/// </summary>
public sealed record KernelReleaseOptions
{
    /// <summary>The release as <c>uname -r</c> shows it, <c>6.1.0-56-cloud-amd64</c>.</summary>
    public required string Release { get; init; }

    /// <summary>The headers folder (kbuild, .config, Module.symvers).</summary>
    public string? Headers { get; init; }

    /// <summary>The configuration file.</summary>
    public string? Config { get; init; }

    /// <summary>The image, vmlinuz or vmlinux.</summary>
    public string? Image { get; init; }

    /// <summary>The folder of the modules, lib/modules/RELEASE of the image's package.</summary>
    public string? Modules { get; init; }

    /// <summary>The source, a tree or a tarball.</summary>
    public string? Source { get; init; }

    /// <summary>The C compiler; else the one that the configuration names.</summary>
    public string? Compiler { get; init; }

    /// <summary>
    /// The root folder in which compiler, binutils and kbuild run, / for this machine; else the one that the unpacked image names.
    /// </summary>
    public string? Toolchain { get; init; }

    /// <summary>Whether the kernel may be newer than every one on which this project was tested.</summary>
    public bool MayBeUntested { get; init; }

    /// <summary>The cache, in which unpacked image packages are looked for too; else <see cref="KernelCache.DefaultRoot"/>.</summary>
    public string? Cache { get; init; }
}

/// <summary>A kernel release with all that is needed to build an update for it, each part checked against the others.</summary>
public sealed record KernelRelease
{
    /// <summary>The release as <c>uname -r</c> shows it.</summary>
    public required string Release { get; init; }

    /// <summary>The version of Linux that the source must have, <c>6.1.192</c>.</summary>
    public required string Version { get; init; }

    /// <summary>The version of Debian's package with the kernel, <c>6.1.192-2</c>; empty if it is not Debian's.</summary>
    public required string Revision { get; init; }

    /// <summary>The headers folder.</summary>
    public required string Headers { get; init; }

    /// <summary>The configuration file.</summary>
    public required string Config { get; init; }

    /// <summary>The image file.</summary>
    public required string Image { get; init; }

    /// <summary>The folder of the modules if one was named, else empty: then they are where the image's package has them.</summary>
    public string Modules { get; init; } = "";

    /// <summary>The source, a tree or a tarball.</summary>
    public required string Source { get; init; }

    /// <summary>The C compiler's program name or path.</summary>
    public required string Compiler { get; init; }

    /// <summary>The first line of what the compiler says of its version.</summary>
    public required string CompilerVersion { get; init; }

    /// <summary>The first line of what the assembler says of its version.</summary>
    public string AssemblerVersion { get; init; } = "";

    /// <summary>The root folder in which compiler, binutils and kbuild run; empty if they are this machine's.</summary>
    public string Toolchain { get; init; } = "";

    /// <summary>A program of the toolchain.</summary>
    public Tool Tool(string program, params IReadOnlyList<string> arguments) => new(program, arguments) { Root = Toolchain };

    /// <summary>Module.symvers of the headers: what the kernel exports, with checksums.</summary>
    public string ModuleSymvers => Path.Combine(Headers, "Module.symvers");
}
