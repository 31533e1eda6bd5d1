// SPDX-License-Identifier: MIT
using Ksplice.Build.Kernel;

namespace Ksplice.Tests;

/// <summary>The stock kernel that tests work on: $KSPLICE_RELEASE, else the newest of 6.1 that build/setup unpacked.</summary>
internal static class StockKernel
{
    private static readonly string Images = Path.Combine(KernelCache.DefaultRoot, "images");

    /// <summary>Its release; empty if there is none.</summary>
    public static string Release { get; } =
        Environment.GetEnvironmentVariable("KSPLICE_RELEASE") is { Length: > 0 } named ? named : Newest();

    /// <summary>Its unpacked package: boot/ and lib/modules/.</summary>
    public static string Folder => Path.Combine(Images, Release);

    /// <summary>Its image.</summary>
    public static string Image => Path.Combine(Folder, "boot", "vmlinuz-" + Release);

    private static string Newest() =>
        !Directory.Exists(Images)
            ? ""
            : Directory
                .GetDirectories(Images, "6.1.*-cloud-amd64")
                .Select(path => Path.GetFileName(path)!)
                .Order(StringComparer.Ordinal)
                .LastOrDefault()
                ?? "";
}
