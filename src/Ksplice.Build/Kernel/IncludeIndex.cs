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

    // The objects of the units that read a file.
    private readonly Dictionary<string, List<string>> _users;
    private readonly Dictionary<string, CompilationUnit> _units;

    private IncludeIndex(Dictionary<string, List<string>> users, IEnumerable<CompilationUnit> units)
    {
        _users = users;
        _units = units.ToDictionary(unit => unit.Object, StringComparer.Ordinal);
    }

    /// <summary>
    /// The units that read <paramref name="path"/> (relative to the source tree), those of images of their own and of generated sources
    /// among them. If there are any, those that cannot be preprocessed are among them too: nothing says that they do not.
    /// </summary>
    public IReadOnlyList<CompilationUnit> UsersOf(string path) =>
        _users.GetValueOrDefault(path) is { } users
            ? [.. users.Concat(_users.GetValueOrDefault(Anything) ?? []).Select(user => _units[user])]
            : [];

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
        // A source that only the whole build generates (the vDSO's image as C) is there for nobody.
        CompilationUnit[] units =
        [
            .. kernel.Units.Units,
            .. kernel.Units.Apart.Where(unit =>
                File.Exists(Path.Combine(kernel.SourceDirectory, unit.Source))
                || File.Exists(Path.Combine(kernel.OutputDirectory, unit.Source))
            ),
        ];
        if (Load(path) is { } known)
            return new IncludeIndex(known, units);
        LogIndexing(logger, units.Length, kernel.Release.Release);
        UnitCompiler compiler = new(kernel, logger);
        var included = new IReadOnlyList<string>?[units.Length];
        ParallelOptions parallel = new() { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount };
        await Parallel
            .ForAsync(0, included.Length, parallel, async (i, token) =>
            {
                if (!diagnostics.HasErrors)
                    included[i] = await compiler.ListIncludesAsync(units[i], diagnostics, token).ConfigureAwait(false);
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
                list.Add(units[i].Object);
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
        return new IncludeIndex(users, units);
    }

    private static Dictionary<string, List<string>>? Load(string path)
    {
        try
        {
            // A damaged index is made anew.
            return
                File.Exists(path)
                && JsonFile.Parse(File.ReadAllBytes(path), IndexContext.Default.DictionaryStringListString) is { } users
                && users.Values.All(list => list is not null)
                ? users
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
        Message = "asking the preprocessor what each of the {Count} units of {Release} includes, once"
    )]
    private static partial void LogIndexing(ILogger logger, int count, string release);
}
