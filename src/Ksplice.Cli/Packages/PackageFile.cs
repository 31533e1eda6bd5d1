// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;

namespace Ksplice.Cli.Packages;

/// <summary>A package on its way into the kernel: read into memory once and verified; what is loaded are those very bytes.</summary>
public static class PackageFile
{
    /// <summary>Reads and verifies a folder or an archive, its signature too if <paramref name="trust"/> wants one.</summary>
    public static UpdatePackage Open(string path, TrustedCertificates trust)
    {
        var package = Read(path);
        trust.Demand(package, path);
        return package;
    }

    /// <summary>Reads and verifies all but who signed it.</summary>
    public static UpdatePackage Read(string path)
    {
        if (!Directory.Exists(path) && !File.Exists(path))
            throw new CommandException(ExitCode.Usage, $"no package at {path}");
        DiagnosticBag diagnostics = [];
        return UpdatePackage.Open(path, diagnostics)
            ?? throw new CommandException(
                ExitCode.Damaged,
                $"{path} is damaged or no update",
                [.. diagnostics.Select(diagnostic => diagnostic.Message)]
            );
    }

    /// <summary>The bytes of a module.</summary>
    public static ReadOnlyMemory<byte> Module(this UpdatePackage package, string name) => package.Files[name + ".ko"];
}
