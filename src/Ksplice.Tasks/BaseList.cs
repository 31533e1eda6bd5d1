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
    /// <exception cref="InvalidDataException">It is damaged.</exception>
    public static IReadOnlyList<UpdateBase> Open(string path)
    {
        try
        {
            return JsonSerializer.Deserialize<List<UpdateBase>>(File.ReadAllBytes(path))
                ?? throw new InvalidDataException($"'{path}' is empty");
        }
        catch (JsonException problem)
        {
            throw new InvalidDataException($"'{path}' is damaged: {problem.Message}", problem);
        }
    }

    /// <summary>Writes the file.</summary>
    public static void Write(string path, IReadOnlyList<UpdateBase> bases) =>
        AtomicFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(bases));
}
