// SPDX-License-Identifier: MIT
// The words on the kernel's command line that keep the core out. The core looks for the same ones (core/main.c).
using System.Text;

namespace Ksplice.Cli.Machines;

/// <summary>Reads the kernel's command line as the kernel does.</summary>
internal static class KernelCommandLine
{
    /// <summary>The word by which the core does not load, <c>noksplice</c> or <c>ksplice.off</c>; or null.</summary>
    public static string? KeepsOut(string commandLine)
    {
        foreach (string word in Words(commandLine))
        {
            string[] parts = word.Split('=', 2);
            if (parts[0] == "noksplice" || (parts[0] == "ksplice.off" && (parts.Length == 1 || IsTrue(parts[1]))))
                return parts[0];
        }

        return null;
    }

    // As kstrtobool() of the kernel.
    private static bool IsTrue(string value) =>
        value is ['y' or 'Y' or 't' or 'T' or '1', ..] || value.StartsWith("on", StringComparison.OrdinalIgnoreCase);

    // Between double quotes a blank ends no word.
    private static IEnumerable<string> Words(string commandLine)
    {
        StringBuilder word = new();
        bool quoted = false;
        foreach (char c in commandLine)
        {
            if (c == '"')
            {
                quoted = !quoted;
            }
            else if (quoted || !char.IsWhiteSpace(c))
            {
                word.Append(c);
            }
            else if (word.Length > 0)
            {
                yield return word.ToString();
                word.Clear();
            }
        }

        if (word.Length > 0)
            yield return word.ToString();
    }
}
