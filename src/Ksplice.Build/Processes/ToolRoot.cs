// SPDX-License-Identifier: MIT
// A root folder: the programs and libraries of another system, in which compiler, binutils and kbuild run. So one machine builds for the
// kernels of several distributions, each with the compiler that built it.
//
// bubblewrap (bwrap) makes a mount namespace for each program, where user namespaces allow without being root. Of the root folder it has
// what makes a system (usr, bin, sbin, lib…, etc), read only; all else is this machine's, at the same path, /proc (which objtool needs) and
// folders for temporary files among it. So a path means one file inside and outside, but for those below the root folder's own.
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Processes;

/// <summary>Runs programs in a root folder.</summary>
public static partial class ToolRoot
{
    internal const string Program = "bwrap";

    private const string Place = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    private static readonly string[] Own = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc"];
    private static readonly string[] NotBound = ["dev", "lost+found"];

    // They name programs and libraries of this machine.
    internal static readonly string[] Dropped =
    [
        "CPATH",
        "C_INCLUDE_PATH",
        "COMPILER_PATH",
        "GCC_EXEC_PREFIX",
        "HOSTCFLAGS",
        "HOSTLDFLAGS",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "LIBRARY_PATH",
        "PERL5LIB",
        "PKG_CONFIG_PATH",
        "PYTHONPATH",
    ];

    /// <summary>True if programs in <paramref name="root"/> find the same at <paramref name="path"/> as this machine's.</summary>
    /// <param name="root">The root folder; empty for this machine.</param>
    /// <param name="path">A full path.</param>
    public static bool Shows(string root, string path)
    {
        ArgumentNullException.ThrowIfNull(root);
        ArgumentNullException.ThrowIfNull(path);
        string first = path.Split('/', 3, StringSplitOptions.RemoveEmptyEntries).FirstOrDefault("");
        return root.Length == 0 || !Own.Contains(first, StringComparer.Ordinal) || Real(Path.Combine(root, first)) == Real("/" + first);
    }

    /// <summary>Reports what programs in a root folder do not find; true if they do.</summary>
    /// <param name="what">What has the path.</param>
    /// <param name="path">The path.</param>
    /// <param name="root">The root folder; empty for this machine.</param>
    /// <param name="diagnostics">Takes <see cref="ToolDiagnostics.Hidden"/>.</param>
    public static bool CheckShown(string what, string path, string root, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        string full = Path.GetFullPath(path);
        if (Shows(root, full))
            return true;
        diagnostics.Report(ToolDiagnostics.Hidden, null, what, full, root, string.Join(", ", Own.Select(name => "/" + name)));
        return false;
    }

    /// <summary>What bwrap is told before the program and its arguments.</summary>
    internal static IEnumerable<string> Arguments(string root, string folder)
    {
        List<string> arguments = [];
        foreach (string name in Own)
        {
            DirectoryInfo entry = new(Path.Combine(root, name));
            // bin leads to usr/bin where / and /usr are one.
            if (entry.LinkTarget is { } target && !target.StartsWith('/'))
                arguments.AddRange(["--symlink", target, "/" + name]);
            else if (entry.Exists)
                arguments.AddRange(["--ro-bind", entry.FullName, "/" + name]);
        }
        foreach (string entry in Directory.GetDirectories("/").Order(StringComparer.Ordinal))
        {
            string name = Path.GetFileName(entry);
            if (!Own.Contains(name, StringComparer.Ordinal) && !NotBound.Contains(name, StringComparer.Ordinal))
                arguments.AddRange(["--bind-try", entry, entry]);
        }
        return [.. arguments, "--dev-bind", "/dev", "/dev", "--setenv", "PATH", Place, "--chdir", folder, "--"];
    }

    /// <summary>The program that is not in the root folder, as bwrap says it; null if it says something else.</summary>
    internal static string? MissingIn(string errors) =>
        MissingPattern().Match(errors) is { Success: true } match ? match.Groups["name"].Value : null;

    /// <summary>Why the root folder cannot be entered, as bwrap says it; null if it can.</summary>
    internal static string? ProblemIn(string errors) =>
        ProblemPattern().Match(errors) is { Success: true } match ? match.Groups["problem"].Value : null;

    // Null for a folder that is not there.
    private static string? Real(string path) =>
        Directory.Exists(path) ? new DirectoryInfo(path).ResolveLinkTarget(returnFinalTarget: true)?.FullName ?? path : null;

    [GeneratedRegex(@"^bwrap: execvp (?<name>.+): No such file or directory$", RegexOptions.Multiline)]
    private static partial Regex MissingPattern();

    [GeneratedRegex(@"^bwrap: (?<problem>.+)$", RegexOptions.Multiline)]
    private static partial Regex ProblemPattern();
}
