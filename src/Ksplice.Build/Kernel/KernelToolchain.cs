// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Processes;

namespace Ksplice.Build.Kernel;

/// <summary>
/// Finds the root folder in which compiler, binutils and kbuild run, and checks that they can. Whether its compiler is the kernel's is
/// checked as it is for this machine's.
/// </summary>
internal static class KernelToolchain
{
    // build/setup puts it beside the unpacked image; a link to the root folder.
    private const string Link = "toolchain";

    // Each program that kbuild needs to make and list a tree and to finish modules, with its package, but for the compiler.
    private static readonly (string Program, string Package)[] Programs =
    [
        ("make", "make"),
        ("as", "binutils"),
        ("ld", "binutils"),
        ("strip", "binutils"),
        ("flex", "flex"),
        ("bison", "bison"),
        ("bc", "bc"),
        ("awk", "mawk"),
        ("perl", "perl"),
    ];

    /// <summary>The root folder, without links; empty for this machine; null after an error.</summary>
    public static async Task<string?> FindAsync(
        KernelReleaseOptions options,
        string unpacked,
        DiagnosticBag diagnostics,
        CancellationToken cancellation
    )
    {
        string link = Path.Combine(unpacked, Link);
        string named =
            !string.IsNullOrEmpty(options.Toolchain) ? Path.GetFullPath(options.Toolchain)
            : new FileInfo(link).LinkTarget is not null ? link
            : "/";
        string root = KernelCache.RealPath(named);
        if (root == "/")
            return "";
        if (!Directory.Exists(root))
        {
            diagnostics.Report(KernelDiagnostics.MissingToolchain, null, root, options.Release);
            return null;
        }
        string[] script = ["-c", "for program; do command -v $program >/dev/null || echo $program; done", "sh"];
        Tool look = new("sh", [.. script, .. Programs.Select(program => program.Program)]) { Root = root };
        if (await look.RunAsync(diagnostics, cancellation).ConfigureAwait(false) is not { } seen)
            return null;
        string[] missing = seen.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        if (missing.Length == 0)
            return root;
        var packages = Programs
            .Where(program => missing.Contains(program.Program, StringComparer.Ordinal))
            .Select(program => program.Package)
            .Distinct(StringComparer.Ordinal);
        diagnostics.Report(
            KernelDiagnostics.IncompleteToolchain,
            null,
            root,
            string.Join(", ", missing),
            string.Join(", ", packages),
            options.Release
        );
        return null;
    }
}
