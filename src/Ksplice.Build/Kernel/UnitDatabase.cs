// SPDX-License-Identifier: MIT
using System.Collections.Immutable;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.RegularExpressions;
using Ksplice.Build.Files;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Kernel;

/// <summary>One source file as kbuild compiles it.</summary>
/// <param name="Source">Path in the source tree, <c>fs/proc/version.c</c>.</param>
/// <param name="Object">Path in the output tree, <c>fs/proc/version.o</c>.</param>
/// <param name="Module">The loadable module it is part of, <c>xfs</c> (several with colons between them, as kbuild writes it), or null
/// when it is built into vmlinux.</param>
/// <param name="Compiler">The compiler's arguments; paths to the source tree are absolute, others relative to the output tree.</param>
/// <param name="Objtool">objtool's arguments without the object, or empty when kbuild does not run it on this object.</param>
/// <param name="LinkObjtool">objtool's arguments where kbuild runs it on linked objects only (IBT, K2); else empty.</param>
public sealed record CompilationUnit(
    string Source,
    string Object,
    string? Module,
    ImmutableArray<string> Compiler,
    ImmutableArray<string> Objtool,
    ImmutableArray<string> LinkObjtool
)
{
    /// <summary>
    /// Null for the kernel's own code; else what the object belongs to, in words (the vDSO, a source that kbuild generates). No update can
    /// replace its code, so it is only asked whether a patch changes it.
    /// </summary>
    public string? Apart { get; init; }

    /// <summary>True for assembly.</summary>
    public bool IsAssembly => Source.EndsWith(".S", StringComparison.Ordinal);
}

/// <summary>
/// Every unit of a configuration with the exact commands that make it. kbuild itself tells them: <c>make -n -k V=1 vmlinux
/// modules</c> prints in seconds what a build would run. What is compiled with the kernel's headers (-D__KERNEL__) is kept: the kernel's
/// own code (for C, by its code model) in <see cref="Units"/>, everything else in <see cref="Apart"/>. Host programs are left out.
/// </summary>
public sealed partial class UnitDatabase
{
    private readonly Dictionary<string, CompilationUnit> _bySource;

    private UnitDatabase(IReadOnlyCollection<CompilationUnit> units)
    {
        Units = [.. units.Where(unit => unit.Apart is null).OrderBy(unit => unit.Source, StringComparer.Ordinal)];
        Apart = [.. units.Where(unit => unit.Apart is not null).OrderBy(unit => unit.Object, StringComparer.Ordinal)];
        _bySource = new(StringComparer.Ordinal);
        foreach (var unit in Units)
            _bySource.TryAdd(unit.Source, unit);
    }

    /// <summary>The units of the kernel's own code, by source path.</summary>
    public IReadOnlyList<CompilationUnit> Units { get; }

    /// <summary>The units with <see cref="CompilationUnit.Apart"/>, by object path; a source may be that of several.</summary>
    public IReadOnlyList<CompilationUnit> Apart { get; }

    /// <summary>The unit made from <paramref name="source"/>, or null when the configuration has none.</summary>
    public CompilationUnit? Find(string source) => _bySource.GetValueOrDefault(source);

