using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>The stock kernel that tests work on: $KSPLICE_RELEASE, else the newest one that build/setup unpacked.</summary>
public static class KernelUnderTest
{
    public static string CacheRoot { get; } = KernelCache.DefaultRoot;

    public static string Release { get; } = Environment.GetEnvironmentVariable("KSPLICE_RELEASE") is { Length: > 0 } named ? named : Newest();

    private static readonly Lazy<KernelImage> LazyImage = new(() =>
    {
        var diagnostics = new DiagnosticBag();
        return KernelImage.Open(ImagePath, diagnostics) ?? throw new InvalidOperationException(string.Join('\n', diagnostics));
    });

    private static readonly Lazy<Task<PreparedKernel>> LazyPrepared = new(async () =>
    {
        var diagnostics = new DiagnosticBag();
        var release = await KernelReleaseResolver.ResolveAsync(new() { Release = Release }, diagnostics);
        var prepared = release is null ? null : await new KernelCache(CacheRoot, NullLogger.Instance).PrepareAsync(release, diagnostics);
        return prepared ?? throw new InvalidOperationException(string.Join('\n', diagnostics));
    });

    public static string ImagePath => Path.Combine(CacheRoot, "images", Release, "boot", "vmlinuz-" + Release);

    public static string HeadersPath => "/usr/src/linux-headers-" + Release;

    public static KernelImage Image => LazyImage.Value;

    public static Task<PreparedKernel> PreparedAsync() => LazyPrepared.Value;

    private static string Newest()
    {
        string images = Path.Combine(CacheRoot, "images");
        var releases = Directory.Exists(images) ? Directory.GetDirectories(images).Select(path => Path.GetFileName(path)!) : [];
        return releases.Where(release => release.StartsWith("6.1.", StringComparison.Ordinal)).OrderBy(release => release, StringComparer.Ordinal).LastOrDefault()
            ?? throw new InvalidOperationException($"no kernel image in {images}: run build/setup");
    }
}
