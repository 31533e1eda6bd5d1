// SPDX-License-Identifier: MIT
// Reads unified diffs, as git and GNU diff write them and as mail carries them. What stands before the first file and
// between files (a commit message, "Index:", a signature) is ignored, as patch(1) and git apply do; inside a hunk nothing
// is: the header's counts decide where it ends, and what contradicts them is an error. So a damaged patch is never
// applied in part.

using System.Globalization;
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Patching;

/// <summary>The parser of unified diffs in git and plain format, always taken as <c>-p1</c>.</summary>
public sealed partial class UnifiedDiff
{
    // That of UTF-8, in Latin-1.
    private const string ByteOrderMark = "\u00ef\u00bb\u00bf";

    // What people call the old file when they keep it beside the new one.
    private static readonly string[] s_oldEndings = [".orig", ".old", "~"];

    private readonly string _path;
    private readonly DiagnosticBag _bag;
    private readonly string[] _lines;
    private readonly List<FilePatch> _files = [];
    private int _next;
    private bool _ignored;

    private UnifiedDiff(string text, string path, DiagnosticBag bag)
    {
        _path = path;
        _bag = bag;
        _lines = text.Split('\n');
        if (_lines[^1].Length == 0)
            _lines = _lines[..^1];
    }

    /// <summary>
    /// Parses <paramref name="text"/>, decoded as Latin-1, of the patch file <paramref name="path"/>. Null after an error.
    /// </summary>
    public static SourcePatch? Parse(string text, string path, DiagnosticBag bag)
    {
        if (text.Contains('\0', StringComparison.Ordinal))
        {
            bag.Report(
                PatchingDiagnostics.PatchUnreadable,
                new SourceLocation(path),
                "it holds zero bytes, so it is binary or UTF-16; save it as UTF-8"
            );
            return null;
        }
        var parser = new UnifiedDiff(
            text.StartsWith(ByteOrderMark, StringComparison.Ordinal) ? text[ByteOrderMark.Length..] : text,
            path,
            bag
        );
        try
        {
            parser.ParseFiles();
        }
        catch (RefusedException refusal)
        {
            bag.Add(refusal.Diagnostic);
            return null;
        }
        if (parser._files.Count == 0 && !parser._ignored)
        {
            bag.Report(PatchingDiagnostics.PatchEmpty, new SourceLocation(path, 1, 1));
            return null;
        }
        return new SourcePatch(path, parser._files);
    }

    private void ParseFiles()
    {
        while (_next < _lines.Length)
        {
            var line = _lines[_next];
            if (line.StartsWith("diff --git ", StringComparison.Ordinal))
                ParseGitFile();
            else if (IsPlainHeader(_next))
                ParsePlainFile(_next, GitHeader.None);
            else if (line.StartsWith("@@ -", StringComparison.Ordinal))
                throw Malformed(_next, "a hunk stands here without the '---' and '+++' lines that name its file");
            else if (
                line.StartsWith("@@@ -", StringComparison.Ordinal)
                || line.StartsWith("diff --cc ", StringComparison.Ordinal)
                || line.StartsWith("diff --combined ", StringComparison.Ordinal)
            )
                throw Refuse(
                    PatchingDiagnostics.UnsupportedChange,
                    _next,
                    "a combined diff of a merge",
                    "; use git diff between two commits"
                );
            else if (BinaryFiles().Match(line) is { Success: true } binary)
                SkipBinary(new DiffPath(binary.Groups["new"].Value), _next);
            else
                _next++;
        }
    }

    private bool IsPlainHeader(int index) =>
        index + 1 < _lines.Length
        && _lines[index].StartsWith("--- ", StringComparison.Ordinal)
        && _lines[index + 1].StartsWith("+++ ", StringComparison.Ordinal);

