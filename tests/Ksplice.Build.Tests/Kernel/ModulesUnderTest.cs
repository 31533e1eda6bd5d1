// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>The modules of the stock kernel.</summary>
public static class ModulesUnderTest
{
    public static async Task<ShippedModules> AllAsync() => new((await KernelUnderTest.PreparedAsync()).Release);

    public static async Task<LoadedModule> LoadAsync(string name)
    {
        var modules = await AllAsync();
        DiagnosticBag diagnostics = [];
        var loaded = modules.Open(name, diagnostics) is { } file
            ? LoadedModule.Load(file, modules, KernelUnderTest.Image, diagnostics)
            : null;
        return loaded ?? throw new InvalidOperationException(string.Join('\n', diagnostics));
    }

    /// <summary>The bytes of a shipped module, unpacked.</summary>
    public static byte[] Read(string name)
    {
        byte[] bytes = File.ReadAllBytes(Directory.GetFiles(Folder, name + ".ko*", SearchOption.AllDirectories).Single());
        return bytes.AsSpan().StartsWith("\u007fELF"u8) ? bytes : KernelPayload.Decompress(bytes);
    }

    public static string Folder =>
        Path.Combine(KernelUnderTest.CacheRoot, "images", KernelUnderTest.Release, "lib/modules", KernelUnderTest.Release);
}
