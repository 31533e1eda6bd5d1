// SPDX-License-Identifier: MIT
// The report of an update as one HTML file: what is replaced and why, the code before and after side by side, what the
// analysis said, where matching found each function, and how large all of it is. The file brings all that it shows and holds no
// script; its policy forbids it to load anything. Whether a line is old or new is said by a sign, not by colour alone; what can
// be opened or scrolled is reached with the Tab key.
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Updates;

namespace Ksplice.Build.Reporting;

/// <summary>Writes the report.</summary>
public sealed partial class HtmlReport
{
    private const int LinesAround = 3;
    private readonly UpdateManifest _manifest;
    private readonly UpdateDescription _update;
    private readonly List<(string Unit, DifferenceDescription Function)> _functions;
    private readonly StringBuilder _html = new();

    private HtmlReport(UpdateManifest manifest, UpdateDescription update)
    {
        (_manifest, _update) = (manifest, update);
        _functions = [.. update.Units.SelectMany(unit => unit.Replaced.Select(function => (unit.Unit, function)))];
    }

    [GeneratedRegex(@"^(j\w+|call\w*|xbegin)\s+(\S+)(?<target>  # .*)?$")]
    private static partial Regex Branch();

    /// <summary>The report of an update, as the text of an HTML file.</summary>
    /// <param name="manifest">The manifest of its package.</param>
    /// <param name="update">The update.</param>
    public static string Write(UpdateManifest manifest, UpdateDescription update)
    {
        ArgumentNullException.ThrowIfNull(manifest);
        ArgumentNullException.ThrowIfNull(update);
        HtmlReport html = new(manifest, update);
        html.WriteAll();
        return html._html.ToString();
    }

