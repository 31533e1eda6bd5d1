// SPDX-License-Identifier: MIT
// Which paths the programs of a build take. kbuild passes paths through make and a shell, and takes a blank, $, (, %, &, ', ; or # in one
// for something of theirs; what it does then is to fail, or to make a tree that is broken. The compiler is run without a shell, but its own
// options split at a comma, at = and at a colon.
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Processes;

/// <summary>Paths that the programs of a build take.</summary>
public static class ToolPath
{
    private const string OfKbuild = "/._+-@~";
    private const string NotOfCompiler = ",=:\"\\";

    /// <summary>True if kbuild may work in <paramref name="path"/>.</summary>
    public static bool IsForKbuild(string path) => WrongForKbuild(path) is null;

    /// <summary>Reports a path that kbuild does not take; true if it does.</summary>
    /// <param name="what">What has the path, with the property that names it.</param>
    /// <param name="path">The path.</param>
    /// <param name="remedy">What to do.</param>
    /// <param name="diagnostics">Takes <see cref="ToolDiagnostics.BadPath"/>.</param>
    public static bool CheckForKbuild(string what, string path, string remedy, DiagnosticBag diagnostics) =>
        Check(what, path, "kbuild", WrongForKbuild(path), remedy, diagnostics);

    /// <summary>Reports a path that the compiler does not take; true if it does.</summary>
    /// <param name="what">What has the path.</param>
    /// <param name="path">The path.</param>
    /// <param name="remedy">What to do.</param>
    /// <param name="diagnostics">Takes <see cref="ToolDiagnostics.BadPath"/>.</param>
    public static bool CheckForCompiler(string what, string path, string remedy, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(path);
        char? wrong = path.Where(letter => NotOfCompiler.Contains(letter, StringComparison.Ordinal) || char.IsControl(letter))
            .Cast<char?>()
            .FirstOrDefault();
        return Check(what, path, "the compiler", wrong, remedy, diagnostics);
    }

    private static char? WrongForKbuild(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return path.Where(letter => !char.IsLetterOrDigit(letter) && !OfKbuild.Contains(letter, StringComparison.Ordinal))
            .Cast<char?>()
            .FirstOrDefault();
    }

    private static bool Check(string what, string path, string program, char? wrong, string remedy, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        if (wrong is not { } letter)
            return true;
        string name = char.IsWhiteSpace(letter) || char.IsControl(letter) ? "a blank" : $"'{letter}'";
        diagnostics.Report(ToolDiagnostics.BadPath, null, what, path, program, name, remedy);
        return false;
    }
}
