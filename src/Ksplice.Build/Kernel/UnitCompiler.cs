// SPDX-License-Identifier: MIT
using System.Collections.Immutable;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;
using Ksplice.Build.Processes;
using Microsoft.Extensions.Logging;

namespace Ksplice.Build.Kernel;

/// <summary>An object as compiled from one unit.</summary>
/// <param name="Object">The object file.</param>
/// <param name="Dependencies">Every file that was read, absolute, sorted.</param>
/// <param name="WithTables">A copy of the object with the tables that objtool makes, where kbuild leaves the object
/// itself without (K2); else null.</param>
public sealed record CompiledUnit(string Object, ImmutableArray<string> Dependencies, string? WithTables);

/// <summary>
/// Compiles single units as kbuild would, with each function and object in a section of its own and with type information
/// (DWARF and BTF). The commands come from <see cref="UnitDatabase"/>; only the source root and the output are replaced. File names inside
/// the object are relative to the tree, so pre and post objects, made from different trees, agree where the sources do.
/// </summary>
public sealed partial class UnitCompiler(PreparedKernel kernel, ILogger logger)
{
    private static readonly string[] Sections = ["-ffunction-sections", "-fdata-sections", "-g", "-gbtf", "-gno-record-gcc-switches"];

    // What is only asked whether it changes is made as it is linked; debug data would tell lines and not code.
    private static string[] Added(CompilationUnit unit) => unit.Apart is null ? Sections : ["-g0"];

    /// <summary>
    /// Where <see cref="CompiledUnit.WithTables"/> of an object stands. The module with the new code is linked from what the compiler made:
    /// objtool skips what has its tables already.
    /// </summary>
    public static string WithTablesOf(string output) => Path.ChangeExtension(output, TablesExtension);

    private const string TablesExtension = ".tables.o";

    /// <summary>What compiling made of <paramref name="output"/>: itself, and its copy with objtool's tables where there is one.</summary>
    public static IEnumerable<string> FilesOf(string output) =>
        File.Exists(WithTablesOf(output)) ? [output, WithTablesOf(output)] : [output];

