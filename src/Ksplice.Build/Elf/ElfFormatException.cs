// SPDX-License-Identifier: MIT
using System.Diagnostics.CodeAnalysis;

namespace Ksplice.Build.Elf;

/// <summary>The one exception for malformed binary input: which file, at which offset, and what is wrong there.</summary>
public sealed class ElfFormatException : Exception
{
    /// <summary>
    /// Makes the exception for <paramref name="fileName"/>, <paramref name="offset"/> bytes from its start; <paramref name="cause"/> is
    /// what a library threw.
    /// </summary>
    public ElfFormatException(string fileName, long offset, string problem, Exception? cause = null)
        : base($"{fileName}: offset {offset:#,0} (0x{offset:x}): {problem}", cause)
    {
        FileName = fileName;
        Offset = offset;
    }

    /// <summary>The file's name as it was given to the reader.</summary>
    public string FileName { get; }

    /// <summary>Bytes from the start of the file.</summary>
    public long Offset { get; }

    [DoesNotReturn]
    internal static void Throw(string fileName, long offset, string problem) => throw new ElfFormatException(fileName, offset, problem);
}