    /// <summary>Reads what <c>make -n</c> printed.</summary>
    /// <param name="lines">make's output.</param>
    /// <param name="sourceRoot">The source tree's path, as it stands in the commands.</param>
    public static UnitDatabase Parse(IEnumerable<string> lines, string sourceRoot)
    {
        string prefix = sourceRoot.TrimEnd('/') + "/";
        var units = new Dictionary<string, CompilationUnit>(StringComparer.Ordinal);
        var modules = new Dictionary<string, string>(StringComparer.Ordinal);
        ImmutableArray<string> linkObjtool = [];
        foreach (string line in lines)
        {
            ReadModule(line, modules);
            if (linkObjtool.IsEmpty && line.Contains(Link, StringComparison.Ordinal))
                linkObjtool = LinkArguments(line);
            if (!line.Contains(" -D__KERNEL__ ", StringComparison.Ordinal) || !line.Contains(" -c -o ", StringComparison.Ordinal))
                continue;
            var commands = SplitCommands(line);
            int compile = commands.FindIndex(words =>
                words.Count > 4 && words[0] is not ("echo" or "trap" or "printf") && words.Contains("-c") && words.Contains("-D__KERNEL__")
            );
            if (compile < 0)
                continue;
            var arguments = commands[compile];
            int output = arguments.IndexOf("-o") + 1;
            bool isC = arguments[^1].EndsWith(".c", StringComparison.Ordinal);
            if (output == 0 || output >= arguments.Count || !(isC || arguments[^1].EndsWith(".S", StringComparison.Ordinal)))
                continue;
            // A module of one object is linked as soon as it is compiled: what kbuild runs then is for linked objects.
            var objtool = commands
                .Skip(compile + 1)
                .FirstOrDefault(words => words.Count > 2 && IsObjtool(words[0]) && !words.Contains(Link.Trim()));
            string? apart = ApartBecause(arguments, arguments[output], prefix);
            string source = arguments[^1].StartsWith(prefix, StringComparison.Ordinal)
                ? Normal(arguments[^1][prefix.Length..])
                : arguments[^1];
            units[arguments[output]] = new CompilationUnit(
                source,
                arguments[output],
                ModuleOf(arguments),
                [.. arguments.Skip(1)],
                objtool is null || apart is not null ? [] : [.. objtool.Skip(1).SkipLast(1)],
                []
            )
            {
                Apart = apart,
            };
        }

        // C is told its module's name, assembly only that it is in one.
        return new UnitDatabase([
            .. units
                .Values.Select(unit =>
                    !unit.Objtool.IsEmpty || unit.Apart is not null || linkObjtool.IsEmpty
                        ? unit
                        : unit with
                        {
                            LinkObjtool = unit.Module is null ? linkObjtool : [.. linkObjtool, OfModule],
                        }
                )
                .Select(unit =>
                    unit is { IsAssembly: true, Module: not null }
                        ? unit with
                        {
                            Module = modules.GetValueOrDefault(unit.Object, ""),
                        }
                        : unit
                ),
        ]);
    }

    // virt/kvm is compiled as arch/x86/kvm/../../../virt/kvm.
    private static string Normal(string path) => Path.GetFullPath(path, "/")[1..];

    private static string? ApartBecause(List<string> arguments, string output, string prefix)
    {
        string source = arguments[^1];
        if (!source.StartsWith(prefix, StringComparison.Ordinal))
            return "a source that the kernel's build generates";
        bool isC = source.EndsWith(".c", StringComparison.Ordinal);
        string? image = PatchedPath.SeparateImage(Normal(Path.ChangeExtension(output, isC ? ".c" : ".S")));
        return isC && IsKernelCode(arguments) ? null
            : isC ? image ?? $"an image of its own, of which {Path.GetDirectoryName(output)} is a part"
            : image;
    }

    // scripts/Makefile.build, cmd_mod: the objects of a module, whose names are relative to its folder.
    private static void ReadModule(string line, Dictionary<string, string> modules)
    {
        if (ObjectListPattern().Match(line) is not { Success: true } match)
            return;
        string name = ShippedModules.Normalized(Path.GetFileName(match.Groups[3].Value));
        foreach (string file in match.Groups[1].Value.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            string path = match.Groups[2].Value + file;
            modules[path] = modules.TryGetValue(path, out string? other) ? $"{other}:{name}" : name;
        }
    }

    // What kbuild tells objtool of objects that are linked, and of those of modules.
    private const string Link = " --link ",
        OfModule = "--module";

    // The command for a linked object, without what only modules get.
    private static ImmutableArray<string> LinkArguments(string line) =>
        [
            .. (SplitCommands(line).FirstOrDefault(words => words.Count > 2 && IsObjtool(words[0])) ?? [])
                .Skip(1)
                .SkipLast(1)
                .Where(word => word != OfModule),
        ];

    private static bool IsObjtool(string program) => program.EndsWith("objtool/objtool", StringComparison.Ordinal);

    /// <summary>Writes the list to a file; equal strings are stored once.</summary>
    public void Save(string path)
    {
        var indexes = new Dictionary<string, int>(StringComparer.Ordinal);
        var strings = new List<string>();
        var stored = new StoredDatabase(
            strings,
            [
                .. Units
                    .Concat(Apart)
                    .Select(unit => new StoredUnit(
                        unit.Source,
                        unit.Object,
                        unit.Module,
                        Store(unit.Compiler),
                        Store(unit.Objtool),
                        Store(unit.LinkObjtool),
                        unit.Apart
                    )),
            ]
        );
        using var file = File.Create(path);
        JsonSerializer.Serialize(file, stored, StoredContext.Default.StoredDatabase);

        int[] Store(ImmutableArray<string> words) =>
            [
                .. words.Select(word =>
                {
                    if (!indexes.TryGetValue(word, out int index))
                    {
                        indexes.Add(word, index = strings.Count);
                        strings.Add(word);
                    }

                    return index;
                }),
            ];
    }

