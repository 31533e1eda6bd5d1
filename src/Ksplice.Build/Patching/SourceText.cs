// SPDX-License-Identifier: MIT
// The text of a source file under patches. Each line knows where it is from, so that whatever number of patches went over
// the file, the original numbering can be restored (LineDirectives) and a line of the result be traced to its patch.

using System.Text;

namespace Ksplice.Build.Patching;

/// <summary>A line of a file under patches.</summary>
/// <param name="Text">The line with its line feed, one char a byte.</param>
/// <param name="OriginalLine">Its line in the unpatched file, from 1, or 0 if a patch brought it.</param>
/// <param name="PatchPath">The patch that brought it.</param>
/// <param name="PatchLine">Its line in that patch.</param>
public readonly record struct SourceLine(string Text, int OriginalLine, string? PatchPath = null, int PatchLine = 0)
{
    /// <summary>
    /// Its number for the compiler, if a patch changed the statement that it is in or brought the file; -1 if the statement can have no
    /// mark; else 0.
    /// </summary>
    public int Number { get; init; }

    /// <summary>What stands before the file's name with that number; null if nothing does.</summary>
    public string? Mark { get; init; }
}

/// <summary>A file under patches, as lines.</summary>
/// <param name="Lines">The lines; only the last may lack its line feed.</param>
public sealed record SourceText(IReadOnlyList<SourceLine> Lines)
{
    /// <summary>Splits the bytes of an unpatched file.</summary>
    public static SourceText FromBytes(ReadOnlySpan<byte> bytes)
    {
        var lines = new List<SourceLine>();
        while (bytes.Length != 0)
        {
            var length = bytes.IndexOf((byte)'\n') + 1;
            if (length == 0)
                length = bytes.Length;
            lines.Add(new SourceLine(Encoding.Latin1.GetString(bytes[..length]), lines.Count + 1));
            bytes = bytes[length..];
        }
        return new SourceText(lines);
    }

    /// <summary>True if the bytes are the same, wherever the lines are from.</summary>
    public bool HasTextOf(SourceText other) =>
        Lines.Select(line => line.Text).SequenceEqual(other.Lines.Select(line => line.Text), StringComparer.Ordinal);
}
