// SPDX-License-Identifier: MIT
// .editorconfig and .globalconfig files, as editors and the C# compiler read them: properties below [sections] whose names
// are globs over paths. Of the globs all is here that the specification has: * and ** and ?, [abc] and [!abc], {a,b} and
// {1..9}; a glob without a slash counts for every folder below the file's own.
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Ksplice.Build.Diagnostics;

/// <summary>A section of a configuration file.</summary>
/// <param name="Glob">Its name; empty for what stands above the first section.</param>
/// <param name="Properties">Its properties, keys in lower case.</param>
public sealed record EditorConfigSection(string Glob, IReadOnlyDictionary<string, string> Properties)
{
    private readonly Lazy<Regex> _pattern = new(() => ToRegex(Glob));

    /// <summary>True if the section is about <paramref name="path"/>, given with slashes and relative to the file's folder.</summary>
    public bool Matches(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return Glob.Length != 0 && _pattern.Value.IsMatch("/" + path.TrimStart('/'));
    }

    private static Regex ToRegex(string glob)
    {
        // Without a slash, or with one at the end only, the glob may match in any folder.
        string anchored =
            glob.StartsWith('/') ? glob
            : glob.IndexOf('/') >= 0 ? "/" + glob
            : "/**/" + glob;
        StringBuilder regex = new("^");
        int depth = 0;
        for (int i = 0; i < anchored.Length; i++)
        {
            char c = anchored[i];
            if (c == '\\' && i + 1 < anchored.Length)
                regex.Append(Regex.Escape(anchored[++i].ToString()));
            else if (c == '/' && anchored.AsSpan(i).StartsWith("/**/"))
            {
                regex.Append("(?:/|/.*/)");
                i += 3;
            }
            else if (c == '*' && i + 1 < anchored.Length && anchored[i + 1] == '*')
            {
                regex.Append(".*");
                i++;
            }
            else if (c == '*')
                regex.Append("[^/]*");
            else if (c == '?')
                regex.Append("[^/]");
            else if (c == '[' && anchored.IndexOf(']', i + 1) is var end and > 0 && !anchored.AsSpan(i, end - i).Contains('/'))
            {
                string set = anchored[(i + 1)..end];
                regex.Append(CultureInfo.InvariantCulture, $"[{(set.StartsWith('!') ? "^" + Escape(set[1..]) : Escape(set))}]");
                i = end;
            }
            else if (c == '{' && Range(anchored, ref i) is { } range)
                regex.Append(range);
            else if (c == '{' && anchored.IndexOf('}', i) > 0 && anchored.AsSpan(i, anchored.IndexOf('}', i) - i).Contains(','))
            {
                regex.Append("(?:");
                depth++;
            }
            else if (c == '}' && depth > 0)
            {
                regex.Append(')');
                depth--;
            }
            else if (c == ',' && depth > 0)
                regex.Append('|');
            else
                regex.Append(Regex.Escape(c.ToString()));
        }
        while (depth-- > 0)
            regex.Append(')');
        return new Regex(regex.Append('$').ToString(), RegexOptions.CultureInvariant);
    }

    private static string Escape(string set) =>
        set.Replace("\\", @"\\", StringComparison.Ordinal)
            .Replace("[", @"\[", StringComparison.Ordinal)
            .Replace("^", @"\^", StringComparison.Ordinal);

    private static string? Range(string glob, ref int at)
    {
        if (
            Regex.Match(glob[at..], @"^\{(-?\d+)\.\.(-?\d+)\}") is not { Success: true } range
            || !int.TryParse(range.Groups[1].ValueSpan, CultureInfo.InvariantCulture, out int from)
            || !int.TryParse(range.Groups[2].ValueSpan, CultureInfo.InvariantCulture, out int to)
            || Math.Abs((long)from - to) > 10_000
        )
            return null;
        at += range.Length - 1;
        return $"(?:{string.Join('|', Enumerable.Range(Math.Min(from, to), Math.Abs(from - to) + 1))})";
    }
}

/// <summary>A configuration file.</summary>
/// <param name="Path">Its full path.</param>
/// <param name="IsGlobal">True for a file that counts everywhere (<c>is_global = true</c>, or named .globalconfig).</param>
/// <param name="IsRoot">True if files of the folders above do not count.</param>
/// <param name="Sections">Its sections, in order.</param>
public sealed record EditorConfig(string Path, bool IsGlobal, bool IsRoot, IReadOnlyList<EditorConfigSection> Sections)
{
    /// <summary>Parses a file's text.</summary>
    public static EditorConfig Parse(string path, string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        List<EditorConfigSection> sections = [];
        Dictionary<string, string> properties = new(StringComparer.Ordinal);
        Dictionary<string, string> preamble = properties;
        string glob = "";
        foreach (string raw in text.Split('\n'))
        {
            string line = raw.Trim();
            if (line.Length == 0 || line[0] is '#' or ';')
                continue;
            if (line[0] == '[' && line.LastIndexOf(']') is var end and > 0)
            {
                sections.Add(new(glob, properties));
                (glob, properties) = (line[1..end], new(StringComparer.Ordinal));
                continue;
            }
            int equals = line.IndexOf('=', StringComparison.Ordinal);
            if (equals <= 0)
                continue;
            string value = Regex.Replace(line[(equals + 1)..], @"(^|\s)[#;].*$", "").Trim();
            properties[line[..equals].Trim().ToLowerInvariant()] = value;
        }
        sections.Add(new(glob, properties));
        bool Says(string key) => preamble.TryGetValue(key, out string? value) && value.Equals("true", StringComparison.OrdinalIgnoreCase);
        return new EditorConfig(path, Says("is_global") || System.IO.Path.GetFileName(path) == ".globalconfig", Says("root"), sections);
    }

    /// <summary>
    /// The files that count in <paramref name="folder"/>: every .globalconfig and .editorconfig of it and of the folders
    /// above, up to a root; farthest first.
    /// </summary>
    public static IReadOnlyList<EditorConfig> Discover(string folder)
    {
        List<EditorConfig> found = [];
        bool root = false;
        for (var at = new DirectoryInfo(folder); at is not null; at = at.Parent)
        {
            string global = System.IO.Path.Combine(at.FullName, ".globalconfig"),
                local = System.IO.Path.Combine(at.FullName, ".editorconfig");
            if (!root && File.Exists(local))
            {
                var file = Parse(local, File.ReadAllText(local));
                root = file.IsRoot;
                found.Insert(0, file);
            }
            if (File.Exists(global))
                found.Insert(0, Parse(global, File.ReadAllText(global)));
        }
        return found;
    }
}