    private void ParseGitFile()
    {
        var start = _next;
        var header = new GitHeader { IsGit = true, Line = start + 1 };
        for (_next++; _next < _lines.Length; _next++)
        {
            var line = _lines[_next].TrimEnd('\r');
            if (line.StartsWith("new file mode ", StringComparison.Ordinal))
                header = header with { Change = FileChange.Added, Mode = Mode(line["new file mode ".Length..]) };
            else if (line.StartsWith("deleted file mode ", StringComparison.Ordinal))
                header = header with { Change = FileChange.Deleted, Mode = Mode(line["deleted file mode ".Length..]) };
            else if (line.StartsWith("old mode ", StringComparison.Ordinal))
                Mode(line["old mode ".Length..]);
            else if (line.StartsWith("new mode ", StringComparison.Ordinal))
                header = header with { Mode = Mode(line["new mode ".Length..]), ModeLine = _next + 1 };
            else if (line.StartsWith("rename ", StringComparison.Ordinal))
                throw Refuse(PatchingDiagnostics.UnsupportedChange, _next, "renaming a file", "; use git diff --no-renames");
            else if (line.StartsWith("copy ", StringComparison.Ordinal))
                throw Refuse(PatchingDiagnostics.UnsupportedChange, _next, "copying a file", "; use git diff --no-renames");
            else if (line.StartsWith("GIT binary patch", StringComparison.Ordinal) || BinaryFiles().IsMatch(line))
            {
                SkipBinary(DiffPath.FromGitLine(_lines[start].TrimEnd('\r')), start);
                return;
            }
            else if (
                !line.StartsWith("index ", StringComparison.Ordinal)
                && !line.StartsWith("similarity index ", StringComparison.Ordinal)
                && !line.StartsWith("dissimilarity index ", StringComparison.Ordinal)
            )
                break;
        }
        if (IsPlainHeader(_next))
        {
            ParsePlainFile(start, header);
            return;
        }
        // Without hunks: an empty file comes or goes, or only the mode changes.
        if (
            _next < _lines.Length
            && (_lines[_next].StartsWith("--- ", StringComparison.Ordinal) || _lines[_next].StartsWith("@@ -", StringComparison.Ordinal))
        )
            throw Malformed(_next, "the '---' and '+++' lines that name the file are not complete");
        if (header.Change == FileChange.Modified && header.ModeLine == 0)
            throw Malformed(start, "the file's header is followed by no change");
        var path = DiffPath.FromGitLine(_lines[start].TrimEnd('\r'))
            ?? throw Malformed(start, "the two file names of the line cannot be told apart");
        var relative = Relative(path, start);
        ReportMode(header, relative);
        _files.Add(new FilePatch(relative, header.Change, [], start + 1));
    }

    /// <summary>A binary change at _next of a file that does not count, to the next file.</summary>
    private void SkipBinary(DiffPath? name, int start)
    {
        if (name is null || PatchedPath.IgnoredBecause(Relative(name, start)) is not { } reason)
            throw Refuse(PatchingDiagnostics.UnsupportedChange, _next, "a binary change", "");
        _bag.Report(PatchingDiagnostics.FileIgnored, new SourceLocation(_path, start + 1, 1), Relative(name, start), reason);
        _ignored = true;
        do _next++;
        while (_next < _lines.Length && !_lines[_next].StartsWith("diff ", StringComparison.Ordinal) && !IsPlainHeader(_next));
    }

