// SPDX-License-Identifier: MIT
// Where a build puts what it makes, and that it deletes nothing else: copied projects, several in one folder, builds at once, folders
// that the caller names.
using System.Globalization;

namespace Ksplice.Tasks.Tests;

public sealed class OutputTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("ksplice-output-");

    public void Dispose() => _folder.Delete(recursive: true);

    private static PatchProject Smaps()
    {
        PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        return project;
    }

    private string At(params string[] path) => Path.Combine([_folder.FullName, .. path]);

    private static void Copy(string from, string to) => Assert.Equal(0, Programs.Run("cp", ["-a", from, to]).ExitCode);

    private static string PackageIn(string folder) =>
        Assert.Single(Directory.GetDirectories(Path.Combine(folder, Patches.Release), "ksplice-????????"));

    [Fact]
    public async Task A_copied_project_leaves_the_original_alone_and_takes_nothing_from_it()
    {
        using var project = Smaps();
        (await project.BuildAsync()).MustSucceed();
        using PatchProject copy = new(Patches.Release);
        foreach (string name in (string[])["bin", "obj", "smaps.patch"])
            Copy(project.At(name), copy.At(name));
        string package = project.Package;
        (await copy.BuildAsync("-t:Clean")).MustSucceed();
        Assert.True(File.Exists(Path.Combine(package, "manifest.json")));
        Assert.Empty(Directory.GetDirectories(copy.At("bin"), "ksplice-????????", SearchOption.AllDirectories));

        Copy(project.At("bin/."), copy.At("bin"));
        Copy(project.At("obj/."), copy.At("obj"));
        copy.Write("smaps.patch", Patches.Smaps.Replace("Pages: ", "Pages2:", StringComparison.Ordinal));
        (await copy.BuildAsync()).MustSucceed();
        Assert.NotEqual(project.Id, copy.Id);
        Assert.True(File.Exists(Path.Combine(package, "manifest.json")));
        string[] named =
        [
            .. Directory
                .GetFiles(copy.At("obj"), "*.json", SearchOption.AllDirectories)
                .Where(file => Path.GetDirectoryName(file)!.EndsWith("records", StringComparison.Ordinal)),
        ];
        Assert.NotEmpty(named);
        Assert.All(named, file => Assert.DoesNotContain(project.Folder + "/", File.ReadAllText(file), StringComparison.Ordinal));
    }

    [Fact]
    public async Task Two_projects_in_one_folder_keep_apart()
    {
        using var project = Smaps();
        project.Write("pages.patch", Patches.Smaps.Replace("Pages: ", "Pages2:", StringComparison.Ordinal));
        string text = await File.ReadAllTextAsync(project.At("update.csproj"), TestContext.Current.CancellationToken);
        project.Write("other.csproj", text.Replace("*.patch", "pages.patch", StringComparison.Ordinal));
        project.Write("update.csproj", text.Replace("*.patch", "smaps.patch", StringComparison.Ordinal));
        (await project.BuildAsync("update.csproj")).MustSucceed();
        string first = project.Package;
        (await project.BuildAsync("other.csproj")).MustSucceed();
        Assert.Equal(2, Directory.GetDirectories(project.At("bin"), "ksplice-????????", SearchOption.AllDirectories).Length);
        Assert.Equal(
            IncrementalTests.AlwaysRun.Order(),
            new BuildLog((await project.BuildAsync("update.csproj")).MustSucceed()).Ran.Order()
        );
        (await project.BuildAsync("other.csproj", "-t:Clean")).MustSucceed();
        Assert.Equal(first, project.Package);
    }

    [Fact]
    public async Task Builds_of_one_project_at_once_take_turns()
    {
        using var project = Smaps();
        var results = await System.Threading.Tasks.Task.WhenAll(Enumerable.Range(0, 3).Select(_ => project.BuildAsync()));
        Assert.All(results, result => result.MustSucceed());
        Assert.Contains(results, result => result.Output.Contains("waiting for another build of this project", StringComparison.Ordinal));
        Assert.Equal(IncrementalTests.AlwaysRun.Order(), new BuildLog((await project.BuildAsync()).MustSucceed()).Ran.Order());
    }

    [Theory]
    [InlineData("-o {0}/given", "given")]
    [InlineData("-p:OutputPath={0}/absolute/", "absolute")]
    [InlineData("-p:OutputPath={0}/bare", "bare")]
    [InlineData("-p:OutputPath=../relative", "relative")]
    public async Task The_package_is_where_the_caller_wants_it(string argument, string folder)
    {
        using var project = Smaps();
        string wanted = folder == "relative" ? Path.Combine(Path.GetDirectoryName(project.Folder)!, folder) : At(folder);
        try
        {
            (await project.BuildAsync()).MustSucceed();
            string usual = project.Package;
            string[] arguments = string.Format(CultureInfo.InvariantCulture, argument, _folder.FullName).Split(' ');
            (await project.BuildAsync(arguments)).MustSucceed();
            Assert.Equal(Path.GetFileName(usual), Path.GetFileName(PackageIn(wanted)));
            Assert.True(File.Exists(PackageIn(wanted) + ".html"));
            Assert.True(Directory.Exists(usual));
            Assert.Equal(IncrementalTests.AlwaysRun.Order(), new BuildLog((await project.BuildAsync(arguments)).MustSucceed()).Ran.Order());
        }
        finally
        {
            if (Directory.Exists(wanted))
                Directory.Delete(wanted, recursive: true);
        }
    }

    [Fact]
    public async Task The_artifacts_layout_of_NET_holds()
    {
        using var project = Smaps();
        project.Write(
            "Directory.Build.props",
            "<Project><PropertyGroup><UseArtifactsOutput>true</UseArtifactsOutput></PropertyGroup></Project>"
        );
        (await project.BuildAsync()).MustSucceed();
        Assert.True(File.Exists(PackageIn(project.At("artifacts/bin/update/debug")) + ".tar.zst"));
        Assert.False(Directory.Exists(project.At("obj/Debug")));
        (await project.BuildAsync("-t:Clean")).MustSucceed();
        Assert.Empty(Directory.GetFiles(project.At("artifacts/bin"), "*", SearchOption.AllDirectories));
    }

    [Fact]
    public async Task Where_warnings_are_errors_there_is_no_package_at_any_build()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("kmsg.patch", Patches.Kmsg);
        Assert.Contains("warning KSP5014", (await project.BuildAsync()).MustSucceed().Output, StringComparison.Ordinal);
        (await project.BuildAsync("-t:Clean")).MustSucceed();
        for (int i = 0; i < 2; i++)
        {
            (await project.BuildAsync("-warnaserror")).MustFailWith("KSP5014");
            Assert.False(
                Directory.Exists(project.At("bin"))
                    && Directory.GetDirectories(project.At("bin"), "ksplice-????????", SearchOption.AllDirectories).Length != 0
            );
        }
    }
}
