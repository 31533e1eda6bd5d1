// SPDX-License-Identifier: MIT
// Applies patches to file texts, several in order, all or nothing. Reading and writing files is PostTree's part.

using System.Globalization;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Patching;

/// <summary>A file before and after all patches.</summary>
/// <param name="Path">Relative to the source root.</param>
/// <param name="Before">The unpatched text, or null if the file is new.</param>
/// <param name="After">The patched text, or null if the file is deleted.</param>
public sealed record AppliedFile(string Path, SourceText? Before, SourceText? After);

/// <summary>Applies patches.</summary>
public sealed class PatchApplier
{
    private readonly Func<string, byte[]?> _read;
    private readonly DiagnosticBag _bag;
    private readonly SortedDictionary<string, AppliedFile> _files = new(StringComparer.Ordinal);
    private bool _failed;

    private PatchApplier(Func<string, byte[]?> read, DiagnosticBag bag)
    {
        _read = read;
        _bag = bag;
    }

    /// <summary>
    /// Applies <paramref name="patches"/> in order. <paramref name="read"/> gives the bytes of an unpatched file, or null if
    /// there is none. The result has the files that differ from before, by path; null after an error.
    /// </summary>
    public static IReadOnlyList<AppliedFile>? Apply(IEnumerable<SourcePatch> patches, Func<string, byte[]?> read, DiagnosticBag bag)
    {
        var applier = new PatchApplier(read, bag);
        foreach (var update in patches.GroupBy(patch => patch.Update))
        {
            foreach (var patch in update)
            {
                foreach (var file in patch.Files)
                    applier.Apply(patch, file);
            }
            applier.Number(update.Key);
        }
        return applier._failed ? null : [.. applier._files.Values.Where(Differs)];
    }

    private static bool Differs(AppliedFile file) =>
        file is { Before: { } before, After: { } after } ? !before.HasTextOf(after) : file.Before is not null || file.After is not null;

    // A new file has no other lines to be told from: its lines are counted.
    private void Number(int update)
    {
        foreach (var file in _files.Values.ToList())
        {
            if (file.After is { } text)
                _files[file.Path] = file with
                {
                    After =
                        file.Before is not null || text.Lines.Any(line => line.Number != 0)
                            ? LineDirectives.Number(text, file.Path, update)
                            : new SourceText([.. text.Lines.Select((line, i) => line with { Number = i + 1 })]),
                };
        }
    }

    private void Apply(SourcePatch patch, FilePatch file)
    {
        if (!_files.TryGetValue(file.Path, out var state))
        {
            var text = _read(file.Path) is { } bytes ? SourceText.FromBytes(bytes) : null;
            state = new AppliedFile(file.Path, text, text);
        }
        if (ApplyTo(patch, file, state.After, out var after))
            _files[file.Path] = state with { After = after };
        else
            _failed = true;
    }

    private bool ApplyTo(SourcePatch patch, FilePatch file, SourceText? before, out SourceText? after)
    {
        after = null;
        var location = new SourceLocation(patch.Path, file.Line, 1);
        if (file.Change == FileChange.Added)
        {
            after = new SourceText([.. file.Hunks.SelectMany(hunk => hunk.Lines).Select(line => New(patch, line))]);
            if (before is null)
                return true;
            _bag.Report(before.HasTextOf(after) ? PatchingDiagnostics.AlreadyApplied : PatchingDiagnostics.FileExists, location, file.Path);
            return false;
        }
        if (before is null)
        {
            if (file.Name is { } whole && _read(whole) is not null)
                _bag.Report(
                    PatchingDiagnostics.FileMissing,
                    location,
                    file.Path,
                    $"but {whole} is: patches are applied as with -p1, which strips a first folder (a/, b/) that this one does not have"
                );
            else if (file.Change == FileChange.Deleted)
                _bag.Report(PatchingDiagnostics.AlreadyApplied, location, file.Path);
            else
                _bag.Report(PatchingDiagnostics.FileMissing, location, file.Path, "the patch may be for another version");
            return false;
        }
        if (PlaceHunks(patch, file, before) is not { } lines)
            return false;
        after = new SourceText(lines);
        if (file.Change != FileChange.Deleted)
            return true;
        after = null;
        if (lines.Count == 0)
            return true;
        _bag.Report(PatchingDiagnostics.DeletedFileDiffers, location, file.Path, lines.Count);
        return false;
    }

