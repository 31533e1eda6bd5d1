// SPDX-License-Identifier: MIT
// Where a hunk goes. Context is exact, there is no fuzz. A hunk at its stated line is taken; elsewhere only if it fits in
// exactly one place of the whole rest of the file: patch(1) takes the nearest of several, which can be the wrong function,
// and a wrong kernel is worse than a refused patch. A hunk whose context stops short on one side was made at that edge of
// the file and only fits there (as git apply has it); one without any context only fits at its stated line.

namespace Ksplice.Build.Patching;

/// <summary>The old side of a hunk, to be found in a file.</summary>
internal sealed class HunkPlacement
{
    private readonly string[] _wanted;
    private readonly int _stated;
    private readonly bool _atStart;
    private readonly bool _atEnd;
    private readonly bool _hasContext;

    /// <summary>Takes <paramref name="hunk"/> as it is, or backwards to see whether it has been applied.</summary>
    public HunkPlacement(Hunk hunk, bool reverse)
    {
        var skipped = reverse ? HunkLineKind.Removed : HunkLineKind.Added;
        _wanted = [.. hunk.Lines.Where(line => line.Kind != skipped).Select(line => line.Text)];
        var (start, count) = reverse ? (hunk.NewStart, hunk.NewCount) : (hunk.OldStart, hunk.OldCount);
        _stated = count == 0 ? start : start - 1;
        var leading = hunk.Lines.TakeWhile(line => line.Kind == HunkLineKind.Context).Count();
        var trailing = hunk.Lines.Reverse().TakeWhile(line => line.Kind == HunkLineKind.Context).Count();
        _hasContext = leading + trailing != 0;
        _atStart = leading == 0 && trailing != 0 && _stated == 0;
        _atEnd = trailing == 0 && leading != 0;
    }

    /// <summary>The line index that the hunk's header states.</summary>
    public int Stated => _stated;

    /// <summary>Lines that the hunk takes the place of.</summary>
    public int Count => _wanted.Length;

    /// <summary>All places from <paramref name="first"/> on; only the stated one where that fits and nothing moved before.</summary>
    public List<int> Find(IReadOnlyList<SourceLine> lines, int first, bool moved)
    {
        if (_stated >= first && Fits(lines, _stated) && (!moved || !_hasContext))
            return [_stated];
        var places = new List<int>();
        if (!_hasContext)
            return places;
        for (var place = first; place + _wanted.Length <= lines.Count; place++)
        {
            if (Fits(lines, place))
                places.Add(place);
        }
        return places;
    }

    /// <summary>The place where most lines fit, nearest to the stated one, and the first line there that does not.</summary>
    public (int Place, int Matching, int FirstDifferent) Nearest(IReadOnlyList<SourceLine> lines, int first)
    {
        (int Place, int Matching) best = (Math.Min(_stated, lines.Count), -1);
        for (var place = first; place < lines.Count; place++)
        {
            var matching = 0;
            for (var i = 0; i < _wanted.Length && place + i < lines.Count; i++)
            {
                if (lines[place + i].Text == _wanted[i])
                    matching++;
            }
            if (matching > best.Matching || (matching == best.Matching && Math.Abs(place - _stated) < Math.Abs(best.Place - _stated)))
                best = (place, matching);
        }
        var different = 0;
        while (
            different < _wanted.Length && best.Place + different < lines.Count && lines[best.Place + different].Text == _wanted[different]
        )
            different++;
        return (best.Place, Math.Max(best.Matching, 0), different);
    }

    /// <summary>The wanted line <paramref name="index"/>, or null past the end.</summary>
    public string? Wanted(int index) => index < _wanted.Length ? _wanted[index] : null;

    private bool Fits(IReadOnlyList<SourceLine> lines, int place)
    {
        if (place > lines.Count - _wanted.Length || (_atStart && place != 0) || (_atEnd && place + _wanted.Length != lines.Count))
            return false;
        for (var i = 0; i < _wanted.Length; i++)
        {
            if (lines[place + i].Text != _wanted[i])
                return false;
        }
        return true;
    }
}
