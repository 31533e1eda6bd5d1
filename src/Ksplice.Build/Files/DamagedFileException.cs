// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Files;

/// <summary>A file that a build wrote is not what a build writes.</summary>
public sealed class DamagedFileException : Exception
{
    /// <summary>Makes the exception for <paramref name="fileName"/>.</summary>
    /// <param name="fileName">The file.</param>
    /// <param name="problem">What is wrong in it.</param>
    /// <param name="remedy">What to do about it.</param>
    /// <param name="cause">What was thrown when it was read.</param>
    public DamagedFileException(string fileName, string problem, string remedy, Exception? cause = null)
        : base($"'{fileName}' is damaged: {problem}; {remedy}", cause) => (FileName, Problem, Remedy) = (fileName, problem, remedy);

    /// <summary>The file.</summary>
    public string FileName { get; }

    /// <summary>What is wrong in it.</summary>
    public string Problem { get; }

    /// <summary>What to do about it.</summary>
    public string Remedy { get; }
}
