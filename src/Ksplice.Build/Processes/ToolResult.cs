// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Ksplice.Build.Processes;

/// <summary>How a program ended.</summary>
/// <param name="ExitCode">0 after success; 128 and the signal's number for a program that a signal ended.</param>
/// <param name="Output">Its standard output; empty where a stream or delegate took it.</param>
/// <param name="Errors">Its standard error.</param>
public sealed record ToolResult(int ExitCode, string Output, string Errors)
{
    private const int CausesShown = 3;

    /// <summary>True if it reports success.</summary>
    public bool Succeeded => ExitCode == 0;

    /// <summary>All that it wrote to standard error; how it ended, if it wrote nothing.</summary>
    public string Said => Errors.Trim() is { Length: > 0 } said ? said : Ending;

    /// <summary>
    /// The lines that tell the cause: the first with "error" and two behind it, else the first lines. What make says of its own end is no
    /// cause.
    /// </summary>
    public string Cause
    {
        get
        {
            string[] lines = Errors.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
            string[] causes = [.. lines.Where(line => !line.StartsWith("make", StringComparison.Ordinal))];
            int first = Array.FindIndex(causes, line => line.Contains("error", StringComparison.OrdinalIgnoreCase));
            return causes.Length != 0 ? string.Join(" | ", causes.Skip(Math.Max(first, 0)).Take(CausesShown))
                : lines.Length != 0 ? string.Join(" | ", lines.TakeLast(CausesShown))
                : Ending;
        }
    }

    private string Ending =>
        ExitCode > 128
            ? string.Create(CultureInfo.InvariantCulture, $"signal {ExitCode - 128} ended it")
            : string.Create(CultureInfo.InvariantCulture, $"exit code {ExitCode}, without a word");
}
