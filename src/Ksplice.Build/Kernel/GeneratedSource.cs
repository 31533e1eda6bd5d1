// SPDX-License-Identifier: MIT
// Sources and headers that kbuild generates on the way to a unit (security/selinux/flask.h, lib/crc32table.h, ASN.1 parsers):
// modules_prepare does not make them. The dry run that lists the units prints their commands too, in an order that works.
using System.Text.RegularExpressions;

namespace Ksplice.Build.Kernel;

/// <summary>A command of the dry run that makes a source file, or a host program that makes one.</summary>
/// <param name="Target">The file, relative to the output tree.</param>
/// <param name="Command">The shell command, to be run in the output tree.</param>
internal sealed partial record GeneratedSource(string Target, string Command)
{
    /// <summary>
    /// The commands among <paramref name="lines"/>, in the order of their first lines: a recipe may have several, each of which adds
    /// to the file (security/apparmor/net_names.h). scripts/Kbuild.include's <c>cmd</c> names the target in a trap, and begins with
    /// <c>set -e</c>.
    /// </summary>
    public static IEnumerable<GeneratedSource> Find(IEnumerable<string> lines) =>
        FindLines(lines)
            .GroupBy(line => line.Target, StringComparer.Ordinal)
            .Select(recipe => new GeneratedSource(recipe.Key, string.Join('\n', recipe.Select(line => line.Command))));

    private static IEnumerable<(string Target, string Command)> FindLines(IEnumerable<string> lines)
    {
        foreach (string line in lines)
        {
            if (TargetPattern().Match(line) is not { Success: true } match)
                continue;
            string target = match.Groups[1].Value;
            bool program = !Path.HasExtension(target) && line.Contains($" -o {target} ", StringComparison.Ordinal);
            if (program || Path.GetExtension(target) is ".c" or ".h" or ".S")
                yield return (target, line);
        }
    }

    [GeneratedRegex(@"trap 'rm -f ([^;']+); trap - HUP;")]
    private static partial Regex TargetPattern();
}
