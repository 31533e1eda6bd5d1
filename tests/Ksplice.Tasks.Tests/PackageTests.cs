// SPDX-License-Identifier: MIT
// The Sdk as others get it: packed, and taken from a feed by a project in an empty folder.
using System.Reflection.PortableExecutable;
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Tasks.Tests;

public sealed class PackageTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-package-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_project_in_an_empty_folder_builds_with_the_packed_Sdk()
    {
        string feed = Path.Combine(_folder, "feed"),
            project = Path.Combine(_folder, "project");
        await DotnetAsync(Repository.Root, "pack", "src/Ksplice.Tasks", "-c", "Release", "-o", feed);
        string version = Path.GetFileNameWithoutExtension(Assert.Single(Directory.GetFiles(feed, "*.nupkg")))["Ksplice.Sdk.".Length..];
        Directory.CreateDirectory(project);
        File.WriteAllText(
            Path.Combine(project, "nuget.config"),
            $"""
            <configuration>
              <config><add key="globalPackagesFolder" value="{_folder}/packages" /></config>
              <packageSources><clear /><add key="feed" value="{feed}" /></packageSources>
            </configuration>
            """
        );
        File.WriteAllText(
            Path.Combine(project, "fix.csproj"),
            $"""
            <Project Sdk="Ksplice.Sdk/{version}">
              <PropertyGroup>
                <KernelRelease>{Patches.Release}</KernelRelease>
              </PropertyGroup>
              <ItemGroup>
                <KernelPatch Include="*.patch" />
              </ItemGroup>
            </Project>
            """
        );
        File.WriteAllText(Path.Combine(project, "smaps.patch"), Patches.Smaps);
        await DotnetAsync(project, "build", "-nodeReuse:false");
        string package = Assert.Single(Directory.GetDirectories(Path.Combine(project, "bin", "Debug", Patches.Release)));
        Assert.Equal(4, Directory.GetFiles(package, "*.ko").Length);
        string tasks = Path.Combine(_folder, "packages", "ksplice.sdk", version, "tasks", "net10.0");
        Assert.All(["Ksplice.Build.dll", "Ksplice.Tasks.dll", "Iced.dll"], name =>
            Assert.True(IsReadyToRun(Path.Combine(tasks, name)), name)
        );
    }

    private static bool IsReadyToRun(string assembly)
    {
        using PEReader reader = new(File.OpenRead(assembly));
        return reader.PEHeaders.CorHeader is { ManagedNativeHeaderDirectory.Size: > 0 };
    }

    private static async Task DotnetAsync(string folder, params string[] arguments)
    {
        var result = await Cli.Wrap("dotnet")
            .WithArguments(arguments)
            .WithWorkingDirectory(folder)
            .WithEnvironmentVariables(variables =>
                variables.Set("MSBUILDDISABLENODEREUSE", "1").Set("DOTNET_CLI_TELEMETRY_OPTOUT", "1").Set("DOTNET_NOLOGO", "1")
            )
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        Assert.True(result.ExitCode == 0, result.StandardOutput + result.StandardError);
    }
}
