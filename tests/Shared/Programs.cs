// SPDX-License-Identifier: MIT
// The programs of others that tests compile with and ask: run to their end, both outputs read at once, so that none waits for a full pipe.
using System.Diagnostics;
using System.Text;

namespace Ksplice.Tests;

/// <summary>Runs programs.</summary>
internal static class Programs
{
    /// <summary>Runs one; its exit code and what it wrote.</summary>
    public static (int ExitCode, string Output, string Errors) Run(
        string program,
        IEnumerable<string> arguments,
        string? folder = null,
        Encoding? encoding = null,
        params (string Name, string? Value)[] environment
    )
    {
        ProcessStartInfo start = new(program, arguments)
        {
            WorkingDirectory = folder ?? "",
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            StandardOutputEncoding = encoding,
        };
        start.Environment["LC_ALL"] = "C";
        foreach (var (name, value) in environment)
            start.Environment[name] = value;
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, errors.Result);
    }

    /// <summary>Runs one that has to succeed; its standard output.</summary>
    public static string RunOk(string program, params IEnumerable<string> arguments)
    {
        var (code, output, errors) = Run(program, arguments);
        Assert.True(code == 0, $"{program} {string.Join(' ', arguments)} ended with {code}: {output}{errors}");
        return output;
    }
}
