// SPDX-License-Identifier: MIT
// Folders with names that make and shells take for something else.
namespace Ksplice.Tasks.Tests;

public sealed class PathTests
{
    [Fact]
    public async Task A_project_is_built_in_a_folder_of_any_usual_name()
    {
        using PatchProject project = new(Patches.Release);
        string folder = project.At("a b$(c)%y&d's#e`f;g");
        Directory.CreateDirectory(folder);
        foreach (string file in Directory.GetFiles(project.Folder))
            File.Move(file, Path.Combine(folder, Path.GetFileName(file)));
        await File.WriteAllTextAsync(Path.Combine(folder, "smaps.patch"), Patches.Smaps, TestContext.Current.CancellationToken);
        string name = Path.Combine(Path.GetFileName(folder), "update.csproj");
        (await project.RunAsync(["build", name])).MustSucceed();
        string package = Assert.Single(Directory.GetDirectories(Path.Combine(folder, "bin", "Debug", Patches.Release)));
        Assert.Equal(4, Directory.GetFiles(package, "*.ko").Length);
        var second = new BuildLog((await project.RunAsync(["build", name])).MustSucceed());
        Assert.Equal(IncrementalTests.AlwaysRun.Order(), second.Ran.Order());
    }

    [Theory]
    [InlineData("a=b")]
    [InlineData("a,b")]
    public async Task A_folder_that_the_compiler_does_not_take_is_refused(string folder)
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        string error = (
            await project.BuildAsync(
                $"-p:KspliceIntermediatePath={project.Folder}/{folder.Replace(",", "%2C", StringComparison.Ordinal)}/",
                "-t:KspliceConfigure"
            )
        ).MustFailWith("KSP2054");
        Assert.Contains($"the compiler cannot take '{folder[1]}' in a path", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cache_that_kbuild_does_not_take_is_refused_before_anything_is_written_there()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        foreach (char letter in " $()%&'#`")
        {
            string cache = project.At($"cache{letter}x");
            // MSBuild's own way to say these letters.
            string said = $"{project.Folder}/cache%{(int)letter:x2}x";
            string error = (await project.BuildAsync($"-p:KernelCache={said}", "-t:KspliceResolveKernel")).MustFailWith("KSP2054");
            Assert.Contains($"'{cache}'", error, StringComparison.Ordinal);
            Assert.False(Directory.Exists(cache));
        }
    }
}
