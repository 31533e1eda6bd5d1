// SPDX-License-Identifier: MIT
// The packages as others get them: all made by one `dotnet pack` in the root, and taken from a feed in an empty folder. The folder has its
// own packages and its own home of dotnet, so nothing of this machine is used but the packages of others that it has at hand.
using System.IO.Compression;
using System.Reflection.PortableExecutable;
using System.Xml.Linq;
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Tasks.Tests;

public sealed class PackageTests : IDisposable
{
    private static readonly string[] s_packages = ["Ksplice.Build", "Ksplice.Cli", "Ksplice.Sdk", "Ksplice.Templates"];

    private readonly string _folder = Directory.CreateTempSubdirectory("ksplice-package-").FullName;

    private string Feed => At("feed");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task What_pack_makes_in_the_root_is_all_that_a_user_needs_in_an_empty_folder()
    {
        await DotnetAsync(Repository.Root, "pack", "-o", Feed, "-v", "quiet", "-nodeReuse:false");
        string version = Assert.Single(s_packages.Select(Check).Distinct());
        Assert.Equal(
            s_packages,
            Directory.GetFiles(Feed, "*.nupkg").Select(file => Path.GetFileName(file)[..^$".{version}.nupkg".Length]).Order()
        );
        Assert.Equal(
            ["Ksplice.Build", "Ksplice.Cli"],
            Directory.GetFiles(Feed, "*.snupkg").Select(file => Path.GetFileName(file)[..^$".{version}.snupkg".Length]).Order()
        );
        string others = Environment.GetEnvironmentVariable("NUGET_PACKAGES") is { Length: > 0 } named
            ? named
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        Write(
            "nuget.config",
            $"""
            <configuration>
              <packageSources><clear /><add key="feed" value="{Feed}" /></packageSources>
              <fallbackPackageFolders><clear /><add key="others" value="{others}" /></fallbackPackageFolders>
            </configuration>
            """
        );
        await DotnetAsync(_folder, "new", "install", Path.Combine(Feed, $"Ksplice.Templates.{version}.nupkg"));

        // Rules, and a project that is judged by them.
        await DotnetAsync(_folder, "new", "ksplice-analyzer", "--name", "House.Rules", "--rule", "HOUSE7");
        await DotnetAsync(_folder, "new", "ksplice-update", "--name", "fix", "--release", Patches.Release, "--advisory", "CVE-2022-0847");
        string project = await File.ReadAllTextAsync(At("fix/fix.csproj"), TestContext.Current.CancellationToken);
        Assert.Contains($"<Project Sdk=\"Ksplice.Sdk/{version}\">", project, StringComparison.Ordinal);
        Write(
            "fix/fix.csproj",
            project.Replace(
                "  </ItemGroup>",
                """
                    <ProjectReference
                        Include="../House.Rules/House.Rules.csproj"
                        ReferenceOutputAssembly="false"
                        OutputItemType="KspliceAnalyzer" />
                  </ItemGroup>
                """,
                StringComparison.Ordinal
            )
        );
        Write("fix/smaps.patch", Patches.Smaps.Replace("+\tseq_printf(m, ", "+\tpr_info_once(", StringComparison.Ordinal));
        string built = await DotnetAsync(At("fix"), "build", "-nodeReuse:false", "-tl:off");
        Assert.Contains("warning HOUSE7: show_smap calls _printk 1 times, 0 before the patch", built, StringComparison.Ordinal);
        string package = Assert.Single(Directory.GetDirectories(At($"fix/bin/Debug/{Patches.Release}")));
        Assert.EndsWith("-1.0.0", package, StringComparison.Ordinal);
        string tasks = At($"packages/ksplice.sdk/{version}/tasks/net10.0");
        Assert.All(["Ksplice.Build", "Ksplice.Tasks", "Iced"], name => Assert.True(IsReadyToRun(Path.Combine(tasks, name + ".dll")), name));
        Assert.All(["Ksplice.Build", "Ksplice.Tasks"], name => Assert.True(File.Exists(Path.Combine(tasks, name + ".pdb")), name));

        // The command.
        await DotnetAsync(_folder, "tool", "install", "Ksplice.Cli", "--tool-path", At("tools"));
        string[] objects =
        [
            .. ((string[])["pre", "post"]).Select(side =>
                Assert.Single(Directory.GetFiles(At("fix/obj"), $"task_mmu.{side}.o", SearchOption.AllDirectories))
            ),
        ];
        Assert.Contains("show_smap", await RunAsync(At("tools/ksplice"), _folder, ["diff", .. objects]), StringComparison.Ordinal);
        Assert.Contains(
            "CVE-2022-0847",
            await RunAsync(At("tools/ksplice"), _folder, ["info", package + ".tar.zst"]),
            StringComparison.Ordinal
        );

        // The engine: the program of its README.
        string[] lines = await File.ReadAllLinesAsync(
            Repository.At("src", "Ksplice.Build", "README.md"),
            TestContext.Current.CancellationToken
        );
        Write(
            "console/console.csproj",
            $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
              </PropertyGroup>
              <ItemGroup><PackageReference Include="Ksplice.Build" Version="{version}" /></ItemGroup>
            </Project>
            """
        );
        Write("console/Program.cs", string.Join('\n', lines.Where(line => line.StartsWith("    ", StringComparison.Ordinal))));
        string said = await DotnetAsync(_folder, ["run", "--project", "console", "--", .. objects]);
        Assert.StartsWith("show_smap: ", said, StringComparison.Ordinal);
    }

    // Says its version.
    private string Check(string id)
    {
        using ZipArchive package = ZipFile.OpenRead(Assert.Single(Directory.GetFiles(Feed, id + ".?.*.nupkg")));
        using var text = package.GetEntry(id + ".nuspec")!.Open();
        var metadata = XDocument.Load(text).Root!.Elements().Single();
        string Value(string name) => metadata.Elements().SingleOrDefault(element => element.Name.LocalName == name)?.Value ?? "";
        Assert.NotNull(package.GetEntry(Value("readme")));
        Assert.NotNull(package.GetEntry(Value("icon")));
        Assert.Equal(id == "Ksplice.Sdk" ? "MIT AND GPL-2.0-only" : "MIT", Value("license"));
        Assert.Equal("The Ksplice for .NET developers", Value("authors"));
        Assert.NotEqual("Package Description", Value("description"));
        Assert.Contains("livepatch", Value("tags"), StringComparison.Ordinal);
        // The files of others go by their own packages.
        if (id == "Ksplice.Build")
        {
            Assert.Equal(
                ["Ksplice.Build.dll", "Ksplice.Build.xml"],
                package
                    .Entries.Where(entry => entry.FullName.StartsWith("lib/net10.0/", StringComparison.Ordinal))
                    .Select(entry => entry.Name)
            );
            string[] dependencies = [.. metadata.Descendants().Attributes("id").Select(attribute => attribute.Value)];
            Assert.Contains("Iced", dependencies);
            Assert.Contains("ELFSharp", dependencies);
            Assert.DoesNotContain("Microsoft.CodeAnalysis.PublicApiAnalyzers", dependencies);
        }
        return Value("version");
    }

    private string At(string path) => Path.Combine(_folder, path);

    private void Write(string path, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(At(path))!);
        File.WriteAllText(At(path), text);
    }

    private static bool IsReadyToRun(string assembly)
    {
        using PEReader reader = new(File.OpenRead(assembly));
        return reader.PEHeaders.CorHeader is { ManagedNativeHeaderDirectory.Size: > 0 };
    }

    private Task<string> DotnetAsync(string folder, params string[] arguments) => RunAsync("dotnet", folder, arguments);

    // The clone has its own packages and home.
    private async Task<string> RunAsync(string program, string folder, string[] arguments)
    {
        var result = await Cli.Wrap(program)
            .WithArguments(arguments)
            .WithWorkingDirectory(folder)
            .WithEnvironmentVariables(variables =>
            {
                variables.Set("MSBUILDDISABLENODEREUSE", "1").Set("DOTNET_CLI_TELEMETRY_OPTOUT", "1").Set("DOTNET_NOLOGO", "1");
                if (folder != Repository.Root)
                    variables.Set("NUGET_PACKAGES", At("packages")).Set("DOTNET_CLI_HOME", At("home"));
            })
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        string output = result.StandardOutput + result.StandardError;
        Assert.True(result.ExitCode == 0, $"{program} {string.Join(' ', arguments)}\n{output}");
        return output;
    }
}
