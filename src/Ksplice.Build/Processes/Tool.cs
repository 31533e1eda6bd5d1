// SPDX-License-Identifier: MIT
// Every program that a build runs (compilers, make, objtool, strip, tar, sign-file) is run here, so that each is run in the same way:
//
// - The environment is the user's, with messages in English and without the variables that change what make and kbuild make of the same
//   inputs, or let gcc write further files. What says where a toolchain is (PATH, CPATH, HOSTCFLAGS and others) stays.
// - A program that is missing is an error with one rule, which names the package that has it.
// - A program of a kernel's toolchain runs in the toolchain's root folder, if it has one (ToolRoot).
// - Cancellation kills the program and all that it has started.
// - What it writes is kept up to a limit.
using System.ComponentModel;
using System.Text.RegularExpressions;
using CliWrap;
using Ksplice.Build.Diagnostics;
using Microsoft.Extensions.Logging;

namespace Ksplice.Build.Processes;

/// <summary>A program to run.</summary>
/// <param name="Program">Its name, looked for in PATH, or its path.</param>
/// <param name="Arguments">Its arguments, each as it is.</param>
public sealed partial record Tool(string Program, params IReadOnlyList<string> Arguments)
{
    private const int OutputLimit = 1 << 20;
    private const int NotFound = 2;
    private const int NotPermitted = 13;
    private static readonly Lock Reporting = new();

    // From the manuals: GNU make, "Variables from the Environment"; Documentation/kbuild/kbuild.rst and kconfig.rst; GCC, "Environment
    // Variables".
    private static readonly string[] Dropped =
    [
        "MAKEFLAGS",
        "MFLAGS",
        "GNUMAKEFLAGS",
        "MAKEFILES",
        "MAKELEVEL",
        "ARCH",
        "SUBARCH",
        "CROSS_COMPILE",
        "LLVM",
        "LLVM_IAS",
        "KCPPFLAGS",
        "KAFLAGS",
        "KCFLAGS",
        "KRUSTFLAGS",
        "KBUILD_OUTPUT",
        "KBUILD_EXTMOD",
        "KBUILD_EXTRA_SYMBOLS",
        "KBUILD_VERBOSE",
        "KCONFIG_CONFIG",
        "KCONFIG_ALLCONFIG",
        "LOCALVERSION",
        "DEPENDENCIES_OUTPUT",
        "SUNPRO_DEPENDENCIES",
        "GCC_COLORS",
    ];

    /// <summary>The folder that it runs in; null for the current one.</summary>
    public string? Folder { get; init; }

    /// <summary>The root folder that it runs in; empty for this machine.</summary>
    public string Root { get; init; } = "";

    /// <summary>Takes each line of its standard output, which is then not kept.</summary>
    public Action<string>? Lines { get; init; }

    /// <summary>Takes its command line, for those who look for why it did what it did.</summary>
    public ILogger? Logger { get; init; }

    /// <summary>What to do if it is missing; null where a package has it.</summary>
    public string? Remedy { get; init; }

    /// <summary>True if a failure is expected: then a program that it did not find itself is no error.</summary>
    public bool MayFail { get; init; }

