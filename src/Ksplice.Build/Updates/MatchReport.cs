// SPDX-License-Identifier: MIT
using System.Globalization;
using System.Text;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Updates;

/// <summary>What matching found, for people. Addresses are those of the shipped files; they go into nothing that is loaded.</summary>
public static class MatchReport
{
    /// <summary>The report's text.</summary>
    public static string Write(IReadOnlyList<TargetMatch> matches)
    {
        ArgumentNullException.ThrowIfNull(matches);
        StringBuilder text = new();
        foreach (var match in matches)
        {
            if (text.Length != 0)
                text.Append('\n');
            if (match.Result.IsMatch)
                Add(text, match);
            else
                text.Append(
                    CultureInfo.InvariantCulture,
                    $"{match.Program.Diffs.Target.Name}: goes on top of other updates and is matched when it is applied\n"
                );
        }
        return text.ToString();
    }

    private static void Add(StringBuilder text, TargetMatch match)
    {
        var (data, result) = (match.Program.Data, match.Result);
        text.Append(CultureInfo.InvariantCulture, $"{match.Path}\n\nreplaced functions\n");
        foreach (var (function, place) in data.Functions.Zip(result.Functions))
            text.Append(
                CultureInfo.InvariantCulture,
                $"{place.Start:x16} {function.Name} ({function.Unit}), {place.End - place.Start} bytes\n"
            );
        text.Append("\nsymbols that new code needs\n");
        foreach (var (symbol, address) in data.Exports.Zip(result.Exports))
            text.Append(CultureInfo.InvariantCulture, $"{address:x16} {symbol.DisplayName.ReplaceLineEndings("\\n")}\n");
    }
}
