// SPDX-License-Identifier: MIT
// What .NET's other commands make of a patch project: publishing, packing, references to it, solutions that mix code and patches.
using System.IO.Compression;

namespace Ksplice.Tasks.Tests;

public sealed class HandOnTests
{
    [Fact]
    public async Task Publishing_packing_and_a_reference_in_a_solution_take_the_archive()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        Directory.CreateDirectory(project.At("app"));
        project.Write("app/Code.cs", "public static class Code { }");
        project.Write(
            "app/app.csproj",
            """
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup><TargetFramework>net10.0</TargetFramework></PropertyGroup>
              <ItemGroup><ProjectReference Include="../update.csproj" /></ItemGroup>
            </Project>
            """
        );
        project.Write("all.slnx", "<Solution><Project Path=\"update.csproj\" /><Project Path=\"app/app.csproj\" /></Solution>");

        // Before anything was built.
        (await project.RunAsync(["restore", "all.slnx"])).MustSucceed();
        string none = (await project.RunAsync(["publish", "update.csproj", "-c", "Debug", "--no-build"])).MustFailWith("KSP2050");
        Assert.Contains("no update was built", none, StringComparison.Ordinal);

        (await project.BuildAsync("all.slnx")).MustSucceed();
        string archive = project.Package + ".tar.zst",
            name = Path.GetFileName(archive);
        byte[] wanted = await File.ReadAllBytesAsync(archive, TestContext.Current.CancellationToken);
        Assert.Equal(
            wanted,
            await File.ReadAllBytesAsync(project.At($"app/bin/Debug/net10.0/{name}"), TestContext.Current.CancellationToken)
        );
        // The project itself has it where it is, and makes no assembly.
        Assert.Equal([archive], Directory.GetFiles(project.At("bin"), "*.zst", SearchOption.AllDirectories));
        Assert.Empty(Directory.GetFiles(project.Folder, "update.dll", SearchOption.AllDirectories));

        (await project.RunAsync(["publish", "all.slnx", "-c", "Debug"])).MustSucceed();
        Assert.Equal([project.At($"bin/Debug/publish/{name}")], Directory.GetFiles(project.At("bin/Debug/publish")));
        Assert.Equal(
            wanted,
            await File.ReadAllBytesAsync(project.At($"app/bin/Debug/net10.0/publish/{name}"), TestContext.Current.CancellationToken)
        );

        (await project.RunAsync(["pack", "update.csproj", "-c", "Debug", "--no-build", "-p:UpdateVersion=1.2.3"])).MustSucceed();
        using (var package = await ZipFile.OpenReadAsync(project.At("bin/Debug/update.1.2.3.nupkg"), TestContext.Current.CancellationToken))
        {
            var entry = Assert.Single(package.Entries, entry => entry.FullName.EndsWith(".zst", StringComparison.Ordinal));
            Assert.Equal($"contentFiles/any/any/{name}", entry.FullName);
            Assert.DoesNotContain(package.Entries, entry => entry.FullName.StartsWith("lib/", StringComparison.Ordinal));
        }
        File.Delete(archive);
        (await project.RunAsync(["pack", "update.csproj", "-c", "Debug", "--no-build"])).MustFailWith("KSP2050");
    }

    [Fact]
    public async Task Editors_see_patches_and_what_is_up_to_date()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        string[] items = ["UpToDateCheckInput", "UpToDateCheckOutput", "Watch", "None"];
        var asked = (await project.RunAsync(["msbuild", "update.csproj", .. items.Select(item => $"-getItem:{item}")])).MustSucceed();
        using var answer = System.Text.Json.JsonDocument.Parse(asked.Output);
        string[] Names(string item) =>
            [
                .. answer
                    .RootElement.GetProperty("Items")
                    .GetProperty(item)
                    .EnumerateArray()
                    .Select(found => found.GetProperty("FullPath").GetString()!),
            ];
        foreach (string item in (string[])["UpToDateCheckInput", "Watch", "None"])
            Assert.Contains(project.At("smaps.patch"), Names(item));
        string output = Assert.Single(Names("UpToDateCheckOutput"));

        // A design-time build builds nothing.
        (await project.BuildAsync("-t:Compile", "-p:DesignTimeBuild=true")).MustSucceed();
        Assert.False(File.Exists(output));
        var first = (await project.BuildAsync()).MustSucceed();
        var built = File.GetLastWriteTimeUtc(output);
        var second = (await project.BuildAsync()).MustSucceed();
        Assert.True(File.GetLastWriteTimeUtc(output) > built);
        // Package, summary and report are named when nothing was to do too.
        foreach (var result in (BuildResult[])[first, second])
        {
            Assert.Contains($"update -> {project.Package}", result.Output, StringComparison.Ordinal);
            Assert.Contains($"1 function replaced, 0 new functions", result.Output, StringComparison.Ordinal);
            Assert.Contains($"report: {project.Package}.html", result.Output, StringComparison.Ordinal);
        }
        // The command lines are in the binary log, and on no terminal.
        BuildLog log = new(first);
        Assert.Contains(log.Messages("run: gcc-12 "), command => command.Contains("task_mmu.c", StringComparison.Ordinal));
        Assert.NotEmpty(log.Messages("run: make -C "));
        Assert.Contains(log.Messages("run: "), command => command.Contains("/objtool ", StringComparison.Ordinal));
        Assert.DoesNotContain("run: ", first.Output, StringComparison.Ordinal);
        (await project.BuildAsync("-t:Clean")).MustSucceed();
        Assert.False(File.Exists(output));
    }
}
