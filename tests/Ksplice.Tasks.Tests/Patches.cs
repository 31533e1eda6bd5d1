namespace Ksplice.Tasks.Tests;

/// <summary>Patches for the kernel under test, from the samples or a change of one of their lines.</summary>
internal static class Patches
{
    public static string Smaps { get; } = File.ReadAllText(Repository.At("samples", "a-smaps-pages", "smaps-pages.patch"));

    public static string Kmsg { get; } = File.ReadAllText(Repository.At("samples", "c-kmsg-permission", "kmsg-permission.patch"));

    /// <summary>The kernel that tests build for.</summary>
    public static string Release { get; } = Environment.GetEnvironmentVariable("KSPLICE_RELEASE") is { Length: > 0 } release ? release : Newest();

    public static string Image => Path.Combine(Images, Release, "boot", "vmlinuz-" + Release);

    /// <summary>The kernel's source tree, prepared by an earlier build.</summary>
    public static async Task<string> SourceAsync()
    {
        var diagnostics = new Build.Diagnostics.DiagnosticBag();
        var release = await Build.Kernel.KernelReleaseResolver.ResolveAsync(new() { Release = Release }, diagnostics);
        var cache = new Build.Kernel.KernelCache(Build.Kernel.KernelCache.DefaultRoot, Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
        var kernel = release is null ? null : await cache.PrepareAsync(release, diagnostics);
        return kernel?.SourceDirectory ?? throw new InvalidOperationException(string.Join('\n', diagnostics));
    }

    /// <summary>A patch of one file of the kernel: the first place of <paramref name="old"/> becomes <paramref name="changed"/>.</summary>
    public static async Task<string> ChangeAsync(string file, string old, string changed)
    {
        string path = Path.Combine(await SourceAsync(), file);
        string text = await File.ReadAllTextAsync(path);
        int at = text.IndexOf(old, StringComparison.Ordinal);
        Assert.True(at >= 0, $"{file} does not hold '{old}'");
        var work = Directory.CreateTempSubdirectory("ksplice-patch-");
        try
        {
            string edited = Path.Combine(work.FullName, "edited");
            await File.WriteAllTextAsync(edited, text[..at] + changed + text[(at + old.Length)..]);
            var diff = await CliWrap.Buffered.BufferedCommandExtensions.ExecuteBufferedAsync(
                CliWrap.Cli.Wrap("diff").WithArguments(["-u", "--label", "a/" + file, "--label", "b/" + file, path, edited]).WithValidation(CliWrap.CommandResultValidation.None));
            return diff.StandardOutput;
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    private static string Images => Path.Combine(Build.Kernel.KernelCache.DefaultRoot, "images");

    private static string Newest() => Directory.GetDirectories(Images).Select(path => Path.GetFileName(path)!)
        .Where(name => name.StartsWith("6.1.", StringComparison.Ordinal)).Order(StringComparer.Ordinal).Last();
}