    /// <summary>Compiles <paramref name="unit"/> into <paramref name="output"/>, which appears only when everything went well.</summary>
    /// <param name="unit">The unit.</param>
    /// <param name="sourceRoot">The tree to compile from: the kernel's own, or a post tree.</param>
    /// <param name="output">The object file.</param>
    /// <param name="extraArguments">
    /// Compiler arguments added at the end; <see cref="LineDirectives.MarkMap"/> of updates above the first.
    /// </param>
    /// <param name="diagnostics">Takes what the compiler says.</param>
    /// <param name="cancellation">Ends the compiler's process tree.</param>
    public async Task<CompiledUnit?> CompileAsync(
        CompilationUnit unit,
        string sourceRoot,
        string output,
        IReadOnlyList<string> extraArguments,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(unit);
        string root = Path.GetFullPath(sourceRoot);
        string temporary = output + ".tmp";
        string withTables = WithTablesOf(output);
        string temporaryTables = withTables + ".tmp";
        string dependencyFile = output + ".d";
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(output))!);
        string[] arguments =
        [
            .. unit.Compiler.Select(argument => Rewrite(argument, unit, root, temporary, dependencyFile)),
            .. Added(unit),
            $"-ffile-prefix-map={root}/=",
            $"-fdebug-prefix-map={kernel.OutputDirectory}=.",
            LineDirectives.MarkMap(0),
            .. extraArguments,
        ];
        try
        {
            LogCompiling(logger, unit.Source, root);
            if (await Run(kernel.Release.Compiler, arguments).RunAsync(diagnostics, cancellation).ConfigureAwait(false) is not { } compiled)
                return null;
            if (!compiled.Succeeded)
            {
                ReportCompiler(unit, root, compiled.Said, diagnostics);
                return null;
            }

            UbsanNames.Shorten(temporary, root);
            var dependencies = ReadDependencies(dependencyFile);
            if (
                root != kernel.SourceDirectory
                && dependencies.FirstOrDefault(path => path.StartsWith(kernel.SourceDirectory + "/", StringComparison.Ordinal))
                    is { } unpatched
            )
            {
                diagnostics.Report(KernelDiagnostics.UnpatchedInclude, new SourceLocation(unit.Source), unit.Source, unpatched);
                return null;
            }

            if (
                !unit.Objtool.IsEmpty
                && !await RunObjtoolAsync(unit, unit.Objtool, temporary, diagnostics, cancellation).ConfigureAwait(false)
            )
                return null;
            File.Delete(withTables);
            if (!unit.LinkObjtool.IsEmpty)
            {
                File.Copy(temporary, temporaryTables, overwrite: true);
                if (!await RunObjtoolAsync(unit, unit.LinkObjtool, temporaryTables, diagnostics, cancellation).ConfigureAwait(false))
                    return null;
                File.Move(temporaryTables, withTables, overwrite: true);
            }

            File.Move(temporary, output, overwrite: true);
            return new CompiledUnit(output, dependencies, unit.LinkObjtool.IsEmpty ? null : withTables);
        }
        finally
        {
            File.Delete(temporary);
            File.Delete(temporaryTables);
            File.Delete(dependencyFile);
        }
    }

    /// <summary>
    /// Every file of the source tree that <paramref name="unit"/> reads, relative to it; null if the preprocessor fails, or cannot be
    /// run, which alone is reported. Headers that kbuild would generate on the way to this unit are taken for empty.
    /// </summary>
    /// <param name="unit">The unit.</param>
    /// <param name="sourceRoot">The tree to read from: the kernel's own, or a post tree.</param>
    /// <param name="diagnostics">Takes what keeps the preprocessor from being run.</param>
    /// <param name="cancellation">Ends it.</param>
    public async Task<IReadOnlyList<string>?> ListIncludesAsync(
        CompilationUnit unit,
        string sourceRoot,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(unit);
        string prefix = Path.GetFullPath(sourceRoot) + "/";
        string file = Path.GetTempFileName();
        try
        {
            var preprocess = Preprocess(unit, prefix, "-M", "-MG", "-MF", file);
            if (await preprocess.RunAsync(diagnostics, cancellation).ConfigureAwait(false) is not { Succeeded: true })
                return null;
            return
            [
                .. ReadDependencies(file)
                    .Select(Path.GetFullPath)
                    .Where(path => path.StartsWith(prefix, StringComparison.Ordinal))
                    .Select(path => path[prefix.Length..])
                    .Distinct(StringComparer.Ordinal),
            ];
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>
    /// What the compiler proper would read of <paramref name="unit"/>, without places; null if the preprocessor fails.
    /// </summary>
    /// <param name="unit">The unit.</param>
    /// <param name="sourceRoot">The tree to read from: the kernel's own, or a post tree.</param>
    /// <param name="extraArguments">As for <see cref="CompileAsync"/>.</param>
    /// <param name="diagnostics">Takes what keeps the preprocessor from being run.</param>
    /// <param name="cancellation">Ends it.</param>
    public async Task<string?> PreprocessAsync(
        CompilationUnit unit,
        string sourceRoot,
        IReadOnlyList<string> extraArguments,
        DiagnosticBag diagnostics,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(unit);
        string prefix = Path.GetFullPath(sourceRoot) + "/";
        string file = Path.GetTempFileName();
        try
        {
            var preprocess = Preprocess(
                unit,
                prefix,
                ["-E", "-P", $"-ffile-prefix-map={prefix}=", LineDirectives.MarkMap(0), .. extraArguments, "-o", file]
            );
            return await preprocess.RunAsync(diagnostics, cancellation).ConfigureAwait(false) is { Succeeded: true }
                // In assembly the preprocessor takes marks of patched statements for text.
                ? string.Join('\n', File.ReadLines(file).Where(line => !line.StartsWith("# ", StringComparison.Ordinal)))
                : null;
        }
        finally
        {
            File.Delete(file);
        }
    }

    private Tool Preprocess(CompilationUnit unit, string prefix, params IEnumerable<string> arguments) =>
        Run(
            kernel.Release.Compiler,
            [
                .. unit
                    .Compiler.Where(argument =>
                        argument is not ("-c" or "-o")
                        && argument != unit.Object
                        && !argument.StartsWith("-Wp,-M", StringComparison.Ordinal)
                    )
                    .Select(argument => InTree(argument, prefix)),
                .. arguments,
            ]
        ) with
        {
            MayFail = true,
        };

    /// <summary><paramref name="unit"/> with an empty source: what a kernel without this unit has of it.</summary>
    public static CompilationUnit WithoutSource(CompilationUnit unit)
    {
        ArgumentNullException.ThrowIfNull(unit);
        return unit with { Compiler = [.. unit.Compiler.SkipLast(1), "-x", unit.IsAssembly ? "assembler-with-cpp" : "c", "/dev/null"] };
    }

    private string Rewrite(string argument, CompilationUnit unit, string root, string output, string dependencyFile)
    {
        if (argument == unit.Object)
            return Path.GetFullPath(output);
        if (argument.StartsWith("-Wp,-MMD,", StringComparison.Ordinal) || argument.StartsWith("-Wp,-MD,", StringComparison.Ordinal))
            return argument[..(argument.LastIndexOf(',') + 1)] + Path.GetFullPath(dependencyFile);
        return InTree(argument, root + "/");
    }

    private string InTree(string argument, string prefix) =>
        argument.Replace(kernel.SourceDirectory + "/", prefix, StringComparison.Ordinal);

    private async Task<bool> RunObjtoolAsync(
        CompilationUnit unit,
        ImmutableArray<string> arguments,
        string file,
        DiagnosticBag diagnostics,
        CancellationToken cancellation
    )
    {
        var objtool = Run(Path.Combine(kernel.OutputDirectory, "tools/objtool/objtool"), [.. arguments, Path.GetFullPath(file)]) with
        {
            Remedy = KernelCache.Remedy(kernel.OutputDirectory),
        };
        if (await objtool.RunAsync(diagnostics, cancellation).ConfigureAwait(false) is not { } result)
            return false;
        if (!result.Succeeded)
            diagnostics.Report(KernelDiagnostics.ObjtoolFailed, new SourceLocation(unit.Source), unit.Source, ObjtoolCause(result));
        return result.Succeeded;
    }

    // objtool goes on after a warning and ends at what is fatal to it. Before Linux 6.15 it calls both a warning.
    private static string ObjtoolCause(ToolResult result)
    {
        string[] lines = result.Said.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        return Array.Find(lines, line => line.Contains("error:", StringComparison.Ordinal)) ?? lines[^1];
    }

    private Tool Run(string program, IReadOnlyList<string> arguments) =>
        kernel.Release.Tool(program, arguments) with
        {
            Folder = kernel.OutputDirectory,
            Logger = logger,
        };

    /// <summary>make's rule format: a target, a colon, names with blanks, # and $ escaped, and continued lines.</summary>
    private ImmutableArray<string> ReadDependencies(string file)
    {
        string text = File.ReadAllText(file).Replace("\\\n", " ", StringComparison.Ordinal);
        return
        [
            .. DependencyPattern()
                .Matches(text[(text.IndexOf(':', StringComparison.Ordinal) + 1)..])
                .Select(match => Path.Combine(kernel.OutputDirectory, Unescaped(match.Value)))
                .Select(Lexical)
                .Distinct(StringComparer.Ordinal)
                .Order(StringComparer.Ordinal),
        ];
    }

    private static string Unescaped(string name) =>
        name.Replace("\\ ", " ", StringComparison.Ordinal)
            .Replace(@"\#", "#", StringComparison.Ordinal)
            .Replace("$$", "$", StringComparison.Ordinal);

    /// <summary>Drops "./" but leaves "..", which the file system resolves.</summary>
    private static string Lexical(string path) => path.Replace("/./", "/", StringComparison.Ordinal);

    /// <summary>A digest that tells whether an object would be made by the same command.</summary>
    public string CommandOf(CompilationUnit unit, string sourceRoot, IReadOnlyList<string> extraArguments)
    {
        ArgumentNullException.ThrowIfNull(unit);
        string[] words =
        [
            kernel.Release.CompilerVersion,
            kernel.Release.AssemblerVersion,
            kernel.Release.Toolchain,
            Path.GetFullPath(sourceRoot),
            .. unit.Compiler,
            .. unit.Objtool,
            .. unit.LinkObjtool,
            TablesExtension,
            .. Added(unit),
            LineDirectives.MarkMap(0),
            .. extraArguments,
        ];
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\0', words))));
    }

    /// <summary>gcc's own errors become diagnostics at their places; the rest of its output follows the first as one.</summary>
    private static void ReportCompiler(CompilationUnit unit, string root, string text, DiagnosticBag diagnostics)
    {
        bool any = false;
        foreach (Match match in GccErrorPattern().Matches(text))
        {
            any = true;
            string path = match.Groups["path"].Value;
            diagnostics.Report(
                KernelDiagnostics.CompilerError,
                new SourceLocation(
                    path.StartsWith(root + "/", StringComparison.Ordinal) ? path[(root.Length + 1)..] : path,
                    int.Parse(match.Groups["line"].Value, null),
                    int.Parse(match.Groups["column"].Value, null)
                ),
                match.Groups["problem"].Value.Trim()
            );
        }

        if (!any)
            diagnostics.Report(
                KernelDiagnostics.CompilerError,
                new SourceLocation(unit.Source),
                $"{unit.Source} does not compile: {text.Trim()}"
            );
    }

    [GeneratedRegex(@"(?:[^\s\\]|\\[ #])+")]
    private static partial Regex DependencyPattern();

    [GeneratedRegex(@"^(?<path>.+?):(?<line>\d+):(?<column>\d+): (?:fatal )?error: (?<problem>.*)$", RegexOptions.Multiline)]
    private static partial Regex GccErrorPattern();

    [LoggerMessage(Level = LogLevel.Debug, Message = "running the compiler on {Source} in {Root}")]
    private static partial void LogCompiling(ILogger logger, string source, string root);
}
