using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>The stock kernel that tests work on: $KSPLICE_RELEASE, else the newest one that build/setup unpacked.</summary>
public static class KernelUnderTest
{
    private static readonly Lazy<KernelImage> LazyImage = new(() =>
    {
        var diagnostics = new DiagnosticBag();
        return KernelImage.Open(ImagePath, diagnostics) ?? throw new InvalidOperationException(string.Join('\n', diagnostics));
    });

    public static string CacheRoot { get; } = KernelCache.DefaultRoot;

    public static string Release { get; } = Environment.GetEnvironmentVariable("KSPLICE_RELEASE") is { Length: > 0 } named ? named : Newest();

    public static string ImagePath => Path.Combine(CacheRoot, "images", Release, "boot", "vmlinuz-" + Release);

    public static string HeadersPath => "/usr/src/linux-headers-" + Release;

    public static KernelImage Image => LazyImage.Value;

    private static string Newest()
    {
        string images = Path.Combine(CacheRoot, "images");
        var releases = Directory.Exists(images) ? Directory.GetDirectories(images).Select(path => Path.GetFileName(path)!) : [];
        return releases.Where(release => release.StartsWith("6.1.", StringComparison.Ordinal)).OrderBy(release => release, StringComparer.Ordinal).LastOrDefault()
            ?? throw new InvalidOperationException($"no kernel image in {images}: run build/setup");
    }
}
