// SPDX-License-Identifier: MIT
// Restores the original line numbers after a patch has shifted them.
//
// WARN, BUG and friends compile __LINE__ into the code, so a hunk that adds a line would change every function below it.
// After a shift, a directive `#line N` is put before the first original line where one is safe, N being that line's
// number in the unpatched file. A directive is safe
//   - not after a backslash-newline, not inside a block comment or a raw string (it would be text);
//   - between statements only: outside parentheses and after one of ; { } : (gcc takes a directive inside a macro's arguments,
//     but one between a macro's name and its parenthesis keeps the macro from being expanded). What lies between the
//     shift and that place belongs to the statement that the patch changed.
// A directive inside #if … #endif is not seen by a compiler that skips the group: after the next #elif, #else or #endif
// another one follows. Parentheses are counted on each side of an #else from what they were at its #if.
// Assembly (.S) has no statements to wait for; comments, strings and continuations hold there too.

using System.Globalization;
using System.Text;

namespace Ksplice.Build.Patching;

/// <summary>Puts <c>#line</c> directives into patched C and assembly files.</summary>
public static class LineDirectives
{
    /// <summary>
    /// The bytes of <paramref name="text"/> with directives where they are needed. Lines that a patch brought keep the numbers
    /// that they happen to get: <paramref name="numbers"/> receives the number that the compiler sees for each of them.
    /// </summary>
    public static byte[] Restore(SourceText text, bool isAssembly, out IReadOnlyList<NumberedLine> numbers)
    {
        var output = new StringBuilder();
        var patched = new List<NumberedLine>();
        var scanner = new CScanner(isAssembly);
        // For each open #if: true once a directive was put inside.
        var groups = new Stack<bool>();
        var seen = 0;
        var unknown = false;
        foreach (var line in text.Lines)
        {
            seen++;
            if (line.OriginalLine != 0 && (unknown || seen != line.OriginalLine) && scanner.IsBetweenStatements)
            {
                output.Append(CultureInfo.InvariantCulture, $"#line {line.OriginalLine}\n");
                seen = line.OriginalLine;
                unknown = false;
                MarkAll(groups);
            }
            if (line.OriginalLine == 0)
                patched.Add(new NumberedLine(seen, line));
            output.Append(line.Text);
            switch (scanner.Scan(line.Text))
            {
                case Conditional.If:
                    groups.Push(false);
                    break;
                case Conditional.Else:
                    unknown |= groups.TryPeek(out var inElse) && inElse;
                    break;
                case Conditional.EndIf:
                    unknown |= groups.TryPop(out var inGroup) && inGroup;
                    break;
            }
        }
        numbers = patched;
        return Encoding.Latin1.GetBytes(output.ToString());
    }

    private static void MarkAll(Stack<bool> groups)
    {
        var count = groups.Count;
        groups.Clear();
        for (var i = 0; i < count; i++)
            groups.Push(true);
    }
}

/// <summary>A line that a patch brought and the number by which the compiler knows it.</summary>
/// <param name="Number">The number in messages and debug information.</param>
/// <param name="Line">The line and its patch.</param>
public readonly record struct NumberedLine(int Number, SourceLine Line);