    /// <summary>The '---' and '+++' lines at _next and the hunks after them.</summary>
    private void ParsePlainFile(int start, GitHeader header)
    {
        var oldIndex = _next;
        var newIndex = _next + 1;
        var stripCr = _lines[oldIndex].EndsWith('\r') && _lines[newIndex].EndsWith('\r');
        if (stripCr)
            _bag.Report(PatchingDiagnostics.CarriageReturns, new SourceLocation(_path, oldIndex + 1, 1));
        var oldName = DiffPath.FromHeader(_lines[oldIndex][4..].TrimEnd('\r')) ?? throw Malformed(oldIndex, "the file name cannot be read");
        var newName = DiffPath.FromHeader(_lines[newIndex][4..].TrimEnd('\r')) ?? throw Malformed(newIndex, "the file name cannot be read");
        _next += 2;
        var hunks = new List<Hunk>();
        while (_next < _lines.Length && _lines[_next].StartsWith("@@ -", StringComparison.Ordinal))
            hunks.Add(ParseHunk(stripCr, hunks.Count == 0 ? null : hunks[^1]));
        if (hunks.Count == 0)
            throw Malformed(oldIndex, "no hunk follows the '---' and '+++' lines");

        if (oldName.IsNull && newName.IsNull)
            throw Malformed(oldIndex, "both sides are /dev/null");
        var comes = oldName.IsNull || (oldName.IsEpoch && hunks is [{ OldStart: 0, OldCount: 0 }]);
        var goes = newName.IsNull || (newName.IsEpoch && hunks is [{ NewStart: 0, NewCount: 0 }]);
        var change =
            comes ? FileChange.Added
            : goes ? FileChange.Deleted
            : FileChange.Modified;
        if (header.IsGit && header.Change != change)
            throw Malformed(
                start,
                $"the header says that the file is {Word(header.Change)}, the '---' and '+++' lines that it is {Word(change)}"
            );
        if (change == FileChange.Added && hunks is not [{ OldCount: 0 }])
            throw Malformed(oldIndex, "a new file has one hunk of added lines only");
        if (change == FileChange.Deleted && hunks is not [{ NewCount: 0 }])
            throw Malformed(oldIndex, "a deleted file has one hunk of removed lines only");

        var path = newName.IsNull ? Relative(oldName, oldIndex) : Relative(newName, newIndex);
        if (
            !oldName.IsNull
            && !newName.IsNull
            && Relative(oldName, oldIndex) is var oldPath
            && oldPath != path
            && !s_oldEndings.Any(ending => oldPath == path + ending)
        )
            throw Refuse(
                PatchingDiagnostics.UnsupportedChange,
                oldIndex,
                $"a change from {oldPath} to {path}",
                "; both names must be the same below their first folder (-p1)"
            );
        ReportMode(header, path);
        _files.Add(new FilePatch(path, change, hunks, start + 1) { Name = newName.IsNull ? oldName.Name : newName.Name });
    }

    private Hunk ParseHunk(bool stripCr, Hunk? previous)
    {
        var start = _next++;
        var match = HunkHeader().Match(_lines[start]);
        if (!match.Success)
            throw Malformed(start, "the hunk's header is not of the form '@@ -line,count +line,count @@'");
        var (oldStart, oldCount) = (Number(match, "oldStart", start, 0), Number(match, "oldCount", start, 1));
        var (newStart, newCount) = (Number(match, "newStart", start, 0), Number(match, "newCount", start, 1));
        if ((oldStart == 0 && oldCount != 0) || (newStart == 0 && newCount != 0))
            throw Malformed(start, "line 0 is only possible with a count of 0");
        if (
            previous is not null
            && oldStart + (oldCount == 0 ? 1 : 0) < previous.OldStart + previous.OldCount + (previous.OldCount == 0 ? 1 : 0)
        )
            throw Malformed(start, $"the hunk overlaps or precedes the one at line {previous.Line}");

        var lines = new List<HunkLine>();
        int oldLeft = oldCount,
            newLeft = newCount;
        while (oldLeft > 0 || newLeft > 0)
        {
            if (_next == _lines.Length)
                throw Malformed(start, Unfinished(oldLeft, newLeft, "the patch file ends"));
            var line = _lines[_next];
            var body = stripCr ? line.TrimEnd('\r') : line;
            // Mailers strip trailing blanks: an empty line is an empty line of context.
            var marker = body.Length == 0 ? ' ' : body[0];
            HunkLineKind kind;
            switch (marker)
            {
                case ' ':
                    kind = HunkLineKind.Context;
                    oldLeft--;
                    newLeft--;
                    break;
                case '-':
                    kind = HunkLineKind.Removed;
                    oldLeft--;
                    break;
                case '+':
                    kind = HunkLineKind.Added;
                    newLeft--;
                    break;
                case '\\' when lines.Count != 0:
                    DropNewline(lines, _next++);
                    continue;
                default:
                    throw Malformed(_next, Unfinished(oldLeft, newLeft, "another line stands here"));
            }
            if (oldLeft < 0 || newLeft < 0)
                throw Malformed(_next, $"the hunk has more {(oldLeft < 0 ? "old" : "new")} lines than its header at line {start + 1} says");
            lines.Add(new HunkLine(kind, (body.Length == 0 ? "" : body[1..]) + "\n", _next + 1));
            _next++;
        }
        if (lines.Count == 0)
            throw Malformed(start, "the hunk is empty");
        if (_next < _lines.Length && _lines[_next].StartsWith('\\'))
            DropNewline(lines, _next++);
        CheckEndOfHunk(start);
        CheckNewlines(lines);
        return new Hunk(oldStart, oldCount, newStart, newCount, lines, start + 1);
    }

