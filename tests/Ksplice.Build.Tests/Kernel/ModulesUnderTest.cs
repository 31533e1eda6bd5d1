using Ksplice.Build.Kernel;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>The modules of the stock kernel.</summary>
public static class ModulesUnderTest
{
    public static async Task<ShippedModules> AllAsync() => new((await KernelUnderTest.PreparedAsync()).Release);

    public static string Folder => Path.Combine(KernelUnderTest.CacheRoot, "images", KernelUnderTest.Release, "lib/modules", KernelUnderTest.Release);
}
