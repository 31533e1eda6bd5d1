using System.Globalization;
using System.Text.Json;

namespace Ksplice.Corpus;

/// <summary>What became of one patch: a line of docs/results/corpus.csv.</summary>
/// <param name="Patch">The source file that the patch changes.</param>
/// <param name="Result"><c>updated</c>, <c>unchanged</c>, <c>not_alone</c> or <c>refused</c>; a person finds out <c>wrong</c>.</param>
/// <param name="Diagnostic">The first error's id.</param>
/// <param name="Message">All errors, a line each; not in the table.</param>
/// <param name="ConfirmedBy">The independent witness that the refusal is right, or empty.</param>
/// <param name="Functions">Replaced and new functions, blank-separated.</param>
/// <param name="Seconds">Wall time of all stages, both compilations included.</param>
internal sealed record CorpusRow(string Patch, string Result, string Diagnostic, string Message, string ConfirmedBy, string Functions, double Seconds)
{
    private static readonly JsonSerializerOptions Options = new() { WriteIndented = true };

    /// <summary>The row that an earlier run wrote, or null.</summary>
    public static CorpusRow? Load(string path) => File.Exists(path) ? JsonSerializer.Deserialize<CorpusRow>(File.ReadAllBytes(path)) : null;

    /// <summary>Writes the row; it is there as a whole or not at all.</summary>
    public void Save(string path)
    {
        File.WriteAllBytes(path + ".tmp", JsonSerializer.SerializeToUtf8Bytes(this, Options));
        File.Move(path + ".tmp", path, overwrite: true);
    }

    /// <summary>The table, with the columns patch, result, diagnostic, confirmed_by, functions, seconds.</summary>
    public static string ToCsv(IEnumerable<CorpusRow> rows) =>
        "patch,result,diagnostic,confirmed_by,functions,seconds\n"
        + string.Concat(rows.OrderBy(row => row.Patch, StringComparer.Ordinal).Select(row => string.Create(CultureInfo.InvariantCulture,
            $"{row.Patch},{row.Result},{row.Diagnostic},{row.ConfirmedBy},{row.Functions},{row.Seconds:f1}\n")));
}
