// SPDX-License-Identifier: MIT
// The program as it is started, on the machine at hand, where it must change nothing.
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Ksplice.Cli.Machines;

namespace Ksplice.Cli.Tests;

public sealed class ProcessTests : IDisposable
{
    private readonly TestPackage _package = new();

    public void Dispose() => _package.Dispose();

    [Theory]
    [InlineData(ExitCode.Usage)]
    [InlineData(ExitCode.Usage, "apply")]
    [InlineData(ExitCode.Usage, "undo", "--hard", "x")]
    [InlineData(ExitCode.Ok, "--help")]
    [InlineData(ExitCode.Ok, "view")]
    [InlineData(ExitCode.Unknown, "view", "ffffffff")]
    public void Ends_with_the_documented_code(ExitCode expected, params string[] arguments) =>
        Assert.Equal((int)expected, Run(arguments).ExitCode);

    [Fact]
    public void Prints_valid_json_and_nothing_else()
    {
        var (code, output, _) = Run("view", "--json");
        Assert.Equal(0, code);
        Assert.Equal(JsonValueKind.Array, JsonDocument.Parse(output).RootElement.ValueKind);
    }

    [Fact]
    public void Refuses_a_package_for_a_kernel_that_does_not_run_here()
    {
        var (code, _, errors) = Run("apply", _package.Folder);
        Assert.Equal(Environment.IsPrivilegedProcess ? (int)ExitCode.WrongKernel : (int)ExitCode.NotRoot, code);
        Assert.StartsWith("ksplice: error:", errors, StringComparison.Ordinal);
    }

    // K30, without a request: whoever waits for the lock is in the way of who has it.
    [Theory]
    [InlineData("", ExitCode.Unknown, "is not applied at boot")]
    [InlineData("TERM", ExitCode.Unexpected, "interrupted")]
    public void Waits_as_a_program_without_a_runtime(string signal, ExitCode expected, string error)
    {
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "only root changes what is applied at boot");
        using var other = LockFile.Open(new Machine().LockPath);
        Assert.True(SpinWait.SpinUntil(other.TryTake, TimeSpan.FromMinutes(1)));
        using var process = Start("disable", "no such update");
        Assert.True(SpinWait.SpinUntil(() => File.ReadAllText($"/proc/{process.Id}/comm") == "ksplice-waiter\n", TimeSpan.FromMinutes(1)));
        Assert.Single(Directory.GetDirectories($"/proc/{process.Id}/task"));
        if (signal.Length > 0)
            Process.Start("bash", ["-c", $"kill -{signal} {process.Id}"]).WaitForExit();
        else
            other.Dispose();
        var errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        Assert.Equal((int)expected, process.ExitCode);
        Assert.Contains(error, errors, StringComparison.Ordinal);
        Assert.DoesNotContain("warning", errors, StringComparison.Ordinal);
    }

    [Fact]
    public void Documents_every_exit_code()
    {
        var rows = File.ReadLines(Repository.At("docs", "cli.md"))
            .Select(line => line.Split('|', StringSplitOptions.TrimEntries))
            .Where(cells => cells.Length == 5 && int.TryParse(cells[1], out _))
            .Select(cells => (int.Parse(cells[1], CultureInfo.InvariantCulture), cells[2]));
        Assert.Equal(Enum.GetValues<ExitCode>().Select(code => ((int)code, code.ToString())), rows);
    }

    internal static (int ExitCode, string Output, string Errors) Run(params string[] arguments)
    {
        using var process = Start(arguments);
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.GetAwaiter().GetResult());
    }

    private static Process Start(params string[] arguments) =>
        Process.Start(
            new ProcessStartInfo(Path.Combine(AppContext.BaseDirectory, "ksplice"), arguments)
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            }
        )!;
}
