// SPDX-License-Identifier: MIT
namespace Ksplice.Tasks.Tests;

/// <summary>Patches for the kernel under test, from the samples or a change of one of their lines.</summary>
internal static class Patches
{
    public static string Smaps { get; } = File.ReadAllText(Repository.At("samples", "a-smaps-pages", "smaps-pages.patch"));

    public static string Kmsg { get; } = File.ReadAllText(Repository.At("samples", "c-kmsg-permission", "kmsg-permission.patch"));

    /// <summary>The kernel that tests build for.</summary>
    public static string Release => StockKernel.Release;

    public static string Image => StockKernel.Image;

    /// <summary>The kernel's source tree, prepared by an earlier build.</summary>
    public static async Task<string> SourceAsync() => (await KernelTree.PrepareAsync(Release)).SourceDirectory;

    /// <summary>A patch of one file of the kernel: the first place of <paramref name="old"/> becomes <paramref name="changed"/>.</summary>
    public static Task<string> ChangeAsync(string file, string old, string changed) =>
        KernelTree.ChangeAsync(Release, file, (old, changed));
}
