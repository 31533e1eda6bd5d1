// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Kernel.Tests.Updates;

/// <summary>A module that shows what user space cannot, built from a folder of this project.</summary>
internal static class TestModule
{
    private static readonly ConcurrentDictionary<(string Name, string Release), Lazy<Task<GuestFile>>> Built = new();

    /// <summary>Builds tests/Ksplice.Kernel.Tests/NAME, once for all tests; the guest has it as /NAME.ko.</summary>
    public static Task<GuestFile> BuildAsync(string name, string release, params string[] headers) =>
        Built.GetOrAdd((name, release), _ => new(() => BuildNowAsync(name, release, headers))).Value;

    private static async Task<GuestFile> BuildNowAsync(string name, string release, string[] headers)
    {
        string folder = Directory.CreateTempSubdirectory($"ksplice-{name}-").FullName;
        foreach (string file in Directory.GetFiles(Repository.At("tests", "Ksplice.Kernel.Tests", name)).Concat(headers))
            File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
        await MakeAsync(folder, release);
        return new GuestFile(Path.Combine(folder, name + ".ko"), $"/{name}.ko");
    }

    /// <summary>Builds the core, once for all tests; the guest has it as /ksplice.ko.</summary>
    public static Task<GuestFile> BuildCoreAsync(string release, params string[] arguments) =>
        Built.GetOrAdd((string.Join(' ', ["ksplice", .. arguments]), release), _ => new(() => BuildCoreNowAsync(release, arguments))).Value;

    private static async Task<GuestFile> BuildCoreNowAsync(string release, string[] arguments)
    {
        string folder = Directory.CreateTempSubdirectory("ksplice-core-").FullName;
        CopyCore(folder);
        await MakeAsync(folder, release, arguments);
        return new GuestFile(Path.Combine(folder, "ksplice.ko"), "/ksplice.ko");
    }

    /// <summary>Copies the core's sources to a folder.</summary>
    public static void CopyCore(string folder)
    {
        foreach (string part in (string[])["core", "include/ksplice", "match"])
        {
            string to = Directory.CreateDirectory(Path.Combine(folder, part)).FullName;
            foreach (string file in Directory.GetFiles(Repository.At("src", "Ksplice.Kernel", part)))
                File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        }
        File.Copy(Repository.At("src/Ksplice.Kernel/Kbuild"), Path.Combine(folder, "Kbuild"));
    }

    /// <summary>The headers of a release. Those that depend on their image's package are unpacked beside the image.</summary>
    public static string Headers(string release)
    {
        string installed = "/usr/src/linux-headers-" + release;
        return Directory.Exists(installed) ? installed : Path.Combine(Build.Kernel.KernelCache.DefaultRoot, "images", release) + installed;
    }

    /// <summary>Builds the modules in a folder for a release.</summary>
    public static async Task MakeAsync(string folder, string release, params string[] arguments)
    {
        var made = await Cli.Wrap("make")
            .WithArguments(["-C", Headers(release), "M=" + folder, "-j2", "modules", .. arguments])
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        Assert.True(made.ExitCode == 0, made.StandardError);
    }
}
