// SPDX-License-Identifier: MIT
// The waiter as a process of its own, with a program to become that tells what it was given.
using System.Diagnostics;
using Ksplice.Cli.Machines;

namespace Ksplice.Cli.Tests;

internal static class WaiterProcess
{
    /// <summary>A program to become, and its first arguments: it prints those behind them.</summary>
    public static string[] Say { get; } = ["/usr/bin/printf", @"%s\n"];

    /// <summary>Runs it until the program that it became ends; returns what was written, the output by lines.</summary>
    public static async Task<(string Errors, string[] Lines)> RunAsync(
        string scratch,
        Wait wait,
        string[] program,
        string[] resume,
        Action<int>? meanwhile = null,
        string before = ""
    )
    {
        var file = Path.Combine(scratch, $"waiter-{Guid.NewGuid():n}");
        await File.WriteAllBytesAsync(file + ".bytes", Waiter.Program);
        string[] arguments = [.. wait.Arguments(9, 0), program[0], .. program[1..], .. resume];
        // bash makes the copy: a file that this process has open for writing may be in a child of another test, and does not run then.
        // SIGINT may be ignored by who started the tests.
        ProcessStartInfo start = new(
            "env",
            [
                "--default-signal=INT",
                "bash",
                "-c",
                $"cp $0.bytes $0; chmod +x $0; {before} exec 9<{program[0]}; exec -a ksplice-waiter $0 \"$@\"",
                file,
                .. arguments[1..],
            ]
        )
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        };
        using var process = Process.Start(start)!;
        meanwhile?.Invoke(process.Id);
        var errors = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (await errors, output.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }
}
