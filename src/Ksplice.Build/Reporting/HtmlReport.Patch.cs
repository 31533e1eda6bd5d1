// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Updates;

namespace Ksplice.Build.Reporting;

/// <content>The patches, and what was said of them.</content>
public sealed partial class HtmlReport
{
    private void WritePatches(IReadOnlyList<(string Name, string Text)> patches)
    {
        Line($"<section id=\"patch\"><h2>{(patches.Count == 1 ? "The patch" : "The patches")}</h2>");
        foreach (var (name, text) in patches)
        {
            string file = Path.GetFileName(name);
            string[] lines = text.ReplaceLineEndings("\n").TrimEnd('\n').Split('\n');
            int start = Array.FindIndex(lines, line => IsHead(line));
            start = start < 0 ? 0 : start;
            Line($"<article class=\"patch\"><h3>{Text(file)}</h3>");
            string words = string.Join('\n', lines[..start]).Trim('\n');
            if (words.Length != 0)
                Line($"<div class=\"words\">{Text(words)}</div>");
            Line($"<div class=\"code diff\" role=\"region\" tabindex=\"0\" aria-label=\"{Text(file)}\">");
            foreach (string line in lines[start..])
                Line($"<code class=\"{Kind(line)}\">{(line.Length == 0 ? " " : Text(line))}</code>");
            Line("</div></article>");
        }
        Line("</section>");
    }

    private static bool IsHead(string line) =>
        line.StartsWith("--- ", StringComparison.Ordinal)
        || line.StartsWith("diff --git ", StringComparison.Ordinal)
        || line.StartsWith("Index: ", StringComparison.Ordinal);

    private static string Kind(string line) =>
        line switch
        {
            _ when IsHead(line) || line.StartsWith("+++ ", StringComparison.Ordinal) => "head",
            ['+', ..] => "added",
            ['-', ..] => "removed",
            ['@', ..] => "hunk",
            _ => "equal",
        };

    private void WriteDiagnostics(string title, IReadOnlyList<ReportedDiagnostic> diagnostics)
    {
        Line($"<section id=\"diagnostics\"><h2>{title}</h2>");
        if (diagnostics.Count == 0)
            Line("<p>The analysis had nothing to say.</p>");
        foreach (var diagnostic in diagnostics.OrderBy(diagnostic => Rank(diagnostic.Level)))
        {
            string place = Place(diagnostic);
            Line(
                $"<div class=\"said {Text(diagnostic.Level)}\"><p><b>{Text(diagnostic.Level)}</b> {Rule(diagnostic.Id)}"
                    + $"{(place.Length == 0 ? "" : $" <span class=\"small\">{Text(place)}</span>")}</p>"
                    + $"<p>{Text(diagnostic.Message)}</p></div>"
            );
        }
    }

    private static int Rank(string level) =>
        level switch
        {
            "error" => 0,
            "warning" => 1,
            _ => 2,
        };

    // A folder of the machine that built it says nothing to others.
    private static string Place(ReportedDiagnostic diagnostic)
    {
        if (diagnostic.Place is not { } location)
            return "";
        string path = diagnostic.File ?? (Path.IsPathRooted(location.Path) ? Path.GetFileName(location.Path) : location.Path);
        return location.Line == 0 ? path : string.Create(CultureInfo.InvariantCulture, $"{path}:{location.Line}");
    }
}
