// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Differencing;
using Ksplice.Build.Updates;

namespace Ksplice.Build.Reporting;

/// <content>The replaced functions: why, and their source before and now beside each other.</content>
public sealed partial class HtmlReport
{
    private void WriteSummary(UpdateDescription update, IReadOnlyList<(string Unit, DifferenceDescription Function)> functions)
    {
        Line(
            "<section id=\"functions\"><h2>Replaced functions</h2><table class=\"cards\"><thead><tr><th scope=\"col\">Function</th>"
                + "<th scope=\"col\">Unit</th><th scope=\"col\">Why</th><th scope=\"col\">Found at</th>"
                + "<th scope=\"col\" class=\"number\">Bytes</th></tr></thead><tbody>"
        );
        for (int i = 0; i < functions.Count; i++)
        {
            var (unit, function) = functions[i];
            var code = function.Code!;
            Line(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"<tr><th scope=\"row\"><a href=\"#f{i}\">{Text(function.Name)}</a></th>{Cell("Unit", Text(unit))}"
                        + $"{Cell("Why", Text(Why(function)))}{Cell("Found at", Address(code.Place))}"
                        + $"<td class=\"number\" data-label=\"Bytes\">{code.SizeBefore} &rarr; {code.SizeNow}</td></tr>"
                )
            );
        }
        Line("</tbody></table>");
        string[] added = [.. update.Units.SelectMany(unit => unit.New.Select(name => $"{name} ({unit.Unit})"))];
        if (added.Length != 0)
            Line($"<p>New functions: {Text(string.Join(", ", added))}</p>");
        Line("</section>");
    }

    private static string Cell(string name, string html) => $"<td data-label=\"{name}\">{html}</td>";

    // The upper half of a kernel's address is the same for all.
    private static string Address(MatchedRange? place)
    {
        if (place is null)
            return "when it is applied";
        string whole = place.Start.ToString("x16", CultureInfo.InvariantCulture);
        string brief = whole.StartsWith("ffffffff", StringComparison.Ordinal) ? whole[8..] : whole.TrimStart('0').PadLeft(1, '0');
        return $"<code><abbr title=\"{whole}\">{brief}</abbr></code>";
    }

    private static string Why(DifferenceDescription function) =>
        function.Reason switch
        {
            FunctionDifference.InlinedCallee => $"inlines {function.Inlined}, which changed",
            FunctionDifference.Constant => "a constant changed",
            FunctionDifference.Relocation => "refers to something else",
            FunctionDifference.SpecialSection => "its entry in a table of the kernel changed",
            FunctionDifference.BranchIntoReplaced => "jumps into code that is replaced",
            _ => "its own code",
        };

    private void WriteFunction(int index, string unit, DifferenceDescription function)
    {
        var code = function.Code!;
        Line(
            string.Create(
                CultureInfo.InvariantCulture,
                $"<section id=\"f{index}\" class=\"function\"><h3><code>{Text(function.Name)}</code> "
                    + $"<span class=\"small\">{Text(unit)}</span></h3>"
            )
        );
        Line(
            string.Create(
                CultureInfo.InvariantCulture,
                $"<p>Why: {Text(Why(function))}. <span class=\"small\">First difference at {Text(function.Part)}+0x{function.Offset:x}: "
                    + $"{Text(function.Detail)}</span></p>"
            )
        );
        if (code.SourceBefore is { } before && code.SourceNow is { } now)
            WriteSource(function.Name, before, now);
        else
            Line("<p class=\"small\">Its source could not be told from the debug data; the patch above has the change.</p>");
        WriteAssembly(function.Name, code);
        Line("</section>");
    }

    private void WriteSource(string name, SourceListing before, SourceListing now)
    {
        if (before.Lines.SequenceEqual(now.Lines, StringComparer.Ordinal))
        {
            Line($"<p class=\"small\">Its own source is the same as before ({Text(before.Path)}).</p>");
            return;
        }
        string caption = $"{name}: source before and now";
        Line(
            $"<table class=\"pair\"><caption class=\"hidden\">{Text(caption)}</caption>"
                + "<colgroup><col class=\"no\"><col><col class=\"no\"><col></colgroup>"
                + "<thead><tr><th scope=\"col\" colspan=\"2\">Before</th>"
                + "<th scope=\"col\" colspan=\"2\">Now</th></tr></thead>"
        );
        var rows = Beside(Alignment.Of(before.Lines, now.Lines));
        bool[] near = Near([.. rows.Select(row => row is { Before: >= 0, Now: >= 0, IsEqual: true })]);
        for (int i = 0; i < rows.Count; )
        {
            int end = i;
            while (end < rows.Count && near[end] == near[i])
                end++;
            Line(
                near[i]
                    ? "<tbody>"
                    : $"<tbody class=\"same\"><tr><th colspan=\"4\" scope=\"rowgroup\">{Words.Count(end - i, "equal line")}</th></tr>"
            );
            for (; i < end; i++)
            {
                if (near[i])
                    WriteRow(rows[i], before, now);
            }
            Line("</tbody>");
        }
        Line("</table>");
    }

    // What went and what came in its place, in one row each.
    private static List<(int Before, int Now, bool IsEqual)> Beside(IReadOnlyList<(int Before, int After)> pairs)
    {
        List<(int, int, bool)> rows = [];
        List<int> gone = [],
            come = [];
        void Flush()
        {
            for (int i = 0; i < Math.Max(gone.Count, come.Count); i++)
                rows.Add((i < gone.Count ? gone[i] : -1, i < come.Count ? come[i] : -1, false));
            gone.Clear();
            come.Clear();
        }
        foreach (var (old, now) in pairs)
        {
            if (old >= 0 && now >= 0)
            {
                Flush();
                rows.Add((old, now, true));
            }
            else if (old >= 0)
                gone.Add(old);
            else
                come.Add(now);
        }
        Flush();
        return rows;
    }

    // The head of the function, and the surroundings of what differs.
    private static bool[] Near(bool[] equal)
    {
        bool[] near = new bool[equal.Length];
        for (int i = 0; i < equal.Length; i++)
        {
            if (equal[i])
                continue;
            for (int at = Math.Max(0, i - LinesAround); at < Math.Min(equal.Length, i + LinesAround + 1); at++)
                near[at] = true;
        }
        if (near.Length != 0)
            near[0] = true;
        return near;
    }

    private void WriteRow((int Before, int Now, bool IsEqual) row, SourceListing before, SourceListing now)
    {
        string kind = row.IsEqual ? "equal" : "changed";
        Line(
            $"<tr class=\"{kind}\">{SourceCells(before, row.Before, row.IsEqual ? "" : "removed", "&minus;", "old")}"
                + $"{SourceCells(now, row.Now, row.IsEqual ? "" : "added", "+", "new")}</tr>"
        );
    }

    private static string SourceCells(SourceListing listing, int at, string kind, string sign, string side)
    {
        if (at < 0)
            return $"<td class=\"line {side} none\"></td><td class=\"{side} none\"></td>";
        string mark = kind.Length == 0 ? "" : $"<span class=\"sign\">{sign}</span>";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"<td class=\"line {side} {kind}\">{listing.FirstLine + at}{mark}</td>"
                + $"<td class=\"{side} {kind}\"><code>{Text(listing.Lines[at])}</code></td>"
        );
    }
}
