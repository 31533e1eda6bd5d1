// SPDX-License-Identifier: MIT
// The names of sections in .editorconfig files, as the C# compiler reads them; there is no other specification that editors agree on.
//
//   *        characters, but no slash         {a,b}    one of these, which may be such names themselves
//   **       characters                       {1..9}   a number of that range
//   ?        one character                    \x       x itself
//   [ab-d]   one of these characters; [!ab] one that is none of these; \ takes the next character as a regular expression does
//
// A name without a slash is about files in any folder below the file's own, any other about paths from there. A comma or a closing brace
// stands only in braces. A name that is none of this is about no file: the compiler says nothing then, and we warn
// (DiagnosticConfiguration.Ineffective). Tests compare with Roslyn's AnalyzerConfigSet.
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Ksplice.Build.Diagnostics;

/// <summary>Tells whether a section is about a file.</summary>
internal sealed partial class SectionGlob
{
    // A stack's depth is limited, and nobody nests braces so.
    private const int MaximalDepth = 64;

    private readonly Regex _pattern;
    private readonly List<(int Low, int High)> _ranges;

    private SectionGlob(Regex pattern, List<(int Low, int High)> ranges) => (_pattern, _ranges) = (pattern, ranges);

    /// <summary>Reads a section's name; null if it is no glob.</summary>
    public static SectionGlob? Parse(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        string start =
            !name.Contains('/', StringComparison.Ordinal) ? ".*/"
            : name[0] == '/' ? ""
            : "/";
        Translation translation = new(name);
        if (!translation.Items(depth: 0))
            return null;
        try
        {
            return new(new Regex($"^{start}{translation.Pattern}$", RegexOptions.CultureInvariant), translation.Ranges);
        }
        catch (ArgumentException)
        {
            // [], [z-a] and the like.
            return null;
        }
    }

    /// <summary>The one text that a name stands for; null if something in it stands for several.</summary>
    public static string? Literal(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        StringBuilder text = new();
        for (int at = 0; at < name.Length; at++)
        {
            if (name[at] == '\\' && at + 1 < name.Length)
                at++;
            else if (name[at] is '*' or '?' or '{' or '}' or ',' or '[' or '\\')
                return null;
            text.Append(name[at]);
        }
        return text.ToString();
    }

    /// <summary>True if the section is about <paramref name="path"/>, which begins with a slash, the file's folder.</summary>
    public bool Matches(string path)
    {
        var match = _pattern.Match(path);
        if (!match.Success)
            return false;
        // A range in a branch that was not taken has no number, and then the compiler does not take the name to match.
        for (int i = 0; i < _ranges.Count; i++)
        {
            if (
                !int.TryParse(match.Groups[i + 1].ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int number)
                || number < _ranges[i].Low
                || number > _ranges[i].High
            )
                return false;
        }
        return true;
    }

    [GeneratedRegex(@"\G\{(-?\d+)\.\.(-?\d+)\}")]
    private static partial Regex RangePattern();

    // From a name to a regular expression.
    private sealed class Translation(string name)
    {
        private readonly StringBuilder _pattern = new();
        private int _at;

        public string Pattern => _pattern.ToString();

        public List<(int Low, int High)> Ranges { get; } = [];

        // Up to the end, or in braces up to a comma or the closing brace; false if there is no sense in it.
        public bool Items(int depth)
        {
            while (_at < name.Length)
            {
                char letter = name[_at++];
                switch (letter)
                {
                    case '*' when Follows('*'):
                        _at++;
                        _pattern.Append(".*");
                        break;
                    case '*':
                        _pattern.Append("[^/]*");
                        break;
                    case '?':
                        _pattern.Append('.');
                        break;
                    case ',' or '}':
                        return depth > 0;
                    case '[':
                        if (!Characters())
                            return false;
                        break;
                    case '{':
                        if (RangePattern().Match(name, _at - 1) is { Success: true } range ? !Range(range) : !Choice(depth + 1))
                            return false;
                        break;
                    case '\\' when _at == name.Length:
                        return false;
                    default:
                        Take(letter == '\\' ? name[_at++] : letter);
                        break;
                }
            }
            return depth == 0;
        }

        private bool Follows(char letter) => _at < name.Length && name[_at] == letter;

        private void Take(char letter) => _pattern.Append(Regex.Escape(letter.ToString()));

        private bool Range(Match range)
        {
            if (
                !int.TryParse(range.Groups[1].ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int from)
                || !int.TryParse(range.Groups[2].ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out int to)
            )
                return false;
            _at += range.Length - 1;
            Ranges.Add((Math.Min(from, to), Math.Max(from, to)));
            _pattern.Append("(-?[0-9]+)");
            return true;
        }

        private bool Choice(int depth)
        {
            if (depth > MaximalDepth)
                return false;
            _pattern.Append("(?:");
            while (Items(depth))
            {
                if (name[_at - 1] == '}')
                {
                    _pattern.Append(')');
                    return true;
                }
                _pattern.Append('|');
            }
            return false;
        }

        private bool Characters()
        {
            _pattern.Append('[');
            if (Follows('!'))
            {
                _at++;
                _pattern.Append('^');
            }
            while (_at < name.Length)
            {
                char letter = name[_at++];
                switch (letter)
                {
                    case ']':
                        _pattern.Append(']');
                        return true;
                    case '-':
                        _pattern.Append('-');
                        break;
                    case '\\' when _at == name.Length:
                        return false;
                    case '\\':
                        _pattern.Append('\\').Append(name[_at++]);
                        break;
                    default:
                        Take(letter);
                        break;
                }
            }
            return false;
        }
    }
}
