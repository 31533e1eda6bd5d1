// SPDX-License-Identifier: MIT
// Which files may read which, from the text of their #include lines alone. Conditions are not looked at, and a name is looked for in
// every folder that the command of any unit names. So the graph has every include that the compiler makes, and some that it does not make:
// it says whom to ask, and the compiler answers (IncludeIndex).
//
// More than one line is read for what a macro includes:
//  - `#include MACRO` reads what any #define names as a file, wherever it stands: the file with the #define counts as the reader.
//  - TRACE_INCLUDE (include/trace/define_trace.h) puts the file's name together from TRACE_INCLUDE_PATH and TRACE_INCLUDE_FILE or
//    TRACE_SYSTEM; these stand in the file that is included again.
//  - Any other macro that something defines is opaque: who reaches such a file may read any file.
// The assembler's own .include and .incbin are not followed, as the preprocessor does not follow them.
using System.Collections.Concurrent;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Ksplice.Build.Files;

namespace Ksplice.Build.Kernel;

/// <summary>
/// The files that the units of a configuration can read, and which of them can include which. Kept beside the prepared tree.
/// </summary>
internal sealed partial class IncludeGraph
{
    private readonly StoredGraph _stored;
    private readonly Dictionary<string, int> _ids;

    private IncludeGraph(StoredGraph stored)
    {
        _stored = stored;
        _ids = new(stored.Files.Length, StringComparer.Ordinal);
        for (int i = 0; i < stored.Files.Length; i++)
            _ids.Add(stored.Files[i], i);
    }

    /// <summary>True if a file can include <paramref name="path"/>, which is absolute.</summary>
    public bool MayBeIncluded(string path) =>
        _stored.Opaque.Length != 0 || (_ids.TryGetValue(path, out int id) && _stored.Readers[id].Length != 0);

    /// <summary>
    /// <paramref name="path"/>, which is absolute, and all files whose compilation can read it; empty if no unit of the configuration can.
    /// </summary>
    public IReadOnlySet<string> ReadersOf(string path)
    {
        HashSet<string> found = new(StringComparer.Ordinal);
        Stack<int> open = new(_stored.Opaque);
        if (_ids.TryGetValue(path, out int first))
            open.Push(first);
        while (open.TryPop(out int id))
        {
            if (!found.Add(_stored.Files[id]))
                continue;
            foreach (int reader in _stored.Readers[id])
                open.Push(reader);
        }
        return found;
    }

