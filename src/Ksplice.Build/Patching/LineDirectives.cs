// SPDX-License-Identifier: MIT
// Gives every line of a patched file a name and number for the compiler that nothing else has.
//
// WARN, BUG and friends compile __LINE__ into the code, so a hunk that adds a line would change every function below it.
// Lines that no patch touched therefore keep the number that they have in the unpatched file. Each statement that holds an
// added line has the numbers of the patched file instead, and to tell the two apart, the name of the file with a mark before it:
//
//     # 45 "/ksplice-patched/0/fs/x.c" 1     as if a file was included here: its line 45 follows
//     # 44 "" 2                              back to the file around it, whatever name the compiler has for that: its line 44 follows
//     #line 44                               only another number: lines were removed
//
// The compiler is told to leave the mark out of __FILE__ (MarkMap); debug data and messages have it. Kernel/UbsanNames.cs takes it out of
// UBSAN's data.
// The number in the mark says which of stacked updates brought the statement. A statement of a lower update keeps mark and number in
// the trees of the updates above, or its code would not be what that update brought.
//
// A directive is safe
//   - not after a backslash-newline, not inside a block comment or a raw string (it would be text);
//   - between statements only: outside parentheses and after one of ; { } : (gcc takes a directive inside a macro's arguments,
//     but one between a macro's name and its parenthesis keeps the macro from being expanded). What lies between the
//     shift and that place belongs to the statement that the patch changed.
// A directive inside #if … #endif is not seen by a compiler that skips the group: after the next #elif, #else or #endif
// another one follows. Both ends of a marked statement lie in one group, so that the compiler sees both or none; where that cannot
// be, the lines stay without a mark. Parentheses are counted on each side of an #else from what they were at its #if.
// Assembly (.S) has no statements to wait for; comments, strings and continuations hold there too. The preprocessor takes no # 45 for
// a directive there. So an assembly file is marked by #line with a name, since its own name is known, and in a header a #line
// stands behind the way back, for assembly that includes it.

using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Ksplice.Build.Patching;

/// <summary>Puts line directives into patched C and assembly files.</summary>
public static partial class LineDirectives
{
    private const string Marks = "/ksplice-patched/";

    /// <summary>The argument that keeps the compiler from putting the mark of update <paramref name="update"/> into code.</summary>
    public static string MarkMap(int update) => $"-fmacro-prefix-map={Mark(update)}=";

    /// <summary>The file of the source tree that the compiler's name for it, with a mark or without, stands for.</summary>
    public static string PathOf(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return name.StartsWith(Marks, StringComparison.Ordinal) && name.IndexOf('/', Marks.Length) is > 0 and var end
            ? name[(end + 1)..]
            : name;
    }

    /// <summary>
    /// Numbers the statements of <paramref name="path"/> that lines of update <paramref name="update"/> are in: those lines that have
    /// neither an original line nor a number yet.
    /// </summary>
    public static SourceText Number(SourceText text, string path, int update)
    {
        ArgumentNullException.ThrowIfNull(text);
        var lines = text.Lines.ToArray();
        StatementMap map = new(text, IsAssembly(path));
        for (int i = 0; i < lines.Length; )
        {
            if (lines[i].OriginalLine != 0 || lines[i].Number != 0)
                i++;
            else if (map.Around(i) is var (start, end))
            {
                for (i = start; i < end; i++)
                    lines[i] = lines[i] with { Number = i + 1, Mark = Mark(update) };
            }
            else
                lines[i] = lines[i++] with { Number = -1 };
        }
        return new SourceText(lines);
    }

    /// <summary>
    /// The bytes of <paramref name="text"/>, the file <paramref name="path"/>, with directives where they are needed.
    /// <paramref name="numbers"/> receives name and number for the compiler of each line that a patch brought, and of each marked line.
    /// </summary>
    public static byte[] Restore(SourceText text, string path, out IReadOnlyList<NumberedLine> numbers)
    {
        ArgumentNullException.ThrowIfNull(text);
        ArgumentNullException.ThrowIfNull(path);
        Writer writer = new(path, marks: true);
        if (!writer.Write(text))
        {
            writer = new Writer(path, marks: false);
            writer.Write(text);
        }
        numbers = writer.Numbers;
        return Encoding.Latin1.GetBytes(writer.Text);
    }

    /// <summary>The lines of a file that <see cref="Restore"/> made, by the compiler's name and number.</summary>
    public static IReadOnlyDictionary<(string Name, int Number), string> Read(string path, IEnumerable<string> lines)
    {
        ArgumentNullException.ThrowIfNull(lines);
        Dictionary<(string, int), string> read = [];
        foreach (var (name, number, line) in List(path, lines))
            read.TryAdd((name, number), line);
        return read;
    }

