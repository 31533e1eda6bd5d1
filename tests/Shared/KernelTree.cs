// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Tests;

/// <summary>A kernel's source tree as builds prepare it, and patches of its files.</summary>
internal static class KernelTree
{
    private static readonly ConcurrentDictionary<(string Release, string? Source), Lazy<Task<PreparedKernel>>> Prepared = new();

    /// <summary>The prepared kernel of a release.</summary>
    public static Task<PreparedKernel> PrepareAsync(string release, string? source = null) =>
        Prepared.GetOrAdd((release, source), _ => new(() => PrepareNowAsync(release, source))).Value;

    private static async Task<PreparedKernel> PrepareNowAsync(string release, string? source)
    {
        DiagnosticBag diagnostics = [];
        var resolved = await KernelReleaseResolver.ResolveAsync(new() { Release = release, Source = source }, diagnostics);
        var kernel = resolved is null
            ? null
            : await new KernelCache(KernelCache.DefaultRoot, NullLogger.Instance).PrepareAsync(resolved, diagnostics);
        return kernel ?? throw new InvalidOperationException(string.Join('\n', diagnostics));
    }

    /// <summary>A patch of one file of a release: the first place of each old text becomes the new one.</summary>
    public static async Task<string> ChangeAsync(string release, string file, params (string Old, string New)[] changes)
    {
        string path = Path.Combine((await PrepareAsync(release)).SourceDirectory, file),
            edited = Path.GetTempFileName();
        try
        {
            string text = await File.ReadAllTextAsync(path);
            foreach (var (old, changed) in changes)
            {
                int at = text.IndexOf(old, StringComparison.Ordinal);
                Assert.True(at >= 0, $"{file} does not hold '{old}'");
                text = text[..at] + changed + text[(at + old.Length)..];
            }
            await File.WriteAllTextAsync(edited, text);
            return await DiffAsync(file, path, edited);
        }
        finally
        {
            File.Delete(edited);
        }
    }

    /// <summary>A patch that adds a file.</summary>
    public static string Added(string file, string text)
    {
        string[] lines = text.TrimEnd('\n').Split('\n');
        return $"--- /dev/null\n+++ b/{file}\n@@ -0,0 +1,{lines.Length} @@\n{string.Concat(lines.Select(line => $"+{line}\n"))}";
    }

    /// <summary>What <c>diff -u</c> says of two files, as a patch of <paramref name="file"/>.</summary>
    public static async Task<string> DiffAsync(string file, string before, string after)
    {
        var diff = await Cli.Wrap("diff")
            .WithArguments(["-u", "--label", "a/" + file, "--label", "b/" + file, before, after])
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        return diff.StandardOutput;
    }
}