    /// <summary>
    /// Runs the program to its end; null if it cannot be run, or if it failed because a program that it runs itself is missing. Both
    /// are reported.
    /// </summary>
    /// <param name="diagnostics">Takes <see cref="ToolDiagnostics.CannotRun"/>.</param>
    /// <param name="cancellation">Kills the program and all that it has started.</param>
    /// <exception cref="OperationCanceledException"><paramref name="cancellation"/> asked for it.</exception>
    public async Task<ToolResult?> RunAsync(DiagnosticBag diagnostics, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        string place = Root.Length == 0 ? "" : $" in {Root}";
        Logger?.Log(LogLevel.Debug, default, $"run{place}: {CommandLine}", null, (text, _) => text);
        BoundedText output = new(OutputLimit),
            errors = new(OutputLimit);
        try
        {
            string folder = Folder ?? Directory.GetCurrentDirectory();
            var ended = await Cli.Wrap(Started)
                .WithArguments(Root.Length == 0 ? Arguments : [.. ToolRoot.Arguments(Root, folder), Program, .. Arguments])
                .WithWorkingDirectory(folder)
                .WithEnvironmentVariables(variables =>
                {
                    variables.Set("LC_ALL", "C");
                    foreach (string name in Root.Length == 0 ? Dropped : Dropped.Concat(ToolRoot.Dropped))
                        variables.Set(name, null);
                })
                .WithStandardOutputPipe(Lines is null ? output.Pipe : PipeTarget.ToDelegate(Lines))
                .WithStandardErrorPipe(errors.Pipe)
                .WithValidation(CommandResultValidation.None)
                .ExecuteAsync(cancellation)
                .ConfigureAwait(false);
            ToolResult result = new(ended.ExitCode, output.ToString(), errors.ToString());
            if (result.Succeeded || (Root.Length != 0 && ReportRoot(result.Errors, diagnostics)))
                return result.Succeeded ? result : null;
            if (MayFail || MissingIn(result.Errors) is not { } missing)
                return result;
            Report(missing, $"{Path.GetFileName(Program)} did not find it", null, diagnostics);
        }
        catch (Win32Exception problem)
        {
            Report(Started, Reason(problem), Root.Length == 0 ? Remedy : null, diagnostics);
        }
        return null;
    }

    // What is started is bwrap for a program in a root folder.
    private string Started => Root.Length == 0 ? Program : ToolRoot.Program;

    // True if bwrap, and not the program, wrote the errors.
    private bool ReportRoot(string errors, DiagnosticBag diagnostics)
    {
        if (ToolRoot.MissingIn(errors) is { } missing)
            Report(missing, $"it is not in the toolchain's root {Root}", Remedy ?? RemedyFor(missing) + " there", diagnostics);
        else if (ToolRoot.ProblemIn(errors) is { } problem)
            Report(Diagnostic.Create(ToolDiagnostics.CannotEnter, null, Root, problem), diagnostics);
        else
            return false;
        return true;
    }

    // As a shell would take it.
    private string CommandLine => string.Join(' ', Arguments.Prepend(Program).Select(Quoted));

    private static string Quoted(string word) => Plain().IsMatch(word) ? word : $"'{word.Replace("'", @"'\''", StringComparison.Ordinal)}'";

    [GeneratedRegex(@"^[\w./=:,+@%-]+\z")]
    private static partial Regex Plain();

    // The kernel gives one error for a program and for a folder that is not there.
    private string Reason(Win32Exception problem) =>
        Folder is not null && !Directory.Exists(Folder) ? $"its folder {Folder} does not exist"
        : problem.NativeErrorCode == NotPermitted ? "it is no program that may be executed"
        : problem.NativeErrorCode != NotFound ? problem.Message
        : Started.Contains('/', StringComparison.Ordinal) ? "there is no such file"
        : $"it is in no folder of PATH ({Environment.GetEnvironmentVariable("PATH")})";

    private static string RemedyFor(string program) =>
        ToolPackages.Of(program) is { } package ? $"install the package {package}" : "install it";

    private static void Report(string program, string reason, string? remedy, DiagnosticBag diagnostics)
    {
        remedy ??= ToolPackages.Of(program) is null ? "install it, or add its folder to PATH" : RemedyFor(program);
        Report(Diagnostic.Create(ToolDiagnostics.CannotRun, null, program, reason, remedy), diagnostics);
    }

    // Units are compiled side by side, and each would say it.
    private static void Report(Diagnostic report, DiagnosticBag diagnostics)
    {
        lock (Reporting)
        {
            if (!diagnostics.Contains(report))
                diagnostics.Add(report);
        }
    }

    // Only programs whose package is known: a build's own programs say "not found" of other things too.
    private static string? MissingIn(string errors) =>
        MissingPattern()
            .Matches(errors)
            .Select(match => match.Groups["name"].Value)
            .FirstOrDefault(name => ToolPackages.Of(name) is not null);

    // As dash, bash, make and tar say it.
    [GeneratedRegex(
        @"^(?:.*sh: (?:line )?\d+: (?<name>[^\s:]+): (?:command )?not found|make(?:\[\d+\])?: (?<name>[^\s:]+): No such file or directory"
            + @"|tar \(child\): (?<name>[^\s:]+): Cannot exec: No such file or directory)$",
        RegexOptions.Multiline
    )]
    private static partial Regex MissingPattern();
}