    private void WriteAll()
    {
        var manifest = _manifest;
        Line("<!DOCTYPE html>");
        Line(
            "<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">"
                + "<meta name=\"color-scheme\" content=\"light dark\">"
        );
        Line("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">");
        Line($"<title>Update {Text(manifest.Id)}: {Text(manifest.Name)}</title><style>{Style}</style></head><body>");
        Line("<a class=\"skip\" href=\"#functions\">To the functions</a>");
        Line(
            $"<header><h1>Update {Text(manifest.Id)}: {Text(manifest.Name)}</h1><p>for {Text(manifest.Kernel.Release)}</p>"
                + $"<p class=\"small\">{Text(manifest.Kernel.Banner.Trim())}</p></header><main>"
        );
        WriteDiagnostics();
        WriteSummary();
        for (int i = 0; i < _functions.Count; i++)
            WriteFunction(i, _functions[i].Unit, _functions[i].Function);
        WriteFiles();
        Line("</main></body></html>");
    }

    private void WriteDiagnostics()
    {
        Line("<section id=\"diagnostics\"><h2>Diagnostics</h2>");
        if (_update.Diagnostics.Count == 0)
            Line("<p>The analysis had nothing to say.</p>");
        else
        {
            Line(
                "<table><thead><tr><th scope=\"col\">Rule</th><th scope=\"col\">Level</th><th scope=\"col\">Place</th>"
                    + "<th scope=\"col\">What</th></tr></thead><tbody>"
            );
            foreach (
                var diagnostic in _update.Diagnostics.OrderBy(diagnostic =>
                    diagnostic.Level == "error" ? 0
                    : diagnostic.Level == "warning" ? 1
                    : 2
                )
            )
                Line(
                    $"<tr class=\"{Text(diagnostic.Level)}\"><th scope=\"row\">{Text(diagnostic.Id)}</th>"
                        + $"<td>{Text(diagnostic.Level)}</td><td>{Text(Place(diagnostic))}</td>"
                        + $"<td>{Text(diagnostic.Message)}</td></tr>"
                );
            Line("</tbody></table>");
        }
        foreach (var acknowledged in _manifest.Acknowledged)
            Line(
                $"<p class=\"acknowledged\">Acknowledged: {Text(acknowledged.Id)} of <code>{Text(acknowledged.Object)}</code>: "
                    + $"{Text(acknowledged.Reason)} ({Text(acknowledged.Source)})</p>"
            );
        Line("</section>");
    }

    // A folder of the machine that built it says nothing to others.
    private static string Place(ReportedDiagnostic diagnostic)
    {
        if (diagnostic.Place is not { } location)
            return "";
        string path = diagnostic.File ?? (Path.IsPathRooted(location.Path) ? Path.GetFileName(location.Path) : location.Path);
        return location.Line == 0 ? path : string.Create(CultureInfo.InvariantCulture, $"{path}:{location.Line}");
    }

    private void WriteSummary()
    {
        Line(
            "<section id=\"functions\"><h2>Replaced functions</h2><table><thead><tr><th scope=\"col\">Function</th>"
                + "<th scope=\"col\">Unit</th><th scope=\"col\">Why</th><th scope=\"col\">Matched at</th>"
                + "<th scope=\"col\" class=\"number\">Bytes before</th>"
                + "<th scope=\"col\" class=\"number\">Bytes now</th></tr></thead><tbody>"
        );
        for (int i = 0; i < _functions.Count; i++)
        {
            var (unit, function) = _functions[i];
            var code = function.Code!;
            string place = code.Place?.Start.ToString("x16", CultureInfo.InvariantCulture) ?? "";
            Line(
                $"<tr><th scope=\"row\"><a href=\"#f{i}\">{Text(function.Name)}</a></th><td>{Text(unit)}</td>"
                    + $"<td>{Text(Why(function))}</td><td><code>{place}</code></td>"
                    + $"<td class=\"number\">{code.SizeBefore}</td><td class=\"number\">{code.SizeNow}</td></tr>"
            );
        }
        Line("</tbody></table>");
        var added = _update.Units.SelectMany(unit => unit.New.Select(name => $"{name} ({unit.Unit})")).ToList();
        var pins = _update
            .Units.SelectMany(unit => unit.Pins)
            .ToLookup(pin => pin.PinsPrimary, pin => $"{pin.Holder} holds the address of {pin.Target}");
        if (added.Count != 0)
            Line($"<p>New functions: {Text(string.Join(", ", added))}</p>");
        if (pins[true].Distinct(StringComparer.Ordinal).ToList() is { Count: > 0 } pinning)
            Line($"<p>The primary module stays loaded after an undo: {Text(string.Join("; ", pinning))}</p>");
        if (pins[false].Distinct(StringComparer.Ordinal).ToList() is { Count: > 0 } kept)
            Line($"<p>Strings and constants stay loaded after an undo, in the data module: {Text(string.Join("; ", kept))}</p>");
        Line("</section>");
    }

    private static string Why(DifferenceDescription function) =>
        function.Inlined is { } inlined ? $"the inlined {inlined} changed" : $"{function.Reason}: {function.Detail}";

    private void WriteFunction(int index, string unit, DifferenceDescription function)
    {
        var code = function.Code!;
        Line(
            $"<section id=\"f{index}\"><h2>{Text(function.Name)} <span class=\"small\">{Text(unit)}</span></h2>"
                + $"<p>{Text(Why(function))}</p>"
        );
        for (int part = 0; part < Math.Max(code.Before.Count, code.Now.Count); part++)
        {
            var (before, after) = (code.Before.ElementAtOrDefault(part) ?? [], code.Now.ElementAtOrDefault(part) ?? []);
            string caption =
                $"{function.Name}{(part == 0 ? "" : string.Create(CultureInfo.InvariantCulture, $", part {part}"))}: before and now";
            Line(
                $"<div class=\"code\" role=\"region\" tabindex=\"0\" aria-label=\"{Text(caption)}\"><table class=\"listing\">"
                    + $"<caption>{Text(caption)}</caption><thead><tr><th scope=\"col\">Source</th><th scope=\"col\">Before</th>"
                    + "<th scope=\"col\"><span class=\"hidden\">Change</span></th><th scope=\"col\">Now</th>"
                    + "<th scope=\"col\">Source</th></tr></thead>"
            );
            WriteRows(Alignment.Of([.. before.Select(Key)], [.. after.Select(Key)]), before, after);
            Line("</table></div>");
        }
        Line("</section>");
    }

    // A branch goes further when something between grows; where it goes by name is what counts.
    private static string Key(InstructionDescription instruction) =>
        Branch().Match(instruction.Instruction) is { Success: true } branch
            ? branch.Groups[1].Value + branch.Groups["target"].Value
            : instruction.Instruction;

    private void WriteRows(
        IReadOnlyList<(int Before, int After)> pairs,
        IReadOnlyList<InstructionDescription> before,
        IReadOnlyList<InstructionDescription> after
    )
    {
        bool[] near = new bool[pairs.Count];
        for (int i = 0; i < pairs.Count; i++)
        {
            if (pairs[i] is { Before: >= 0, After: >= 0 })
                continue;
            for (int at = Math.Max(0, i - LinesAround); at < Math.Min(pairs.Count, i + LinesAround + 1); at++)
                near[at] = true;
        }
        (LineDescription? before, LineDescription? after) shown = (null, null);
        for (int i = 0; i < pairs.Count; )
        {
            int end = i;
            while (end < pairs.Count && near[end] == near[i])
                end++;
            Line(
                near[i]
                    ? "<tbody>"
                    : $"<tbody class=\"same\"><tr><th colspan=\"5\" scope=\"rowgroup\">{end - i} equal instructions</th></tr>"
            );
            for (; i < end; i++)
            {
                if (!near[i])
                    continue;
                var (old, now) = (pairs[i].Before < 0 ? null : before[pairs[i].Before], pairs[i].After < 0 ? null : after[pairs[i].After]);
                string kind =
                    old is null ? "added"
                    : now is null ? "removed"
                    : "equal";
                string sign =
                    old is null ? "+"
                    : now is null ? "&minus;"
                    : "";
                Line(
                    $"<tr class=\"{kind}\">{Source(old, ref shown.before)}{Code(old)}"
                        + $"<td class=\"sign\">{sign}</td>"
                        + $"{Code(now)}{Source(now, ref shown.after)}</tr>"
                );
            }
            Line("</tbody>");
        }
    }

    private static string Code(InstructionDescription? instruction) =>
        instruction is null
            ? "<td></td>"
            : string.Create(
                CultureInfo.InvariantCulture,
                $"<td><code><span class=\"offset\">{instruction.Offset:x}</span> {Text(instruction.Instruction)}</code></td>"
            );

    // A line is told once, at its first instruction.
    private static string Source(InstructionDescription? instruction, ref LineDescription? shown)
    {
        if (instruction?.Source is not { } source || source == shown)
            return "<td></td>";
        shown = source;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"<td class=\"source\"><span class=\"offset\">{Text(Path.GetFileName(source.Path))}:{source.Line}</span> "
                + $"<code>{Text(source.Text ?? "")}</code></td>"
        );
    }

    private void WriteFiles()
    {
        Line(
            "<section id=\"files\"><h2>Files</h2><table><thead><tr><th scope=\"col\">File</th>"
                + "<th scope=\"col\" class=\"number\">Bytes</th></tr></thead><tbody>"
        );
        foreach (var file in _manifest.Files)
            Line(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"<tr><th scope=\"row\">{Text(file.Path)}</th><td class=\"number\">{file.Size}</td></tr>"
                )
            );
        Line($"</tbody></table><p class=\"small\">{Text(_manifest.Tool)}</p></section>");
    }

    private void Line(string line) => _html.Append(line).Append('\n');

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
