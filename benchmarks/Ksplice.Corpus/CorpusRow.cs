// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Differencing;

namespace Ksplice.Corpus;

/// <summary>What became of one patch: a line of docs/results/corpus.csv.</summary>
/// <param name="Patch">The source file that the patch changes.</param>
/// <param name="Result"><c>updated</c>, <c>unchanged</c>, <c>not_alone</c> or <c>refused</c>; <c>wrong</c> if a witness objects.</param>
/// <param name="Diagnostic">The first error's id.</param>
/// <param name="Message">All errors and all objections, a line each; not in the table.</param>
/// <param name="ConfirmedBy">The independent witnesses that the result is right, blank-separated.</param>
/// <param name="Replaced">Replaced functions, each with the reason.</param>
/// <param name="New">New functions.</param>
/// <param name="Pins">How many addresses of its own the update hands out, by kind of what they are of (<see cref="PinKind"/>).</param>
/// <param name="Pinned">True if one of these leaves the primary loaded after an undo; not in the table.</param>
/// <param name="Seconds">Wall time of all stages, both compilations included.</param>
internal sealed record CorpusRow(
    string Patch,
    string Result,
    string Diagnostic,
    string Message,
    string ConfirmedBy,
    SortedDictionary<string, string> Replaced,
    List<string> New,
    SortedDictionary<PinKind, int> Pins,
    bool Pinned,
    double Seconds
)
{
    /// <summary>The table, with the columns patch, result, diagnostic, confirmed_by, functions, pins, seconds.</summary>
    public static string ToCsv(IEnumerable<CorpusRow> rows) =>
        "patch,result,diagnostic,confirmed_by,functions,pins,seconds\n"
        + string.Concat(
            rows.OrderBy(row => row.Patch, StringComparer.Ordinal)
                .Select(row =>
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"{row.Patch},{row.Result},{row.Diagnostic},{row.ConfirmedBy},"
                            + $"{string.Join(' ', row.Replaced.Keys.Concat(row.New.Select(name => "+" + name)))},"
                            + $"{string.Join(' ', row.Pins.Select(pin => $"{pin.Key}:{pin.Value}")).ToLowerInvariant()},{row.Seconds:f1}\n"
                    )
                )
        );

    /// <summary>
    /// How many of the updates leave a primary after an undo, how many would if strings and constants were in the primary too, and how many
    /// hand out addresses of each kind.
    /// </summary>
    public static string PinSummary(IEnumerable<CorpusRow> rows)
    {
        var updated = rows.Where(row => row.Result == "updated").ToList();
        int all = updated.Count(row => row.Pins.Count != 0),
            pinned = updated.Count(row => row.Pinned);
        return $"{updated.Count} updated: {pinned} leave a primary after an undo, {all} would with strings and constants in it\n"
            + string.Concat(
                Enum.GetValues<PinKind>()
                    .Select(kind =>
                        $"{updated.Count(row => row.Pins.ContainsKey(kind)), 5} hand out a {kind.ToString().ToLowerInvariant()}, "
                        + $"{updated.Count(row => row.Pins.ContainsKey(kind) && row.Pins.Count == 1)} of them nothing else\n"
                    )
            );
    }
}