    /// <summary>Reads what <see cref="Save"/> wrote.</summary>
    /// <param name="path">The file.</param>
    /// <param name="remedy">What to do if it is damaged.</param>
    /// <exception cref="DamagedFileException">The file is damaged.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static UnitDatabase Load(string path, string remedy)
    {
        var stored = JsonFile.Read(path, StoredContext.Default.StoredDatabase, remedy);
        return new UnitDatabase([
            .. stored.Units.Select(unit => new CompilationUnit(
                unit.Source,
                unit.Object,
                unit.Module,
                Restore(unit.Compiler),
                Restore(unit.Objtool),
                Restore(unit.LinkObjtool ?? [])
            )
            {
                Apart = unit.Apart,
            }),
        ]);

        ImmutableArray<string> Restore(int[] words) =>
            [
                .. words.Select(word =>
                    (uint)word < stored.Strings.Count
                        ? stored.Strings[word]
                        : throw new DamagedFileException(path, $"there is no string {word}", remedy)
                ),
            ];
    }

    /// <summary>The kernel's code model, which boot, realmode and purgatory code replaces and the vDSO's -fPIC overrides.</summary>
    private static bool IsKernelCode(List<string> arguments) =>
        arguments.FindLast(word => word.StartsWith("-mcmodel=", StringComparison.Ordinal)) == "-mcmodel=kernel"
        && !arguments.Contains("-fPIC");

    private static string? ModuleOf(List<string> arguments)
    {
        const string Key = "-DKBUILD_MODNAME=\"";
        if (!arguments.Contains("-DMODULE"))
            return null;
        return arguments.Find(word => word.StartsWith(Key, StringComparison.Ordinal))?[Key.Length..].TrimEnd('"') ?? "";
    }

    /// <summary>The simple commands of a shell line, as words; enough of the shell's grammar for what kbuild prints.</summary>
    private static List<List<string>> SplitCommands(string line)
    {
        var commands = new List<List<string>> { new() };
        var word = new StringBuilder();
        bool inWord = false;
        for (int at = 0; at < line.Length; at++)
        {
            char letter = line[at];
            switch (letter)
            {
                case '\'':
                    int end = line.IndexOf('\'', at + 1);
                    end = end < 0 ? line.Length : end;
                    word.Append(line, at + 1, end - at - 1);
                    at = end;
                    inWord = true;
                    break;
                case '"':
                    inWord = true;
                    for (at++; at < line.Length && line[at] != '"'; at++)
                        word.Append(
                            line[at] == '\\' && at + 1 < line.Length && line[at + 1] is '"' or '\\' or '$' or '`' ? line[++at] : line[at]
                        );
                    break;
                case '\\' when at + 1 < line.Length:
                    word.Append(line[++at]);
                    inWord = true;
                    break;
                case ' ' or '\t' or ';' or '\n':
                    if (inWord)
                        commands[^1].Add(word.ToString());
                    word.Clear();
                    inWord = false;
                    if (letter == ';')
                        commands.Add([]);
                    break;
                default:
                    word.Append(letter);
                    inWord = true;
                    break;
            }
        }

        if (inWord)
            commands[^1].Add(word.ToString());
        return commands;
    }

    [GeneratedRegex("""printf '%s\\n' ([^|']*)\| awk '!x\[\$0\]\+\+ \{ print\("([^"]*)"\$0\) \}' > (\S+)\.mod""")]
    private static partial Regex ObjectListPattern();

    private sealed record StoredUnit(
        string Source,
        string Object,
        string? Module,
        int[] Compiler,
        int[] Objtool,
        int[]? LinkObjtool,
        string? Apart
    );

    private sealed record StoredDatabase(List<string> Strings, List<StoredUnit> Units);

    [JsonSourceGenerationOptions(RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
    [JsonSerializable(typeof(StoredDatabase))]
    private sealed partial class StoredContext : JsonSerializerContext;
}
