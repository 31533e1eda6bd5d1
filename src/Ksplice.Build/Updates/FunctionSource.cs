// SPDX-License-Identifier: MIT
// The source of a function, for people. The debug data tells the line of its head; from there the text is followed to what the kernel's
// coding style has at the end of a function, a brace in the first column. Where that leads to something else, there is no source to show.
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Updates;

/// <summary>Finds the source of functions in the tree <paramref name="root"/>.</summary>
internal sealed class FunctionSource(string root)
{
    private const int MostHeadLines = 12,
        MostLines = 1500;
    private readonly Dictionary<string, List<(string Name, int Number, string Text)>> _files = new(StringComparer.Ordinal);

    /// <summary>The function whose first instruction comes from <paramref name="place"/>; null if it cannot be told.</summary>
    public SourceListing? Find(string function, SourceLocation? place)
    {
        if (place is null)
            return null;
        string path = LineDirectives.PathOf(place.Path);
        var lines = Lines(path);
        int head = lines.FindIndex(line => line.Name == place.Path && line.Number == place.Line);
        if (head < 0)
            return null;
        int end =
            lines[head].Text is var text && text.Contains('{', StringComparison.Ordinal) && text.TrimEnd().EndsWith('}')
                ? head
                : lines.FindIndex(head, Math.Min(MostLines, lines.Count - head), line => line.Text.StartsWith('}'));
        int start = head;
        while (start > 0 && head - start < MostHeadLines && IsHead(lines[start - 1].Text))
            start--;
        // A clone has the function's name and more: f.isra.0.
        bool isIt = lines
            .Skip(start)
            .Take(head - start + 1)
            .Any(line =>
                line.Text.Contains(function.Split('.')[0], StringComparison.Ordinal)
                || line.Text.Contains("DEFINE", StringComparison.Ordinal)
            );
        return end < 0 || !isIt ? null : new(path, start + 1, [.. lines[start..(end + 1)].Select(line => line.Text)]);
    }

    private static bool IsHead(string line) =>
        line.Trim() is { Length: > 0 } text
        && line[0] is not ('}' or '#')
        && text[^1] is not (';' or '}' or '\\')
        && !text.EndsWith("*/", StringComparison.Ordinal);

    private List<(string Name, int Number, string Text)> Lines(string path)
    {
        if (!_files.TryGetValue(path, out var lines))
        {
            string file = Path.Combine(root, path);
            string[] text =
                File.Exists(file) && !path.EndsWith(".S", StringComparison.Ordinal) ? File.ReadAllLines(file, Encoding.Latin1) : [];
            _files.Add(path, lines = [.. LineDirectives.List(path, text)]);
        }
        return lines;
    }
}
