// SPDX-License-Identifier: MIT
using System.Text.Json;
using Ksplice.Build.Files;
using Ksplice.Build.Kernel;

namespace Ksplice.Tasks;

/// <summary>kernel.json: the resolved kernel and what it was resolved from. Later stages depend on the file, so it is
/// written only when something in it differs.</summary>
/// <param name="Stamp">The options and the state of the files that they lead to.</param>
/// <param name="Engine">What the engine and the C sources were.</param>
/// <param name="Release">The kernel.</param>
public sealed record ResolvedKernel(string Stamp, string Engine, KernelRelease Release)
{
    /// <summary>Reads the file; null if there is none that can be read.</summary>
    public static ResolvedKernel? Read(string path)
    {
        try
        {
            return Open(path);
        }
        catch (Exception problem) when (problem is IOException or DamagedFileException)
        {
            return null;
        }
    }

    /// <summary>Reads a file that <see cref="ResolveKernel"/> wrote in this build.</summary>
    /// <exception cref="DamagedFileException">It is damaged.</exception>
    public static ResolvedKernel Open(string path)
    {
        var file = JsonFile.Read(path, TaskFiles.Default.ResolvedKernel, TaskFiles.Remedy);
        var release = file.Release;
        string[] paths = [release.Headers, release.Config, release.Image, release.Source];
        return paths.FirstOrDefault(one => !Path.IsPathFullyQualified(one)) is { } wrong
            ? throw new DamagedFileException(path, $"'{wrong}' is no full path", TaskFiles.Remedy)
            : file;
    }

    /// <summary>Writes the file if it differs from what is there.</summary>
    public void WriteIfDifferent(string path) =>
        AtomicFile.WriteIfDifferent(path, JsonSerializer.SerializeToUtf8Bytes(this, TaskFiles.Default.ResolvedKernel));
}
