// SPDX-License-Identifier: MIT
// What an update goes on top of is stated whole, or the build ends.
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Tests.Generation;

public sealed class UpdateBaseTests : IDisposable
{
    private const string Release = "6.1.0-0-test",
        Lowest = "00000001",
        Lower = "00000002",
        Other = "00000003";
    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-base-");

    public void Dispose() => _work.Delete(recursive: true);

    private string Package(string id, string place, string release, string patch, params (string Id, string Patch)[] below)
    {
        Dictionary<string, ReadOnlyMemory<byte>> files = new(StringComparer.Ordinal)
        {
            [$"patches/01-{id}.patch"] = Encoding.UTF8.GetBytes(patch),
        };
        foreach (string module in (string[])["ksplice.ko", $"ksplice_{id}_0_helper.ko", $"ksplice_{id}_0_primary.ko"])
            files.Add(module, new byte[] { 1 });
        foreach (var (other, content) in below)
            files.Add($"base/{other}/01-{other}.patch", Encoding.UTF8.GetBytes(content));
        UpdateManifest manifest = new()
        {
            Format = UpdateManifest.CurrentFormat,
            Id = id,
            Name = "test",
            Kernel = new ManifestKernel(release, "Linux version " + release),
            Targets = [new ManifestTarget(UpdateTarget.KernelName, $"ksplice_{id}_0_helper.ko", $"ksplice_{id}_0_primary.ko", [])],
            Pinned = false,
            Base = [.. below.Select(part => new ManifestBase(part.Id, [$"base/{part.Id}/01-{part.Id}.patch"]))],
            Patches = [$"patches/01-{id}.patch"],
            Files = [],
            Tool = "test",
        };
        return UpdatePackage.Write(Path.Combine(_work.FullName, place), manifest, files).Folder;
    }

    private (string Path, string UpdateId) Patch(string name, string id, string content = "x")
    {
        string path = Path.Combine(_work.FullName, name);
        File.WriteAllText(path, content);
        return (path, id);
    }

    private static string[] Show(IReadOnlyList<UpdateBase>? bases) =>
        [
            .. bases!.Select(below =>
                below.Id
                + " "
                + string.Join(' ', below.Patches.Select(patch => $"{patch.Name}={Encoding.UTF8.GetString(patch.Content.Span)}"))
            ),
        ];

    private static string Refused(string rule, IReadOnlyList<string> packages, params (string, string)[] patches)
    {
        DiagnosticBag diagnostics = [];
        Assert.Null(UpdateBases.Resolve(Release, packages, patches, diagnostics));
        var error = Assert.Single(diagnostics);
        Assert.Equal(rule, error.Id);
        return error.Message;
    }

    [Fact]
    public void A_package_brings_what_it_stands_on_and_each_update_counts_once()
    {
        string upper = Package(Lower, "a", Release, "two", (Lowest, "one")),
            other = Package(Other, "a", Release, "three", (Lowest, "one"));
        foreach (string form in (string[])["", ".tar.zst"])
        {
            Assert.Equal(
                [
                    $"{Lowest} 01-{Lowest}.patch=one",
                    $"{Lower} 01-{Lower}.patch=two",
                    $"{Other} 01-{Other}.patch=three",
                    "0badcafe 01-a.patch=four 02-b.patch=five",
                ],
                Show(
                    UpdateBases.Resolve(
                        Release,
                        [upper + form, other + form],
                        [Patch("a.patch", "0badcafe", "four"), Patch("b.patch", "0badcafe", "five")],
                        []
                    )
                )
            );
        }
        Assert.Equal([upper + ".tar.zst"], UpdateBases.FilesOf(upper + ".tar.zst"));
        Assert.Contains(Path.Combine(upper, "manifest.json"), UpdateBases.FilesOf(upper));
        Assert.Empty(UpdateBases.Resolve(Release, [], [], [])!);
    }

    [Fact]
    public void A_patch_says_which_update_brought_it()
    {
        string message = Refused("KSP2024", [], Patch("a.patch", ""));
        Assert.Contains("KernelBasePatch a.patch has no UpdateId", message, StringComparison.Ordinal);
        Assert.Contains("<KernelBasePatch Include=\"a.patch\" UpdateId=\"0123abcd\" />", message, StringComparison.Ordinal);
        foreach (string id in (string[])["0123abc", "0123abcde", "0123ABCD", "ksplice-"])
            Assert.Contains($"has the UpdateId '{id}'", Refused("KSP2024", [], Patch("a.patch", id)), StringComparison.Ordinal);
    }

    [Fact]
    public void Patches_of_one_update_stand_together() =>
        Assert.Contains(
            $"c.patch is of update {Lower}, and stands behind patches of update {Lowest}",
            Refused("KSP2025", [], Patch("a.patch", Lower), Patch("b.patch", Lowest), Patch("c.patch", Lower)),
            StringComparison.Ordinal
        );

    [Fact]
    public void A_package_is_of_this_kernel() =>
        Assert.Contains(
            $"update {Lower} is for kernel 6.1.0-1-test, this project is for {Release}",
            Refused("KSP2026", [Package(Lower, "a", "6.1.0-1-test", "two")]),
            StringComparison.Ordinal
        );

    [Fact]
    public void Two_places_agree_about_an_update()
    {
        string upper = Package(Lower, "a", Release, "two", (Lowest, "one")),
            other = Package(Other, "a", Release, "three", (Lowest, "another"));
        Assert.Contains($"update {Lowest} has other patches", Refused("KSP2027", [upper, other]), StringComparison.Ordinal);
        Refused("KSP2027", [upper], Patch("a.patch", Lowest, "another"));
        Assert.Equal(2, UpdateBases.Resolve(Release, [upper], [Patch("a.patch", Lowest, "one")], [])!.Count);
    }

    [Fact]
    public void What_cannot_be_read_is_named()
    {
        Refused("KSP6011", [Path.Combine(_work.FullName, "none")]);
        Refused("KSP1010", [], (Path.Combine(_work.FullName, "none.patch"), Lower));
    }
}