    /// <summary>A line that looks like part of the hunk after its counts are used up means that the counts are wrong.</summary>
    private void CheckEndOfHunk(int start)
    {
        if (_next == _lines.Length || IsPlainHeader(_next))
            return;
        var line = _lines[_next].TrimEnd('\r');
        // "-- " alone is where a mail's signature starts.
        if (line is not ("-- " or "--") && line.Length != 0 && line[0] is ' ' or '+' or '-')
            throw Malformed(_next, $"the hunk has more lines than its header at line {start + 1} says");
    }

    private void DropNewline(List<HunkLine> lines, int index)
    {
        var last = lines[^1];
        if (!last.Text.EndsWith('\n'))
            throw Malformed(index, "'\\ No newline at end of file' stands twice");
        lines[^1] = last with { Text = last.Text[..^1] };
    }

    private void CheckNewlines(List<HunkLine> lines)
    {
        var oldSeen = false;
        var newSeen = false;
        foreach (var line in lines)
        {
            if ((oldSeen && line.Kind != HunkLineKind.Added) || (newSeen && line.Kind != HunkLineKind.Removed))
                throw Malformed(line.Line - 1, "a line follows '\\ No newline at end of file'");
            if (line.Text.EndsWith('\n'))
                continue;
            oldSeen |= line.Kind != HunkLineKind.Added;
            newSeen |= line.Kind != HunkLineKind.Removed;
        }
    }

    private string Relative(DiffPath path, int index)
    {
        if (path.Relative(out var relative, out var problem))
            return relative;
        throw Refuse(PatchingDiagnostics.PathOutsideTree, index, path.Name, problem);
    }

    private void ReportMode(GitHeader header, string path)
    {
        if (header.ModeLine != 0)
            _bag.Report(PatchingDiagnostics.ModeIgnored, new SourceLocation(_path, header.ModeLine, 1), path);
    }

    private string Mode(string mode) =>
        mode switch
        {
            "120000" => throw Refuse(PatchingDiagnostics.UnsupportedChange, _next, "a change of a symbolic link", ""),
            "160000" => throw Refuse(PatchingDiagnostics.UnsupportedChange, _next, "a change of a submodule", ""),
            _ => mode,
        };

    private int Number(Match match, string group, int index, int missing)
    {
        if (!match.Groups[group].Success)
            return missing;
        if (
            !int.TryParse(match.Groups[group].ValueSpan, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            || number > 100_000_000
        )
            throw Malformed(index, $"the number {match.Groups[group].Value} is too large");
        return number;
    }

    private static string Unfinished(int oldLeft, int newLeft, string what) =>
        $"{what}, but the hunk's header promises {oldLeft} more old and {newLeft} more new line(s)";

    private static string Word(FileChange change) =>
        change switch
        {
            FileChange.Added => "new",
            FileChange.Deleted => "deleted",
            _ => "modified",
        };

    private RefusedException Malformed(int index, string problem) => Refuse(PatchingDiagnostics.PatchMalformed, index, problem);

    private RefusedException Refuse(DiagnosticDescriptor descriptor, int index, params object?[] arguments) =>
        new(Diagnostic.Create(descriptor, new SourceLocation(_path, index + 1, 1), arguments));

    [GeneratedRegex(
        @"^@@ -(?<oldStart>\d+)(?:,(?<oldCount>\d+))? \+(?<newStart>\d+)(?:,(?<newCount>\d+))? @@(?: .*)?\r?$",
        RegexOptions.CultureInvariant | RegexOptions.Singleline
    )]
    private static partial Regex HunkHeader();

    [GeneratedRegex(@"^Binary files .+ and (?<new>.+) differ\r?$", RegexOptions.CultureInvariant)]
    private static partial Regex BinaryFiles();

    private sealed record GitHeader
    {
        public static readonly GitHeader None = new();
        public bool IsGit { get; init; }
        public FileChange Change { get; init; } = FileChange.Modified;
        public string? Mode { get; init; }
        public int ModeLine { get; init; }
        public int Line { get; init; }
    }

    /// <summary>Leaves the parser at the first error; never leaves this class.</summary>
#pragma warning disable CA1032, CA1064
    private sealed class RefusedException(Diagnostic diagnostic) : Exception
    {
        public Diagnostic Diagnostic { get; } = diagnostic;
    }
#pragma warning restore CA1032, CA1064
}
