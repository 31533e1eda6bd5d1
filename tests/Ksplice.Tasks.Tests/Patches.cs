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
    public static async Task<string> SourceAsync() => (await KernelTree.PrepareAsync(Release)).SourceDirectory;

    /// <summary>A patch of one file of the kernel: the first place of <paramref name="old"/> becomes <paramref name="changed"/>.</summary>
    public static Task<string> ChangeAsync(string file, string old, string changed) => KernelTree.ChangeAsync(Release, file, (old, changed));

    private static string Images => Path.Combine(Build.Kernel.KernelCache.DefaultRoot, "images");

    private static string Newest() => Directory.GetDirectories(Images).Select(path => Path.GetFileName(path)!)
        .Where(name => name.StartsWith("6.1.", StringComparison.Ordinal)).Order(StringComparer.Ordinal).Last();
}
