// SPDX-License-Identifier: MIT
// Which units a change of a file reaches: what the engine answers, beside the dependency files that the compiler wrote for each unit.
using System.Globalization;
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Corpus;

/// <summary>Compares the engine's answers with dependency files.</summary>
internal sealed partial class ReachRun
{
    private readonly PreparedKernel _kernel;

    // The objects that read a file, and all objects that were asked.
    private readonly Dictionary<string, HashSet<string>> _users = new(StringComparer.Ordinal);
    private readonly HashSet<string> _objects = new(StringComparer.Ordinal);

    /// <summary>Reads the dependency files of <paramref name="folder"/>.</summary>
    public ReachRun(PreparedKernel kernel, string folder)
    {
        _kernel = kernel;
        foreach (string file in Directory.EnumerateFiles(folder, "*.d"))
        {
            string[] words = [.. WordPattern().Matches(File.ReadAllText(file)).Select(word => word.Value)];
            if (words.Length == 0)
                continue;
            string user = words[0].TrimEnd(':');
            _objects.Add(user);
            foreach (string path in words.Skip(1).Where(word => word.StartsWith(kernel.SourceDirectory + "/", StringComparison.Ordinal)))
            {
                string name = Path.GetRelativePath(kernel.SourceDirectory, Path.GetFullPath(path));
                if (!_users.TryGetValue(name, out var users))
                    _users.Add(name, users = new(StringComparer.Ordinal));
                users.Add(user);
            }
        }
    }

    /// <summary>Asks for <paramref name="count"/> files and writes a row for each.</summary>
    public async Task RunAsync(int count, int seed, string table, CancellationToken cancellation)
    {
        string[] files = [.. _users.Keys.Order(StringComparer.Ordinal)];
        new Random(seed).Shuffle(files);
        var includes = await IncludeIndex.OpenAsync(_kernel, NullLogger.Instance, cancellation);
        await using StreamWriter output = new(table);
        await output.WriteLineAsync("kernel,seed,file,dependency files,engine,lost,more,engine says");
        int lost = 0,
            more = 0,
            refused = 0;
        foreach (string file in files.Take(count))
        {
            var (told, says) = await AskAsync(file, includes, cancellation);
            string[] missing = [.. _users[file].Except(told).Order(StringComparer.Ordinal)],
                extra = [.. told.Except(_users[file]).Order(StringComparer.Ordinal)];
            bool isRefused = says.Contains(": error ", StringComparison.Ordinal);
            refused += isRefused ? 1 : 0;
            lost += !isRefused && missing.Length != 0 ? 1 : 0;
            more += extra.Length == 0 ? 0 : 1;
            string row = string.Create(
                CultureInfo.InvariantCulture,
                $"{_kernel.Release.Release},{seed},{file},{_users[file].Count},{told.Count},{Names(missing)},{Names(extra)},\"{says}\""
            );
            Console.WriteLine(row);
            await output.WriteLineAsync(row);
        }
        Console.WriteLine(
            $"{Math.Min(count, files.Length)} of {files.Length} files that {_objects.Count} units read, seed {seed}: "
                + $"{refused} refused, {lost} lost units, {more} reached more"
        );
    }

    private async Task<(HashSet<string> Objects, string Says)> AskAsync(string file, IncludeIndex includes, CancellationToken cancellation)
    {
        DiagnosticBag diagnostics = [];
        IReadOnlyList<AffectedUnit>? units = null;
        if (PatchedPath.Classify(file, new SourceLocation(file), diagnostics) is { } kind)
        {
            PostTree tree = new(_kernel.SourceDirectory, [new PatchedFile(file, kind, FileChange.Modified, "", [])]);
            units = await AffectedUnits.FindAsync(_kernel, tree, null, includes, diagnostics, cancellation);
        }
        return (
            [.. (units ?? []).Select(unit => unit.Unit.Object).Where(_objects.Contains)],
            string.Join("; ", diagnostics.Select(diagnostic => diagnostic.ToString())).Replace('"', '\'')
        );
    }

    private static string Names(string[] objects) =>
        objects.Length <= 5 ? string.Join(' ', objects) : $"{string.Join(' ', objects.Take(5))} and {objects.Length - 5} more";

    [GeneratedRegex(@"[^\s\\]+")]
    private static partial Regex WordPattern();
}
