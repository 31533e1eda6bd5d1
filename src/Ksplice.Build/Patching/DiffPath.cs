// SPDX-License-Identifier: MIT
// File names in diffs: quoting (git writes "a/\303\244.c" for bytes it does not like), time stamps after a tab, /dev/null, the
// old diffs' habit to mark a missing file by the epoch, and the checks that keep a path inside the tree.

using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Ksplice.Build.Patching;

/// <summary>A file name as a diff has it.</summary>
/// <param name="Name">The name, unquoted, as the file system wants it.</param>
/// <param name="IsEpoch">True if the time stamp beside it is the epoch, which says that the file does not exist.</param>
internal sealed partial record DiffPath(string Name, bool IsEpoch = false)
{
    public bool IsNull => Name == "/dev/null";

    /// <summary>The name in a '---' or '+++' line, without the marker.</summary>
    public static DiffPath? FromHeader(string text)
    {
        if (text.StartsWith('"'))
            return Unquote(text, 0, out var end) is { } quoted ? new DiffPath(quoted, EpochStamp(text[end..])) : null;
        var tab = text.IndexOf('\t', StringComparison.Ordinal);
        var name = (tab < 0 ? text : text[..tab]).TrimEnd(' ');
        return name.Length == 0 ? null : new DiffPath(FromBytes(name), tab >= 0 && EpochStamp(text[tab..]));
    }

    /// <summary>The name in a line <c>diff --git a/NAME b/NAME</c>, or null where the two names are not the same.</summary>
    public static DiffPath? FromGitLine(string line)
    {
        var text = line["diff --git ".Length..];
        string? first;
        string? second;
        if (text.StartsWith('"'))
        {
            first = Unquote(text, 0, out var end);
            second = end < text.Length - 1 && text[end] == ' ' ? text[(end + 1)..] : null;
            if (second is not null && second.StartsWith('"'))
                second = Unquote(second, 0, out _);
        }
        else
        {
            // Names may hold blanks: the halves are of one length.
            var half = text.Length / 2;
            if (text.Length % 2 == 0 || text[half] != ' ')
                return null;
            (first, second) = (FromBytes(text[..half]), FromBytes(text[(half + 1)..]));
        }
        if (first is null || second is null)
            return null;
        var (slash, otherSlash) = (first.IndexOf('/', StringComparison.Ordinal), second.IndexOf('/', StringComparison.Ordinal));
        return slash >= 0 && otherSlash >= 0 && first[slash..] == second[otherSlash..] ? new DiffPath(second) : null;
    }

    /// <summary>Strips the first folder (-p1) and checks that what is left stays below the tree's root.</summary>
    public bool Relative(out string relative, out string problem)
    {
        relative = "";
        if (Name.StartsWith('/'))
        {
            problem = "the path is absolute";
            return false;
        }
        var slash = Name.IndexOf('/', StringComparison.Ordinal);
        if (slash < 0)
        {
            problem = "the path has no first folder to strip; patches are applied as with -p1 (a/fs/file.c, b/fs/file.c)";
            return false;
        }
        relative = Name[(slash + 1)..];
        foreach (var part in relative.Split('/'))
        {
            if (part is "" or "." or "..")
            {
                problem = part == ".." ? "the path leaves the source tree" : "the path has an empty part or '.'";
                return false;
            }
        }
        if (Name.StartsWith("../", StringComparison.Ordinal))
        {
            problem = "the path leaves the source tree";
            return false;
        }
        problem = "";
        return true;
    }

    private static bool EpochStamp(string stamp) =>
        Stamp().Match(stamp.Trim()) is { Success: true } match
        && DateTimeOffset.TryParseExact(
            $"{match.Groups["time"]} {match.Groups["hours"]}:{match.Groups["minutes"]}",
            "yyyy-MM-dd HH:mm:ss zzz",
            CultureInfo.InvariantCulture,
            DateTimeStyles.None,
            out var time
        )
        && time.ToUnixTimeSeconds() == 0;

    /// <summary>Reads a C string in double quotes; its octal escapes are bytes of UTF-8.</summary>
    private static string? Unquote(string text, int start, out int end)
    {
        var bytes = new StringBuilder();
        for (end = start + 1; end < text.Length; end++)
        {
            var c = text[end];
            if (c == '"')
            {
                end++;
                return FromBytes(bytes.ToString());
            }
            if (c != '\\')
            {
                bytes.Append(c);
                continue;
            }
            if (++end == text.Length)
                return null;
            c = text[end];
            if (c is >= '0' and <= '3' && end + 2 < text.Length && text[end + 1] is >= '0' and <= '7' && text[end + 2] is >= '0' and <= '7')
            {
                bytes.Append((char)(((c - '0') << 6) | ((text[end + 1] - '0') << 3) | (text[end + 2] - '0')));
                end += 2;
                continue;
            }
            var plain = "abtnvfr\"\\".IndexOf(c, StringComparison.Ordinal);
            if (plain < 0)
                return null;
            bytes.Append("\a\b\t\n\v\f\r\"\\"[plain]);
        }
        return null;
    }

    /// <summary>The patch's text is one char a byte; file names are UTF-8.</summary>
    private static string FromBytes(string latin1) => Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(latin1));

    [GeneratedRegex(
        @"^(?<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)(?:\.0+)? (?<hours>[+-]\d\d)(?<minutes>\d\d)$",
        RegexOptions.CultureInvariant
    )]
    private static partial Regex Stamp();
}
