// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Ksplice.Corpus;

/// <summary>What became of one patch: a line of docs/results/corpus.csv.</summary>
/// <param name="Patch">The source file that the patch changes.</param>
/// <param name="Result"><c>updated</c>, <c>unchanged</c>, <c>not_alone</c> or <c>refused</c>; <c>wrong</c> if a witness objects.</param>
/// <param name="Diagnostic">The first error's id.</param>
/// <param name="Message">All errors and all objections, a line each; not in the table.</param>
/// <param name="ConfirmedBy">The independent witnesses that the result is right, blank-separated.</param>
/// <param name="Replaced">Replaced functions, each with the reason.</param>
/// <param name="New">New functions.</param>
/// <param name="Seconds">Wall time of all stages, both compilations included.</param>
internal sealed record CorpusRow(
    string Patch,
    string Result,
    string Diagnostic,
    string Message,
    string ConfirmedBy,
    SortedDictionary<string, string> Replaced,
    List<string> New,
    double Seconds
)
{
    /// <summary>The table, with the columns patch, result, diagnostic, confirmed_by, functions, seconds.</summary>
    public static string ToCsv(IEnumerable<CorpusRow> rows) =>
        "patch,result,diagnostic,confirmed_by,functions,seconds\n"
        + string.Concat(
            rows.OrderBy(row => row.Patch, StringComparer.Ordinal)
                .Select(row =>
                    string.Create(
                        CultureInfo.InvariantCulture,
                        $"{row.Patch},{row.Result},{row.Diagnostic},{row.ConfirmedBy},"
                            + $"{string.Join(' ', row.Replaced.Keys.Concat(row.New.Select(name => "+" + name)))},{row.Seconds:f1}\n"
                    )
                )
        );
}
