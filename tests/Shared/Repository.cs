// SPDX-License-Identifier: MIT
// Where things are in the clone that these tests were built from.
namespace Ksplice.Tests;

internal static class Repository
{
    public static string Root { get; } = Find();

    /// <summary>The command as build/test publishes it.</summary>
    public static string Command => Path.Combine(Root, "artifacts", "publish", "Ksplice.Cli", "release_linux-x64", "ksplice");

    public static string At(params string[] parts) => Path.Combine([Root, .. parts]);

    private static string Find()
    {
        for (var folder = AppContext.BaseDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
            if (File.Exists(Path.Combine(folder, "Ksplice.sln")))
                return folder;
        throw new DirectoryNotFoundException($"Ksplice.sln is not above {AppContext.BaseDirectory}");
    }
}
