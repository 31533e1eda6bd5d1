// SPDX-License-Identifier: MIT
// .editorconfig and .globalconfig files, read as the C# compiler reads them: properties below [sections]. In a .editorconfig the names of
// sections are globs (SectionGlob), in a global file each is the full path of one file.
using System.Globalization;
using System.Text.RegularExpressions;

namespace Ksplice.Build.Diagnostics;

/// <summary>A section of a configuration file.</summary>
/// <param name="Glob">Its name; empty for what stands above the first section.</param>
/// <param name="Line">The line of its name, from 1; 0 for what stands above the first section.</param>
/// <param name="Properties">Its properties, keys in lower case.</param>
public sealed record EditorConfigSection(string Glob, int Line, IReadOnlyDictionary<string, string> Properties)
{
    private readonly Lazy<SectionGlob?> _glob = new(() => SectionGlob.Parse(Glob));

    /// <summary>True if the name is one that can be understood.</summary>
    public bool IsGlob => _glob.Value is not null;

    /// <summary>True if the section is about <paramref name="path"/>, given with slashes and relative to the file's folder.</summary>
    public bool Matches(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        return Glob.Length != 0 && _glob.Value?.Matches("/" + path.TrimStart('/')) == true;
    }
}

/// <summary>A configuration file.</summary>
/// <param name="Path">Its full path.</param>
/// <param name="IsGlobal">True for a file that counts everywhere (<c>is_global = true</c>, or named .globalconfig).</param>
/// <param name="IsRoot">True if files of the folders above do not count.</param>
/// <param name="GlobalLevel">Of two global files the one of the higher level counts (<c>global_level</c>).</param>
/// <param name="Sections">Its sections, in order.</param>
public sealed partial record EditorConfig(
    string Path,
    bool IsGlobal,
    bool IsRoot,
    int GlobalLevel,
    IReadOnlyList<EditorConfigSection> Sections
)
{
    private const int LevelOfNamedFile = 100;

    /// <summary>Parses a file's text; lines that are neither of a section nor of a property are left out.</summary>
    public static EditorConfig Parse(string path, string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        List<EditorConfigSection> sections = [];
        Dictionary<string, string> properties = new(StringComparer.Ordinal);
        Dictionary<string, string> preamble = properties;
        string glob = "";
        int start = 0,
            number = 0;
        foreach (string raw in LineEnd().Split(text))
        {
            number++;
            string line = raw.Trim();
            if (line.Length == 0 || line[0] is '#' or ';')
                continue;
            if (SectionPattern().Match(line) is { Success: true } section)
            {
                sections.Add(new(glob, start, properties));
                (glob, start, properties) = (section.Groups[1].Value, number, new(StringComparer.Ordinal));
            }
            else if (line.IndexOfAny(['=', ':']) is var separator and > 0 && line[..separator].TrimEnd() is var key && Key().IsMatch(key))
            {
                string value = line[(separator + 1)..];
                properties[key.ToLowerInvariant()] = (value.IndexOfAny(['#', ';']) is var end and >= 0 ? value[..end] : value).Trim();
            }
        }
        sections.Add(new(glob, start, properties));
        bool Says(string name) => preamble.TryGetValue(name, out string? value) && value.Equals("true", StringComparison.OrdinalIgnoreCase);
        bool isNamed = System.IO.Path.GetFileName(path).Equals(".globalconfig", StringComparison.OrdinalIgnoreCase);
        return new EditorConfig(
            path,
            isNamed || Says("is_global"),
            Says("root"),
            preamble.TryGetValue("global_level", out string? level)
                && int.TryParse(level, NumberStyles.Integer, CultureInfo.InvariantCulture, out int given)
                    ? given
                : isNamed ? LevelOfNamedFile
                : 0,
            sections
        );
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

    [GeneratedRegex("\r\n|[\r\n\u0085\u2028\u2029]")]
    private static partial Regex LineEnd();

    // A # or ; belongs to the name only behind a backslash.
    [GeneratedRegex(@"^\[((?:[^#;]|(?<=\\)[#;])+)\]\s*(?:[#;].*)?$")]
    private static partial Regex SectionPattern();

    [GeneratedRegex(@"^[\w.-]+$")]
    private static partial Regex Key();
}
