// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>The stock kernel that tests work on, opened and prepared once.</summary>
public static class KernelUnderTest
{
    public static string CacheRoot { get; } = KernelCache.DefaultRoot;

    public static string Release => StockKernel.Release;

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

    public static string ImagePath => StockKernel.Image;

    public static string HeadersPath => "/usr/src/linux-headers-" + Release;

    public static KernelConfiguration Configuration => KernelConfiguration.Read(Path.Combine(HeadersPath, ".config"));

    public static KernelImage Image => LazyImage.Value;

    public static Task<PreparedKernel> PreparedAsync() => LazyPrepared.Value;
}
