// SPDX-License-Identifier: MIT
using System.Text.Json;
using System.Text.Json.Serialization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Microsoft.Extensions.Logging;

namespace Ksplice.Build.Kernel;

/// <summary>Which units of a configuration include which files, as the preprocessor tells; kept beside the prepared tree.</summary>
public sealed partial class IncludeIndex
{
    // Stands for every file in units of which the preprocessor does not tell what they include.
    private const string Anything = "";

    private readonly Dictionary<string, List<string>> _users;

    private IncludeIndex(Dictionary<string, List<string>> users) => _users = users;

    /// <summary>
    /// The sources of the units that read <paramref name="path"/> (both relative to the source tree). If there are any, those that
    /// cannot be preprocessed are among them: nothing says that they do not.
    /// </summary>
    public IReadOnlyList<string> UsersOf(string path) =>
        _users.GetValueOrDefault(path) is { } users ? [.. users, .. _users.GetValueOrDefault(Anything) ?? []] : [];

    /// <summary>
    /// The index of <paramref name="kernel"/>, made if it is not there (minutes, once a kernel); null if the preprocessor cannot be run.
    /// </summary>
    public static async Task<IncludeIndex?> OpenAsync(
        PreparedKernel kernel,
        ILogger logger,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(kernel);
        string path = Path.Combine(Path.GetDirectoryName(kernel.OutputDirectory)!, "includes.json");
        if (Load(path) is { } known)
            return known;
        LogIndexing(logger, kernel.Units.Units.Count, kernel.Release.Release);
        UnitCompiler compiler = new(kernel, logger);
        var included = new IReadOnlyList<string>?[kernel.Units.Units.Count];
        ParallelOptions parallel = new() { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount };
        await Parallel
            .ForAsync(0, included.Length, parallel, async (i, token) =>
            {
                if (!diagnostics.HasErrors)
                    included[i] = await compiler.ListIncludesAsync(kernel.Units.Units[i], diagnostics, token).ConfigureAwait(false);
            })
            .ConfigureAwait(false);
        if (diagnostics.HasErrors)
            return null;
        Dictionary<string, List<string>> users = new(StringComparer.Ordinal);
        for (int i = 0; i < included.Length; i++)
        {
            foreach (string file in included[i] ?? [Anything])
            {
                if (!users.TryGetValue(file, out var list))
                    users.Add(file, list = []);
                list.Add(kernel.Units.Units[i].Source);
            }
        }
        // Two builds may make it at once, each under a name of its own.
        string temporary = $"{path}.{Path.GetRandomFileName()}";
        await File.WriteAllBytesAsync(
                temporary,
                JsonSerializer.SerializeToUtf8Bytes(users, IndexContext.Default.DictionaryStringListString),
                cancellation
            )
            .ConfigureAwait(false);
        File.Move(temporary, path, overwrite: true);
        return new IncludeIndex(users);
    }

    private static IncludeIndex? Load(string path)
    {
        try
        {
            // A damaged index is made anew.
            return
                File.Exists(path)
                && JsonFile.Parse(File.ReadAllBytes(path), IndexContext.Default.DictionaryStringListString) is { } users
                && users.Values.All(list => list is not null)
                ? new IncludeIndex(users)
                : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    [JsonSerializable(typeof(Dictionary<string, List<string>>))]
    private sealed partial class IndexContext : JsonSerializerContext;

    [LoggerMessage(
        Level = LogLevel.Information,
        Message = "a header is patched: asking the preprocessor what each of the {Count} units of {Release} includes, once"
    )]
    private static partial void LogIndexing(ILogger logger, int count, string release);
}