    /// <summary>The graph of <paramref name="kernel"/>, made in seconds if it is not there.</summary>
    public static async Task<IncludeGraph> OpenAsync(PreparedKernel kernel, CancellationToken cancellation)
    {
        string path = Path.Combine(Path.GetDirectoryName(kernel.OutputDirectory)!, "include-graph.json");
        if (Load(path) is { } known && known.Source == kernel.SourceDirectory && known.Output == kernel.OutputDirectory)
            return new IncludeGraph(known);
        var made = await Task.Run(() => new Scan(kernel, cancellation).Run(), cancellation).ConfigureAwait(false);
        AtomicFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(made, GraphContext.Default.StoredGraph));
        return new IncludeGraph(made);
    }

    /// <summary>What the compilation of <paramref name="unit"/> reads first: its source, and what its command includes.</summary>
    public static IEnumerable<string> RootsOf(PreparedKernel kernel, CompilationUnit unit)
    {
        yield return File.Exists(Path.Combine(kernel.SourceDirectory, unit.Source))
            ? Path.Combine(kernel.SourceDirectory, unit.Source)
            : Path.Combine(kernel.OutputDirectory, unit.Source);
        for (int i = 1; i < unit.Compiler.Length; i++)
        {
            if (unit.Compiler[i - 1] is "-include" or "-imacros")
                yield return Path.GetFullPath(unit.Compiler[i], kernel.OutputDirectory);
        }
    }

    private static StoredGraph? Load(string path)
    {
        try
        {
            // A damaged graph is made anew.
            return
                File.Exists(path)
                && JsonFile.Parse(File.ReadAllBytes(path), GraphContext.Default.StoredGraph) is { } stored
                && stored.Readers.Length == stored.Files.Length
                && stored.Readers.Append(stored.Opaque).All(list => list.All(id => id >= 0 && id < stored.Files.Length))
                ? stored
                : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>Reads files from the units' roots on, a wave of newly found ones after the other.</summary>
    private sealed class Scan(PreparedKernel kernel, CancellationToken cancellation)
    {
        private readonly string[] _folders =
        [
            .. kernel
                .Units.Units.Concat(kernel.Units.Apart)
                .SelectMany(unit => FoldersOf(unit, kernel.OutputDirectory))
                .Distinct(StringComparer.Ordinal),
        ];

        private readonly ConcurrentDictionary<string, HashSet<string>> _listings = new(StringComparer.Ordinal);
        private readonly ConcurrentDictionary<string, string[]> _found = new(StringComparer.Ordinal);

        public StoredGraph Run()
        {
            Dictionary<string, int> ids = new(StringComparer.Ordinal);
            List<string> files = [];
            List<List<int>> readers = [];
            List<(int File, string Macro)> computed = [];
            HashSet<string> macros = new(StringComparer.Ordinal) { "TRACE_INCLUDE" };
            foreach (var unit in kernel.Units.Units.Concat(kernel.Units.Apart))
            {
                foreach (string root in RootsOf(kernel, unit))
                    _ = IdOf(root);
                // A macro of the command line that names a file.
                foreach (string argument in unit.Compiler.Where(argument => argument.StartsWith("-D", StringComparison.Ordinal)))
                {
                    foreach (Match name in LiteralPattern().Matches(argument))
                        AddReader(name.Groups["name"].Value, IdOf(RootsOf(kernel, unit).First()));
                }
            }
            for (int done = 0; done < files.Count; )
            {
                int end = files.Count;
                var wave = Enumerable
                    .Range(done, end - done)
                    .AsParallel()
                    .AsOrdered()
                    .WithCancellation(cancellation)
                    .Select(id => Read(files[id]))
                    .ToList();
                foreach (var (read, id) in wave.Select((read, i) => (read, done + i)))
                {
                    foreach (string path in read.Included)
                        readers[IdOf(path)].Add(id);
                    computed.AddRange(read.Computed.Select(macro => (id, macro)));
                    macros.UnionWith(read.Macros);
                }
                done = end;
            }
            return new StoredGraph(
                kernel.SourceDirectory,
                kernel.OutputDirectory,
                [.. files],
                [.. readers.Select(list => list.Distinct().ToArray())],
                Opaque(files, [.. computed.Where(include => !macros.Contains(include.Macro))])
            );

            int IdOf(string path)
            {
                if (ids.TryGetValue(path, out int id))
                    return id;
                ids.Add(path, files.Count);
                files.Add(path);
                readers.Add([]);
                return files.Count - 1;
            }

            void AddReader(string name, int reader)
            {
                foreach (string path in Find(name))
                    readers[IdOf(path)].Add(reader);
            }
        }

        // A macro that nothing defines includes nothing.
        private int[] Opaque(List<string> files, List<(int File, string Macro)> computed)
        {
            if (computed.Count == 0)
                return [];
            string names = string.Join('|', computed.Select(include => Regex.Escape(include.Macro)).Distinct(StringComparer.Ordinal));
            var arguments = kernel
                .Units.Units.Concat(kernel.Units.Apart)
                .SelectMany(unit => unit.Compiler)
                .Distinct(StringComparer.Ordinal);
            var defined = files
                .AsParallel()
                .WithCancellation(cancellation)
                .Where(Exists)
                .SelectMany(file => Regex.Matches(Encoding.Latin1.GetString(File.ReadAllBytes(file)), $@"#[ \t]*define[ \t]+({names})\b"))
                .Concat(arguments.AsParallel().SelectMany(argument => Regex.Matches(argument, $@"^-D({names})\b")))
                .Select(match => match.Groups[1].Value)
                .ToHashSet(StringComparer.Ordinal);
            return [.. computed.Where(include => defined.Contains(include.Macro)).Select(include => include.File).Distinct()];
        }

        private sealed record FileIncludes(HashSet<string> Included, List<string> Computed, List<string> Macros);

        private FileIncludes Read(string file)
        {
            FileIncludes read = new(new(StringComparer.Ordinal), [], []);
            // What kbuild makes on the way to a unit is not there; nobody patches what it would read.
            if (!Exists(file))
                return read;
            string folder = Path.GetDirectoryName(file)!;
            string? tracePath = null;
            List<string> traceFiles = [];
            foreach (Match line in DirectivePattern().Matches(Encoding.Latin1.GetString(File.ReadAllBytes(file))))
            {
                string rest = line.Groups["rest"].Value.Replace("\\\n", " ", StringComparison.Ordinal);
                if (line.Groups["directive"].ValueSpan is "define")
                {
                    if (DefinePattern().Match(rest) is not { Success: true } define)
                        continue;
                    string name = define.Groups["name"].Value,
                        value = define.Groups["value"].Value.Trim();
                    if (name == "TRACE_INCLUDE_PATH")
                        tracePath = value;
                    else if (name is "TRACE_INCLUDE_FILE" or "TRACE_SYSTEM")
                        traceFiles.Add(value + ".h");
                    foreach (Match literal in LiteralPattern().Matches(value))
                    {
                        var paths = FindFrom(folder, literal.Groups["name"].Value);
                        read.Included.UnionWith(paths);
                        if (paths.Count != 0)
                            read.Macros.Add(name);
                    }
                }
                else if (IncludePattern().Match(rest) is { Success: true } include)
                {
                    string name = include.Groups["name"].Value;
                    string beside = Path.GetFullPath(name, folder);
                    // A name in quotes is looked for beside the file that includes it first.
                    if (include.Groups["quote"].ValueSpan is "\"" && line.Groups["directive"].ValueSpan is "include" && Exists(beside))
                        read.Included.Add(beside);
                    else
                        read.Included.UnionWith(Find(name));
                }
                else
                    read.Computed.Add(MacroPattern().Match(rest).Value);
            }
            string traceFolder = Path.Combine(kernel.SourceDirectory, "include/trace");
            foreach (string name in traceFiles)
            {
                read.Included.UnionWith(FindFrom(folder, name));
                read.Included.UnionWith(FindFrom(traceFolder, $"{tracePath ?? "events"}/{name}"));
            }
            return read;
        }

        private List<string> FindFrom(string folder, string name)
        {
            string beside = Path.GetFullPath(name, folder);
            return Exists(beside) ? [beside, .. Find(name)] : [.. Find(name)];
        }

        private string[] Find(string name) =>
            _found.GetOrAdd(name, name =>
                [.. _folders.Select(folder => Path.GetFullPath(name, folder)).Where(Exists).Distinct(StringComparer.Ordinal)]
            );

        private bool Exists(string path)
        {
            int slash = path.LastIndexOf('/');
            return _listings
                .GetOrAdd(path[..slash], folder =>
                    Directory.Exists(folder + "/")
                        ? Directory.EnumerateFiles(folder + "/").Select(file => Path.GetFileName(file)!).ToHashSet(StringComparer.Ordinal)
                        : []
                )
                .Contains(path[(slash + 1)..]);
        }

        private static IEnumerable<string> FoldersOf(CompilationUnit unit, string output)
        {
            string? before = null;
            foreach (string argument in unit.Compiler)
            {
                if (before is "-I" or "-isystem" or "-iquote" or "-idirafter")
                    yield return Path.GetFullPath(argument, output);
                else if (argument.Length > 2 && argument.StartsWith("-I", StringComparison.Ordinal))
                    yield return Path.GetFullPath(argument[2..], output);
                before = argument;
            }
        }
    }

    // A comment may end before it.
    [GeneratedRegex(
        @"^(?:[^\n]*\*/)?[ \t]*#[ \t]*(?<directive>include_next|include|import|define)\b(?<rest>(?:\\\n|[^\n])*)",
        RegexOptions.Multiline
    )]
    private static partial Regex DirectivePattern();

    [GeneratedRegex(@"^[^<""]*?(?:(?<quote>"")(?<name>[^""]+)""|<(?<name>[^>]+)>)")]
    private static partial Regex IncludePattern();

    [GeneratedRegex(@"^[ \t]+(?<name>\w+)(?<value>.*)", RegexOptions.Singleline)]
    private static partial Regex DefinePattern();

    // A file's name between quotes or angle brackets.
    [GeneratedRegex(@"[""<](?<name>[\w+/-][\w.+/-]*\.\w+)["">]")]
    private static partial Regex LiteralPattern();

    [GeneratedRegex(@"\w+")]
    private static partial Regex MacroPattern();

    private sealed record StoredGraph(string Source, string Output, string[] Files, int[][] Readers, int[] Opaque);

    [JsonSourceGenerationOptions(RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
    [JsonSerializable(typeof(StoredGraph))]
    private sealed partial class GraphContext : JsonSerializerContext;
}
