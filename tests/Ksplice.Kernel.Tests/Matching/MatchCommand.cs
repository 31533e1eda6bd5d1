// SPDX-License-Identifier: MIT
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Kernel.Tests.Matching;

/// <summary><c>ksplice match</c> on this machine, over units compiled as an update's pre objects are.</summary>
internal static class MatchCommand
{
    /// <summary>Compiles a unit of a kernel into a folder and returns the object's path.</summary>
    public static async Task<string> CompileAsync(string source, string release, string folder)
    {
        var cancellation = TestContext.Current.CancellationToken;
        DiagnosticBag diagnostics = [];
        var resolved = await KernelReleaseResolver.ResolveAsync(new() { Release = release }, diagnostics, cancellation);
        var kernel = resolved is null
            ? null
            : await new KernelCache(KernelCache.DefaultRoot, NullLogger.Instance).PrepareAsync(resolved, diagnostics, cancellation);
        Assert.True(kernel is not null, string.Join('\n', diagnostics));
        string path = Path.Combine(folder, Path.GetFileNameWithoutExtension(source) + ".o");
        var made = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
            kernel.Units.Find(source)!,
            kernel.SourceDirectory,
            path,
            [],
            diagnostics,
            cancellation
        );
        Assert.True(made is not null, string.Join('\n', diagnostics));
        return path;
    }

    /// <summary>Matches an object against an image or memory; fails unless that ends with <paramref name="code"/>.</summary>
    /// <returns>The lines that the command wrote.</returns>
    public static async Task<string[]> RunAsync(int code, string path, string image, params string[] options)
    {
        var result = await Cli.Wrap(Repository.Command)
            .WithArguments(["match", path, "--image", image, .. options])
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        Assert.True(code == result.ExitCode, $"{result.ExitCode}\n{result.StandardOutput}\n{result.StandardError}");
        return (result.StandardOutput + result.StandardError).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
