// SPDX-License-Identifier: MIT
// The newest kernel of the other series that updates are made for, beside the one that the tests use otherwise.
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Tests;

internal static class NewerSeries
{
    private static readonly Lazy<Task<string>> Release = new(SetUpAsync);

    /// <summary>Its release, with headers, image and source in place.</summary>
    public static Task<string> ReleaseAsync() => Release.Value;

    private static async Task<string> SetUpAsync()
    {
        var made = await Cli.Wrap(Repository.At("build", "setup"))
            .WithArguments(["--series", "6.12"])
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync();
        Assert.True(made.ExitCode == 0, made.StandardError);
        return made.StandardOutput.TrimEnd().Split('\n')[^1];
    }
}
