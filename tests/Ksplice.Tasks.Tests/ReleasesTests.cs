// SPDX-License-Identifier: MIT
// A project for several kernels.
using System.Formats.Tar;

namespace Ksplice.Tasks.Tests;

public sealed class ReleasesTests
{
    [Fact]
    public async Task A_project_for_two_kernels_builds_an_update_for_each_and_one_archive()
    {
        string[] releases = [Patches.Release, await NewerSeries.ReleaseAsync()];
        using PatchProject project = new("", ("KernelReleases", string.Join(';', releases)));
        project.Write("smaps.patch", Patches.Smaps);
        var built = (await project.BuildAsync("-m")).MustSucceed();
        string set = project.At("bin/Debug/ksplice-update.tar");
        List<string> names = [];
        using (TarReader tar = new(File.OpenRead(set)))
        {
            while (await tar.GetNextEntryAsync(cancellationToken: TestContext.Current.CancellationToken) is { } entry)
                names.Add(entry.Name);
        }
        List<string> wanted = [];
        foreach (string release in releases.Order(StringComparer.Ordinal))
        {
            string package = Assert.Single(Directory.GetDirectories(project.At($"bin/Debug/{release}")));
            wanted.Add($"{release}/{Path.GetFileName(package)}.tar.zst");
            Assert.Matches($"(?m)^ +{System.Text.RegularExpressions.Regex.Escape(release)} +{Path.GetFileName(package)}", built.Output);
        }
        Assert.Equal([.. wanted, "updates.txt"], names);
        var time = File.GetLastWriteTimeUtc(set);
        var again = new BuildLog((await project.BuildAsync("-m")).MustSucceed());
        Assert.Empty(again.Compiled);
        Assert.Equal(time, File.GetLastWriteTimeUtc(set));

        // One that is named twice is built once.
        string named = string.Join(';', releases);
        Rename(project, named, named + ";" + releases[0]);
        (await project.BuildAsync("-m")).MustSucceed();
        Assert.Equal(time, File.GetLastWriteTimeUtc(set));

        // One that there is no kernel of.
        Rename(project, named, $"{releases[0]};6.1.0-0-none");
        (await project.BuildAsync("-m")).MustFailWith("KSP2055");
        Assert.False(File.Exists(set));
    }

    [Fact]
    public async Task KSP2022_a_list_of_kernels_that_names_none()
    {
        using PatchProject project = new("", ("KernelReleases", " ; "));
        project.Write("smaps.patch", Patches.Smaps);
        (await project.BuildAsync()).MustFailWith("KSP2022");
    }

    private static void Rename(PatchProject project, string old, string now)
    {
        string text = File.ReadAllText(project.At("update.csproj"));
        Assert.Contains(old, text, StringComparison.Ordinal);
        project.Write("update.csproj", text.Replace(old, now, StringComparison.Ordinal));
    }
}