    private List<SourceLine>? PlaceHunks(SourcePatch patch, FilePatch file, SourceText before)
    {
        var result = new List<SourceLine>(before.Lines.Count + 64);
        var taken = 0;
        var offset = 0;
        foreach (var hunk in file.Hunks)
        {
            var placement = new HunkPlacement(hunk, reverse: false);
            var places = placement.Find(before.Lines, taken, moved: offset != 0);
            if (places.Count != 1)
            {
                ReportUnplaced(patch, file, hunk, before, taken, placement, places);
                return null;
            }
            var place = places[0];
            offset = place - placement.Stated;
            if (offset != 0)
                _bag.Report(PatchingDiagnostics.HunkOffset, At(patch, hunk), file.Path, place + 1, offset);
            for (; taken < place; taken++)
                result.Add(before.Lines[taken]);
            foreach (var line in hunk.Lines)
            {
                if (line.Kind == HunkLineKind.Context)
                    result.Add(before.Lines[taken]);
                else if (line.Kind == HunkLineKind.Added)
                    result.Add(New(patch, line));
                if (line.Kind != HunkLineKind.Added)
                    taken++;
            }
        }
        for (; taken < before.Lines.Count; taken++)
            result.Add(before.Lines[taken]);
        var open = result.FindIndex(line => !line.Text.EndsWith('\n'));
        if (open < 0 || open == result.Count - 1)
            return result;
        _bag.Report(
            PatchingDiagnostics.HunkDoesNotApply,
            new SourceLocation(patch.Path, file.Line, 1),
            file.Path,
            "lines would follow a last line that has no newline"
        );
        return null;
    }

    private void ReportUnplaced(
        SourcePatch patch,
        FilePatch file,
        Hunk hunk,
        SourceText before,
        int first,
        HunkPlacement placement,
        List<int> places
    )
    {
        if (places.Count != 0)
        {
            var lines = string.Join(", ", places.Take(5).Select(place => (place + 1).ToString(CultureInfo.InvariantCulture)));
            _bag.Report(
                PatchingDiagnostics.HunkAmbiguous,
                At(patch, hunk),
                file.Path,
                hunk.OldStart,
                places.Count > 5 ? lines + ", …" : lines
            );
            return;
        }
        if (file.Change == FileChange.Modified && IsApplied(file, before))
        {
            _bag.Report(PatchingDiagnostics.AlreadyApplied, At(patch, hunk), file.Path);
            return;
        }
        var (place, matching, different) = placement.Nearest(before.Lines, first);
        var found =
            place + different < before.Lines.Count ? $"is {Show(before.Lines[place + different].Text)}" : "is past the end of the file";
        var wanted = placement.Wanted(different) is { } line ? $"the patch has {Show(line)}" : "the patch has the end of the file";
        _bag.Report(
            PatchingDiagnostics.HunkDoesNotApply,
            At(patch, hunk),
            file.Path,
            $"line {place + different + 1} {found}, {wanted} "
                + $"(nearest place: line {place + 1}, where {matching} of {placement.Count} lines fit)"
        );
    }

    /// <summary>True if all hunks fit backwards.</summary>
    private static bool IsApplied(FilePatch file, SourceText text)
    {
        var taken = 0;
        var offset = 0;
        foreach (var hunk in file.Hunks)
        {
            var placement = new HunkPlacement(hunk, reverse: true);
            if (placement.Count == 0 || placement.Find(text.Lines, taken, offset != 0) is not [var place])
                return false;
            offset = place - placement.Stated;
            taken = place + placement.Count;
        }
        return file.Hunks.Count != 0;
    }

    private static SourceLine New(SourcePatch patch, HunkLine line) => new(line.Text, 0, patch.Path, line.Line);

    private static SourceLocation At(SourcePatch patch, Hunk hunk) => new(patch.Path, hunk.Line, 1);

    private static string Show(string line)
    {
        var text = line.TrimEnd('\n').Replace("\t", "\\t", StringComparison.Ordinal).Replace("\r", "\\r", StringComparison.Ordinal);
        if (text.Length > 100)
            text = text[..100] + "…";
        return line.EndsWith('\n') ? $"'{text}'" : $"'{text}' without a newline";
    }
}
