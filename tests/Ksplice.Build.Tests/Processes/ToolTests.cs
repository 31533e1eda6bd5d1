// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Processes;
using Ksplice.Build.Tests.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Processes;

public sealed class ToolTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("ksplice-tool-");

    public void Dispose() => _folder.Delete(recursive: true);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    private static async Task<ToolResult> RunAsync(Tool tool)
    {
        DiagnosticBag diagnostics = [];
        var result = await tool.RunAsync(diagnostics, Cancellation);
        Assert.Empty(diagnostics);
        return result!;
    }

    private static async Task<string> RefusedAsync(Tool tool)
    {
        DiagnosticBag diagnostics = [];
        Assert.Null(await tool.RunAsync(diagnostics, Cancellation));
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP2014", error.Id);
        return error.Message;
    }

    private static Tool Shell(string script) => new("sh", "-c", script);

    [Fact]
    public async Task Output_errors_and_exit_code_are_told_apart()
    {
        var result = await RunAsync(Shell("echo out; echo err >&2; exit 3"));
        Assert.Equal((3, "out\n", "err\n", false), (result.ExitCode, result.Output, result.Errors, result.Succeeded));
        List<string> lines = [];
        Assert.Empty((await RunAsync(Shell("echo a; echo b") with { Lines = lines.Add })).Output);
        Assert.Equal(["a", "b"], lines);
        Assert.Equal(_folder.FullName + "\n", (await RunAsync(new Tool("pwd") { Folder = _folder.FullName })).Output);
    }

    [Fact]
    public async Task A_missing_program_is_named_with_the_package_that_has_it()
    {
        string path = Environment.GetEnvironmentVariable("PATH")!;
        Assert.Equal(
            $"'gcc-99' cannot be run: it is in no folder of PATH ({path}); install the package gcc-99",
            await RefusedAsync(new("gcc-99"))
        );
        Assert.EndsWith("install it, or add its folder to PATH", await RefusedAsync(new("no-such-program")), StringComparison.Ordinal);
        string objtool = Path.Combine(_folder.FullName, "objtool");
        Assert.Equal(
            $"'{objtool}' cannot be run: there is no such file; make it anew",
            await RefusedAsync(new(objtool) { Remedy = "make it anew" })
        );
        File.WriteAllText(objtool, "no program");
        Assert.Contains("it is no program that may be executed", await RefusedAsync(new(objtool)), StringComparison.Ordinal);
        Assert.Contains(
            $"its folder {objtool}.none does not exist",
            await RefusedAsync(new("true") { Folder = objtool + ".none" }),
            StringComparison.Ordinal
        );
    }

    [Theory]
    [InlineData("PATH=/none flex", "flex")]
    [InlineData("PATH=/none /bin/bash -c bison", "bison")]
    [InlineData("printf 'all:\\n\\tbc\\n' >Makefile; PATH=/none /usr/bin/make", "bc")]
    [InlineData("printf 'all:\\n\\t@bc; true; false\\n' >Makefile; PATH=/none /usr/bin/make", "bc")]
    [InlineData("PATH=/none /bin/tar -xJf archive", "xz")]
    public async Task A_program_that_a_program_did_not_find_is_the_cause(string script, string missing)
    {
        File.WriteAllText(Path.Combine(_folder.FullName, "archive"), "none");
        var tool = Shell(script) with { Folder = _folder.FullName };
        Assert.StartsWith(
            $"'{missing}' cannot be run: sh did not find it; install the package ",
            await RefusedAsync(tool),
            StringComparison.Ordinal
        );
        Assert.False((await RunAsync(tool with { MayFail = true })).Succeeded);
        // What succeeds has done without.
        Assert.True((await RunAsync(Shell(script + "; true") with { Folder = _folder.FullName })).Succeeded);
    }

    // The names are looked for because programs of a build print such lines about other things than programs.
    [Fact]
    public async Task Something_else_that_is_not_found_is_no_missing_program() =>
        Assert.Equal("sh: 1: symbol: not found\n", (await RunAsync(Shell("echo 'sh: 1: symbol: not found' >&2; false"))).Errors);

    [Fact]
    public async Task Options_of_make_and_kbuild_do_not_come_from_the_environment_and_the_toolchain_does()
    {
        (string Name, string Value)[] set =
        [
            ("MAKEFLAGS", "n"),
            ("KCFLAGS", "-DX"),
            ("HOSTCFLAGS", "-DY"),
            (SigningIdentity.PassphraseVariable, "pin"),
        ];
        foreach (var (name, value) in set)
            Environment.SetEnvironmentVariable(name, value);
        try
        {
            string[] lines = (await RunAsync(new Tool("env"))).Output.Split('\n');
            Assert.Contains("LC_ALL=C", lines);
            Assert.Contains("HOSTCFLAGS=-DY", lines);
            Assert.Contains(SigningIdentity.PassphraseVariable + "=pin", lines);
            Assert.Contains("PATH=" + Environment.GetEnvironmentVariable("PATH"), lines);
            Assert.DoesNotContain(lines, line => line.StartsWith("MAKEFLAGS", StringComparison.Ordinal));
            Assert.DoesNotContain(lines, line => line.StartsWith("KCFLAGS", StringComparison.Ordinal));
        }
        finally
        {
            foreach (var (name, _) in set)
                Environment.SetEnvironmentVariable(name, null);
        }
    }

    [Fact]
    public async Task Cancellation_kills_what_the_program_has_started_too()
    {
        using CancellationTokenSource source = new();
        string started = Path.Combine(_folder.FullName, "started");
        var running = Shell($"sleep 600 & echo $! >{started}.new; mv {started}.new {started}; wait").RunAsync([], source.Token);
        while (!File.Exists(started))
            await Task.Delay(10, Cancellation);
        int child = int.Parse(File.ReadAllText(started), CultureInfo.InvariantCulture);
        Assert.True(Directory.Exists($"/proc/{child}"));
        await source.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
        for (int tries = 0; Runs(child); tries++)
        {
            Assert.True(tries < 500, "the child still runs");
            await Task.Delay(10, Cancellation);
        }
    }

    // An orphan may wait for init as a zombie.
    private static bool Runs(int process)
    {
        try
        {
            return !File.ReadAllText($"/proc/{process}/stat").Contains(") Z ", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }

    [Fact]
    public async Task Of_much_output_beginning_and_end_are_kept()
    {
        const int limit = 1 << 20;
        var result = await RunAsync(Shell("echo first; yes | head -c 3000000; echo last"));
        Assert.StartsWith("first\ny\n", result.Output, StringComparison.Ordinal);
        Assert.EndsWith("y\nlast\n", result.Output, StringComparison.Ordinal);
        Assert.Contains($"[{3000000 + "first\nlast\n".Length - limit} characters left out]", result.Output, StringComparison.Ordinal);
        Assert.InRange(result.Output.Length, limit, limit + 100);
        BoundedText exact = new(10);
        exact.Append("0123456789");
        Assert.Equal("0123456789", exact.ToString());
    }

    [Theory]
    [InlineData("kill -9 $$", "signal 9 ended it", "signal 9 ended it")]
    [InlineData("exit 7", "exit code 7, without a word", "exit code 7, without a word")]
    [InlineData("printf 'CC a.o\\nwarning: w\\na.c:1: error: e\\nmake: *** [all] Error 2\\n' >&2; false", null, "a.c:1: error: e")]
    [InlineData("printf 'a\\nb\\nc\\nd\\nmake: Error\\n' >&2; false", null, "a | b | c")]
    [InlineData("printf 'make: x\\nmake: y\\n' >&2; false", null, "make: x | make: y")]
    public async Task A_failure_is_told_by_its_cause(string script, string? said, string cause)
    {
        var result = await RunAsync(Shell(script));
        Assert.False(result.Succeeded);
        Assert.Equal(cause, result.Cause);
        Assert.Equal(said ?? result.Errors.Trim(), result.Said);
    }

    // The stages, each with its program missing.
    [Fact]
    public async Task A_unit_whose_compiler_is_missing_is_refused_and_nothing_is_kept_of_what_units_include()
    {
        var prepared = await KernelUnderTest.PreparedAsync();
        var kernel = prepared with
        {
            Release = prepared.Release with { Compiler = "gcc-99" },
            OutputDirectory = Directory.CreateDirectory(Path.Combine(_folder.FullName, "output")).FullName,
        };
        UnitCompiler compiler = new(kernel, NullLogger.Instance);
        DiagnosticBag diagnostics = [];
        for (int times = 0; times < 2; times++)
            Assert.Null(
                await compiler.CompileAsync(
                    kernel.Units.Units[0],
                    kernel.SourceDirectory,
                    Path.Combine(_folder.FullName, "unit.o"),
                    [],
                    diagnostics,
                    Cancellation
                )
            );
        var includes = await IncludeIndex.OpenAsync(kernel, NullLogger.Instance, Cancellation);
        Assert.Null(await includes.UsersOfAsync("include/linux/types.h", diagnostics, Cancellation));
        Assert.Empty(await File.ReadAllBytesAsync(Path.Combine(_folder.FullName, "includes.txt"), Cancellation));
        // Once, however many units there are.
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP2014", error.Id);
        Assert.Contains("install the package gcc-99", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_prepared_tree_without_objtool_says_how_to_make_it_anew()
    {
        var prepared = await KernelUnderTest.PreparedAsync();
        string output = Directory.CreateDirectory(Path.Combine(_folder.FullName, "output")).FullName;
        foreach (var entry in new DirectoryInfo(prepared.OutputDirectory).EnumerateFileSystemInfos())
        {
            if (entry.Name != "tools")
                File.CreateSymbolicLink(Path.Combine(output, entry.Name), entry.FullName);
        }
        var kernel = prepared with { OutputDirectory = output };
        DiagnosticBag diagnostics = [];
        var unit = kernel.Units.Units.First(unit => !unit.Objtool.IsEmpty || !unit.LinkObjtool.IsEmpty);
        Assert.Null(
            await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
                unit,
                kernel.SourceDirectory,
                Path.Combine(_folder.FullName, "unit.o"),
                [],
                diagnostics,
                Cancellation
            )
        );
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP2014", error.Id);
        Assert.Contains(
            "tools/objtool/objtool' cannot be run: there is no such file; delete the folder",
            error.Message,
            StringComparison.Ordinal
        );
        Assert.Contains(_folder.FullName, error.Message, StringComparison.Ordinal);
    }
}
