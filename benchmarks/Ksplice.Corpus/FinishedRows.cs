// SPDX-License-Identifier: MIT
using System.Text.Json;

namespace Ksplice.Corpus;

/// <summary>Finished rows, a file each: a run that was interrupted goes on from them.</summary>
internal static class FinishedRows
{
    private static readonly JsonSerializerOptions Options = new() { WriteIndented = true };

    /// <summary>The row of <paramref name="patch"/> that an earlier run left in <paramref name="folder"/>, or a new one.</summary>
    public static async Task<T> ResumeAsync<T>(string folder, string patch, Func<Task<T>> make)
    {
        string path = PathOf(Directory.CreateDirectory(folder).FullName, patch);
        if (File.Exists(path) && JsonSerializer.Deserialize<T>(await File.ReadAllBytesAsync(path).ConfigureAwait(false)) is { } known)
            return known;
        var row = await make().ConfigureAwait(false);
        // It is there as a whole or not at all.
        await File.WriteAllBytesAsync(path + ".tmp", JsonSerializer.SerializeToUtf8Bytes(row, Options)).ConfigureAwait(false);
        File.Move(path + ".tmp", path, overwrite: true);
        return row;
    }

    /// <summary>True if a run left the row of <paramref name="patch"/>.</summary>
    public static bool Has(string folder, string patch) => File.Exists(PathOf(folder, patch));

    /// <summary>Makes the next run build the patch again.</summary>
    public static void Forget(string folder, string patch) => File.Delete(PathOf(folder, patch));

    private static string PathOf(string folder, string patch) => Path.Combine(folder, patch.Replace('/', '!') + ".json");
}
