// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Json;

namespace Ksplice.Matching;

/// <summary>A function that was not matched.</summary>
/// <param name="Function">Its name.</param>
/// <param name="Kind">Why, in a word.</param>
/// <param name="Detail">Where and what.</param>
internal sealed record Unmatched(string Function, string Kind, string Detail);

/// <summary>What matching said of one unit.</summary>
internal sealed record UnitRow(string Kernel, string Unit, int Functions, int Matched, long TextBytes, IReadOnlyList<Unmatched> Rest)
{
    public void Save(string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path + ".partial", JsonSerializer.Serialize(this));
        File.Move(path + ".partial", path, overwrite: true);
    }

    public static UnitRow? Load(string path) => File.Exists(path) ? JsonSerializer.Deserialize<UnitRow>(File.ReadAllText(path)) : null;

    /// <summary>A line a unit.</summary>
    public static string ToCsv(IEnumerable<UnitRow> rows)
    {
        StringBuilder csv = new("kernel,unit,functions,matched,reason\n");
        foreach (var row in rows)
        {
            string others = string.Join("; ", row.Rest.Select(rest => $"{rest.Function}: {rest.Kind}"));
            csv.Append(
                null,
                $"{row.Kernel},{row.Unit},{row.Functions},{row.Matched},{others.Replace(",", "", StringComparison.Ordinal)}\n"
            );
        }
        return csv.ToString();
    }
}
