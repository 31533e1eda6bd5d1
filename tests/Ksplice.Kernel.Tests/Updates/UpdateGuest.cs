// SPDX-License-Identifier: MIT
using System.Text.Json;
using CliWrap;

namespace Ksplice.Kernel.Tests.Updates;

/// <summary>Guests with the command and packages in them.</summary>
internal static class UpdateGuest
{
    public static GuestFile Command { get; } = new(Repository.Command, "/bin/ksplice");

    /// <summary>Where a guest has a package.</summary>
    public static string Place(PatchProject project) => "/root/" + Path.GetFileName(project.Package);

    public static GuestFile Package(PatchProject project) => new(project.Package, Place(project));

    /// <summary>A module of the kernel, at /NAME.ko.</summary>
    public static GuestFile Module(string release, string path, string extension = ".ko") =>
        new(
            Path.Combine(Build.Kernel.KernelCache.DefaultRoot, "images", release, "lib/modules", release, "kernel", path + extension),
            "/" + Path.GetFileName(path) + extension
        );

    /// <summary>Compiles one of this project's C programs, for a guest's /bin.</summary>
    public static async Task<GuestFile> ProgramAsync(string source)
    {
        string program = Path.Combine(
            Directory.CreateTempSubdirectory("ksplice-program-").FullName,
            Path.GetFileNameWithoutExtension(source)
        );
        await Cli.Wrap("gcc")
            .WithArguments(["-static", "-O1", Repository.At("tests/Ksplice.Kernel.Tests", source), "-o", program])
            .ExecuteAsync(TestContext.Current.CancellationToken);
        return new GuestFile(program, "/bin/" + Path.GetFileName(program));
    }

    /// <summary>The replaced functions that the manifest names.</summary>
    public static string[] Replaced(PatchProject project)
    {
        using var manifest = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(project.Package, "manifest.json")));
        return
        [
            .. manifest
                .RootElement.GetProperty("targets")[0]
                .GetProperty("functions")
                .EnumerateArray()
                .Select(function => function.GetProperty("name").GetString()!)
                .Order(StringComparer.Ordinal),
        ];
    }

    /// <summary>What of the new code's needs the helper resolves, from the build's report.</summary>
    public static string MatchReport(PatchProject project) =>
        File.ReadAllText(
            Assert.Single(Directory.GetFiles(project.At("obj"), "match.txt", SearchOption.AllDirectories), report =>
                report.Contains(Path.GetFileName(Path.GetDirectoryName(project.Package)!), StringComparison.Ordinal)
            )
        );
}
