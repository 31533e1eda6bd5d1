// SPDX-License-Identifier: MIT
using System.Text.Json;
using Ksplice.Build.Files;
using Ksplice.Build.Generation;

namespace Ksplice.Tasks;

/// <summary>
/// bases.json: the updates that this one goes on top of, patches included, so that later stages need not open packages again.
/// </summary>
internal static class BaseList
{
    /// <summary>Reads the file.</summary>
    /// <exception cref="DamagedFileException">It is damaged.</exception>
    public static IReadOnlyList<UpdateBase> Open(string path) =>
        JsonFile.Read(path, TaskFiles.Default.IReadOnlyListUpdateBase, TaskFiles.Remedy);

    /// <summary>Writes the file.</summary>
    public static void Write(string path, IReadOnlyList<UpdateBase> bases) =>
        AtomicFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(bases, TaskFiles.Default.IReadOnlyListUpdateBase));
}
