// SPDX-License-Identifier: MIT
// Where statements of a file begin and end, as far as line directives need to know.

namespace Ksplice.Build.Patching;

/// <summary>The places between statements.</summary>
internal sealed class StatementMap
{
    private readonly IReadOnlyList<SourceLine> _lines;
    private readonly bool _isAssembly;

    // Before each line, and at the end: may a directive stand there, and in which branch of conditional groups is it? Each branch has
    // the one around it; that of the file is 0.
    private readonly bool[] _between;
    private readonly int[] _branch;
    private readonly List<int> _outer = [-1];

    public StatementMap(SourceText text, bool isAssembly)
    {
        (_lines, _isAssembly) = (text.Lines, isAssembly);
        _between = new bool[_lines.Count + 1];
        _branch = new int[_lines.Count + 1];
        CScanner scanner = new(isAssembly);
        int branch = 0;
        for (int i = 0; i < _lines.Count; i++)
        {
            (_between[i], _branch[i]) = (scanner.IsBetweenStatements, branch);
            branch = scanner.Scan(_lines[i].Text) switch
            {
                Conditional.If => Open(branch),
                Conditional.Else when branch != 0 => Open(_outer[branch]),
                Conditional.EndIf when branch != 0 => _outer[branch],
                _ => branch,
            };
        }
        (_between[^1], _branch[^1]) = (scanner.IsBetweenStatements, branch);
    }

    private int Open(int outer)
    {
        _outer.Add(outer);
        return _outer.Count - 1;
    }

    /// <summary>
    /// The least lines around line <paramref name="index"/> before and behind which directives may stand that are seen both or not
    /// at all; null if there are none, or if they reach beyond the end of a function that the line is not in.
    /// </summary>
    public (int Start, int End)? Around(int index)
    {
        int start = index;
        while (!_between[start])
            start--;
        while (true)
        {
            for (int end = index + 1; end < _between.Length && IsWithin(_branch[end], _branch[start]); end++)
            {
                if (_between[end] && _branch[end] == _branch[start])
                    return IsOneStatement(start, end) ? (start, end) : null;
            }
            int outer = _outer[_branch[start]];
            while (start >= 0 && !(_between[start] && _branch[start] == outer))
                start--;
            if (start < 0)
                return null;
        }
    }

    private bool IsWithin(int branch, int outer)
    {
        while (branch > outer)
            branch = _outer[branch];
        return branch == outer;
    }

    private bool IsOneStatement(int start, int end)
    {
        if (_isAssembly)
            return true;
        for (int i = start; i < end - 1; i++)
        {
            if (_lines[i].OriginalLine != 0 && _lines[i].Text.StartsWith('}'))
                return false;
        }
        return true;
    }
}
