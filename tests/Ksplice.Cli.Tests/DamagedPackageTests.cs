// A package that is not exactly what was built is refused before the kernel sees a byte of it.
using Ksplice.Cli.Packages;

namespace Ksplice.Cli.Tests;

public sealed class DamagedPackageTests : IDisposable
{
    private readonly TestPackage _package = new();

    public void Dispose() => _package.Dispose();

    [Fact]
    public void Refuses_a_module_that_differs_in_one_bit()
    {
        var path = Path.Combine(_package.Folder, TestPackage.Primary + ".ko");
        var bytes = File.ReadAllBytes(path);
        bytes[3] ^= 1;
        File.WriteAllBytes(path, bytes);
        Refuse(_package.Folder, $"{TestPackage.Primary}.ko is not what the manifest says");
        Refuse(_package.Archive(), $"{TestPackage.Primary}.ko is not what the manifest says");
    }

    [Fact]
    public void Refuses_a_missing_file()
    {
        File.Delete(Path.Combine(_package.Folder, "patches/one.patch"));
        Refuse(_package.Folder, "patches/one.patch is missing");
    }

    [Fact]
    public void Refuses_a_manifest_that_leaves_out_a_module()
    {
        _package.Manifest["files"]!.AsArray().RemoveAt(1);
        _package.WriteManifest();
        Refuse(_package.Folder, $"does not list {TestPackage.Helper}.ko");
    }

    [Theory]
    [InlineData("../../etc")]
    [InlineData("0123ABCD")]
    [InlineData("")]
    public void Refuses_an_id_that_is_none(string id)
    {
        _package.Manifest["id"] = id;
        _package.WriteManifest();
        Refuse(_package.Folder, "names no update");
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{")]
    [InlineData("{\"id\": 7}")]
    [InlineData("{\"id\": \"0123abcd\"}")]
    public void Refuses_a_manifest_that_is_none(string text)
    {
        File.WriteAllText(Path.Combine(_package.Folder, "manifest.json"), text);
        Refuse(_package.Folder, "manifest.json is not one");
    }

    [Fact]
    public void Refuses_a_folder_without_a_manifest()
    {
        File.Delete(Path.Combine(_package.Folder, "manifest.json"));
        Refuse(_package.Folder, "no manifest.json");
    }

    [Fact]
    public void Refuses_an_archive_cut_at_any_tenth()
    {
        var archive = _package.Archive();
        var whole = File.ReadAllBytes(archive);
        for (var tenth = 0; tenth < 10; tenth++)
        {
            File.WriteAllBytes(archive, whole[..(whole.Length * tenth / 10)]);
            Assert.Equal(ExitCode.Damaged, Assert.Throws<CommandException>(() => InstallablePackage.Open(archive)).Code);
        }
    }

    [Fact]
    public void Refuses_what_is_no_archive()
    {
        var path = Path.Combine(_package.Scratch, "text");
        File.WriteAllText(path, "Not an archive at all, but long enough to be looked at.");
        Refuse(path, "cannot be unpacked");
    }

    [Fact]
    public void Tells_a_path_that_is_not_there_from_a_damaged_package() =>
        Assert.Equal(ExitCode.Usage, Assert.Throws<CommandException>(() => InstallablePackage.Open("/nowhere")).Code);

    private static void Refuse(string path, string words)
    {
        var error = Assert.Throws<CommandException>(() => InstallablePackage.Open(path));
        Assert.Equal(ExitCode.Damaged, error.Code);
        Assert.Contains(words, string.Join('\n', error.Details), StringComparison.Ordinal);
    }
}