    /// <summary>The same lines in their order: those of the file without the directives.</summary>
    internal static IEnumerable<(string Name, int Number, string Text)> List(string path, IEnumerable<string> lines)
    {
        var (name, number) = (path, 1);
        foreach (string line in lines)
        {
            if (Directive().Match(line) is { Success: true } match)
            {
                number = int.Parse(match.Groups["number"].Value, CultureInfo.InvariantCulture);
                if (match.Groups["name"] is { Success: true, Value: var given })
                    name = given.Length == 0 ? path : given;
            }
            else
                yield return (name, number++, line);
        }
    }

    /// <summary>
    /// The bytes of a file that <see cref="Restore"/> made, without the directives: every line has its number in the patched file.
    /// </summary>
    internal static byte[] Remove(ReadOnlySpan<byte> content)
    {
        StringBuilder plain = new();
        foreach (var line in SourceText.FromBytes(content).Lines)
        {
            if (!Directive().IsMatch(line.Text.TrimEnd('\n')))
                plain.Append(line.Text);
        }
        return Encoding.Latin1.GetBytes(plain.ToString());
    }

    private static string Mark(int update) => string.Create(CultureInfo.InvariantCulture, $"{Marks}{update}/");

    private static bool IsAssembly(string path) => path.EndsWith(".S", StringComparison.Ordinal);

    [GeneratedRegex("""^(?:# (?<number>\d{1,9}) "(?<name>)" 2|(?:#line|#) (?<number>\d{1,9})(?: "(?<name>[^"]+)"(?: 1)?)?)$""")]
    private static partial Regex Directive();

    private sealed class Writer(string path, bool marks)
    {
        private readonly StringBuilder _output = new();
        private readonly List<NumberedLine> _numbers = [];
        private readonly CScanner _scanner = new(IsAssembly(path));

        // For each open #if: true once a directive was put inside, and the mark at its beginning.
        private readonly Stack<(bool Directive, string? Mark)> _groups = new();
        private string? _mark;
        private int _number = 1;
        private bool _unknown;

        public string Text => _output.ToString();

        public IReadOnlyList<NumberedLine> Numbers => _numbers;

        /// <summary>False if a mark would begin in one group of #if and end in another.</summary>
        public bool Write(SourceText text)
        {
            foreach (var line in text.Lines)
            {
                if (_scanner.IsBetweenStatements)
                    Direct(line);
                if (line.PatchPath is not null || _mark is not null)
                    _numbers.Add(new NumberedLine(_mark + path, _number, line));
                _output.Append(line.Text);
                _number++;
                if (!Scan(line.Text))
                    return false;
            }
            if (_mark is null)
                return true;
            if (!_scanner.IsBetweenStatements)
                return false;
            if (!text.Lines[^1].Text.EndsWith('\n'))
                _output.Append('\n');
            Leave(_number);
            return true;
        }

        private void Direct(SourceLine line)
        {
            string? mark = marks ? line.Mark : null;
            int number =
                line.Number > 0 && mark == line.Mark ? line.Number
                : line.OriginalLine != 0 ? line.OriginalLine
                : _number;
            if (mark != _mark)
            {
                if (_mark is not null)
                    Leave(number);
                if (mark is not null)
                    Enter(mark, number);
            }
            else if (number != _number || (_unknown && (line.Number > 0 || line.OriginalLine != 0)))
                Put($"#line {number}");
            else
                return;
            (_number, _unknown) = (number, false);
        }

        private void Enter(string mark, int number)
        {
            Put(IsAssembly(path) ? $"#line {number} \"{mark}{path}\"" : $"# {number} \"{mark}{path}\" 1");
            _mark = mark;
        }

        private void Leave(int number)
        {
            Put(IsAssembly(path) ? $"#line {number} \"{path}\"" : $"# {number} \"\" 2");
            if (!IsAssembly(path) && !path.EndsWith(".c", StringComparison.Ordinal))
                Put($"#line {number}");
            _mark = null;
        }

        private void Put(string directive)
        {
            _output.Append(directive).Append('\n');
            var groups = _groups.Reverse().ToList();
            _groups.Clear();
            foreach (var (_, mark) in groups)
                _groups.Push((true, mark));
        }

        private bool Scan(string line)
        {
            switch (_scanner.Scan(line))
            {
                case Conditional.If:
                    _groups.Push((false, _mark));
                    return true;
                case Conditional.Else when _groups.TryPeek(out var group):
                    _unknown |= group.Directive;
                    return group.Mark == _mark;
                case Conditional.EndIf when _groups.TryPop(out var group):
                    _unknown |= group.Directive;
                    return group.Mark == _mark;
                default:
                    return true;
            }
        }
    }
}

/// <summary>A line of a patched file and how the compiler knows it.</summary>
/// <param name="Name">The file's name in messages and debug information, with a mark where the number is the patched file's.</param>
/// <param name="Number">The number there.</param>
/// <param name="Line">The line and its patch.</param>
public readonly record struct NumberedLine(string Name, int Number, SourceLine Line);
