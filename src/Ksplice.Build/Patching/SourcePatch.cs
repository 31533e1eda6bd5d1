// SPDX-License-Identifier: MIT
// A patch as it was read: what UnifiedDiff makes and PatchApplier takes. Text is Latin-1, one char for each byte, so that a
// source file's encoding can neither matter nor break. Everything remembers its line in the patch file.

using System.Text;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Patching;

/// <summary>A patch file.</summary>
/// <param name="Path">The patch file.</param>
/// <param name="Files">Its changes, in order. A file may occur more than once; a later change builds on the earlier.</param>
public sealed record SourcePatch(string Path, IReadOnlyList<FilePatch> Files)
{
    /// <summary>How many updates are below the one that it belongs to.</summary>
    public int Update { get; init; }

    /// <summary>Reads and parses the patch file <paramref name="path"/>. Null after an error.</summary>
    public static SourcePatch? Read(string path, DiagnosticBag bag)
    {
        byte[] bytes;
        try
        {
            bytes = File.ReadAllBytes(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            bag.Report(PatchingDiagnostics.PatchUnreadable, new SourceLocation(path), e.Message);
            return null;
        }
        return Parse(bytes, path, bag);
    }

    /// <summary>Parses the patch <paramref name="content"/> of <paramref name="path"/>. Null after an error.</summary>
    public static SourcePatch? Parse(ReadOnlySpan<byte> content, string path, DiagnosticBag bag) =>
        UnifiedDiff.Parse(Encoding.Latin1.GetString(content), path, bag);
}

/// <summary>What a patch does to a file as a whole.</summary>
public enum FileChange
{
    /// <summary>The file exists before and after.</summary>
    Modified,

    /// <summary>The file exists only after.</summary>
    Added,

    /// <summary>The file exists only before.</summary>
    Deleted,
}

/// <summary>The changes of one file.</summary>
/// <param name="Path">The file, relative to the source root, with forward slashes.</param>
/// <param name="Change">What happens to the file.</param>
/// <param name="Hunks">The hunks, in order; empty only for empty files that come or go and for changes of mode.</param>
/// <param name="Line">Line of the file's first header in the patch file, from 1.</param>
public sealed record FilePatch(string Path, FileChange Change, IReadOnlyList<Hunk> Hunks, int Line)
{
    /// <summary>The name as the patch has it, with the first folder, if hunks follow it.</summary>
    public string? Name { get; init; }
}

/// <summary>One hunk, <c>@@ -OldStart,OldCount +NewStart,NewCount @@</c>.</summary>
/// <param name="OldStart">First line in the old file, from 1; with a count of 0 the line before the hunk.</param>
/// <param name="OldCount">Lines in the old file.</param>
/// <param name="NewStart">First line in the new file.</param>
/// <param name="NewCount">Lines in the new file.</param>
/// <param name="Lines">All lines, in order.</param>
/// <param name="Line">Line of the @@ in the patch file, from 1.</param>
public sealed record Hunk(int OldStart, int OldCount, int NewStart, int NewCount, IReadOnlyList<HunkLine> Lines, int Line);

/// <summary>What a line of a hunk does.</summary>
public enum HunkLineKind
{
    /// <summary>In both files.</summary>
    Context,

    /// <summary>Only in the old file.</summary>
    Removed,

    /// <summary>Only in the new file.</summary>
    Added,
}

/// <summary>One line of a hunk.</summary>
/// <param name="Kind">What it does.</param>
/// <param name="Text">The line with its line feed; without one if "No newline at end of file" follows.</param>
/// <param name="Line">Line in the patch file, from 1.</param>
public readonly record struct HunkLine(HunkLineKind Kind, string Text, int Line);
