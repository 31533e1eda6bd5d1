// SPDX-License-Identifier: MIT
// A package is read as it was written, or not at all.
using System.Formats.Tar;
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Tests.Documentation;
using ZstdSharp;

namespace Ksplice.Build.Tests.Generation;

public sealed class UpdatePackageTests : IDisposable
{
    private const string Id = "0123abcd";
    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-package-");

    public void Dispose() => _work.Delete(recursive: true);

    private static UpdateManifest Manifest =>
        new()
        {
            Format = UpdateManifest.CurrentFormat,
            Id = Id,
            Name = "test",
            Version = "1.0~rc1",
            Description = "f: says 1",
            Advisories = ["CVE-2022-0847", "RHSA-2022:0819"],
            Kernel = new ManifestKernel("6.1.0-0-test", "Linux version 6.1.0-0-test"),
            Targets =
            [
                new ManifestTarget(
                    "vmlinux",
                    $"ksplice_{Id}_0_helper.ko",
                    $"ksplice_{Id}_0_primary.ko",
                    [new ManifestFunction("f", "fs/f.c", "bytes differ")]
                ),
                new ManifestTarget(
                    "loop",
                    $"ksplice_{Id}_1_helper.ko",
                    $"ksplice_{Id}_1_primary.ko",
                    [new ManifestFunction("g", "drivers/g.c", "bytes differ")]
                ),
            ],
            Pinned = false,
            Data = new ManifestData($"ksplice_{Id}_data.ko", new string('d', 64)),
            Base = [new ManifestBase("89abcdef", ["base/89abcdef/01-b.patch"])],
            Patches = ["patches/01-f.patch"],
            Files = [],
            Tool = "test",
        };

    private (string Folder, string Archive) Write(string place = "here") =>
        UpdatePackage.Write(
            Path.Combine(_work.FullName, place),
            Manifest,
            new[]
            {
                "ksplice.ko",
                $"ksplice_{Id}_0_helper.ko",
                $"ksplice_{Id}_0_primary.ko",
                $"ksplice_{Id}_1_helper.ko",
                $"ksplice_{Id}_1_primary.ko",
                $"ksplice_{Id}_data.ko",
                "base/89abcdef/01-b.patch",
                "patches/01-f.patch",
                "README.txt",
            }.ToDictionary(name => name, name => (ReadOnlyMemory<byte>)Encoding.UTF8.GetBytes("bytes of " + name))
        );

    private static void Refused(string path, string words)
    {
        DiagnosticBag diagnostics = [];
        Assert.Null(UpdatePackage.Open(path, diagnostics));
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP6011", error.Id);
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Folder_and_archive_hold_the_same_and_equal_content_makes_equal_bytes()
    {
        var (folder, archive) = Write();
        foreach (string path in (string[])[folder, archive])
        {
            var package = UpdatePackage.Open(path, [])!;
            Assert.Equal(10, package.Files.Count);
            Assert.Equal("bytes of README.txt", Encoding.UTF8.GetString(package.Files["README.txt"].Span));
            Assert.Equal(Id, package.Manifest.Id);
        }
        Assert.Equal(File.ReadAllBytes(archive), File.ReadAllBytes(Write("elsewhere").Archive));
    }

    [Fact]
    public void The_manifest_is_what_the_schema_says()
    {
        Schema.Check("manifest.schema.json", File.ReadAllText(Path.Combine(Write().Folder, "manifest.json")));
    }

    [Fact]
    public void Refuses_a_changed_a_missing_and_an_added_file()
    {
        string helper = Path.Combine(Write().Folder, $"ksplice_{Id}_0_helper.ko");
        File.WriteAllText(helper, "bytes of ksplice_0123abcd_0_helper.kO");
        Refused(Path.GetDirectoryName(helper)!, "helper.ko differs from its digest");
        File.AppendAllText(helper, "more");
        Refused(Path.GetDirectoryName(helper)!, "bytes, not");
        File.Delete(helper);
        Refused(Path.GetDirectoryName(helper)!, "helper.ko is missing");
        File.WriteAllText(Path.Combine(Write().Folder, "extra"), "");
        Refused(Path.GetDirectoryName(helper)!, "extra is not in the manifest");
    }

    [Fact]
    public void Refuses_a_link()
    {
        string folder = Write().Folder;
        File.CreateSymbolicLink(Path.Combine(folder, "link"), "/etc/passwd");
        Refused(folder, "link is a link");
    }

    [Theory]
    [InlineData("\"format\": 2", "\"format\": 3", "its format is 3")]
    [InlineData("\"id\": \"0123abcd\"", "\"id\": \"../../etc\"", "is no update id")]
    [InlineData("\"id\": \"0123abcd\"", "\"id\": \"0123abce\"", "are not named as its place says")]
    [InlineData("1.0~rc1", "../1", "'../1' is no version")]
    [InlineData("1.0~rc1", "\\u001b[2J", "'?[2J' is no version")]
    [InlineData("f: says 1", "f:\\nsays 1", "its description is not one line of text")]
    [InlineData("CVE-2022-0847", "CVE-0847", "'CVE-0847' is no id of an advisory")]
    [InlineData("RHSA-2022:0819", "\\u001b[2J", "'?[2J' is no id of an advisory")]
    [InlineData("\"name\": \"vmlinux\"", "\"name\": \"../x\"", "is no name of a target")]
    [InlineData("\"name\": \"vmlinux\"", "\"name\": \"zram\"", "target loop is not in its place")]
    [InlineData("\"name\": \"loop\"", "\"name\": \"vmlinux\"", "target vmlinux is not in its place")]
    [InlineData("_1_helper.ko\",\n      \"primary\"", "_2_helper.ko\",\n      \"primary\"", "modules of target loop are not named")]
    [InlineData("\"module\": \"ksplice_0123abcd_data.ko\"", "\"module\": \"loop.ko\"", "'loop.ko' is no name of its data module")]
    [InlineData("\"path\": \"ksplice_0123abcd_data.ko\"", "\"path\": \"patches/01-f.patch\"", "patches/01-f.patch has")]
    [InlineData("\"path\": \"README.txt\"", "\"path\": \"ksplice.ko\"", "ksplice.ko differs")]
    [InlineData("\"patches/01-f.patch\"\n", "\"patches/02-g.patch\"\n", "is named but not listed")]
    [InlineData("\"id\": \"89abcdef\"", "\"id\": \"89ABCDEF\"", "'89ABCDEF' is no update id")]
    [InlineData("\"id\": \"89abcdef\"", "\"id\": \"0123abcd\"", "it names update 0123abcd twice")]
    [InlineData("\"base/89abcdef/01-b.patch\"\n", "\"base/89abcdef/02-b.patch\"\n", "is named but not listed")]
    [InlineData("{", "[", "")]
    [InlineData("\"tool\": \"test\"", "\"other\": 0", "tool")]
    public void Refuses_a_manifest_that_does_not_fit(string from, string to, string words)
    {
        string path = Path.Combine(Write().Folder, "manifest.json"),
            text = File.ReadAllText(path);
        Assert.Contains(from, text, StringComparison.Ordinal);
        int at = text.IndexOf(from, StringComparison.Ordinal);
        File.WriteAllText(path, text[..at] + to + text[(at + from.Length)..]);
        Refused(Path.GetDirectoryName(path)!, words);
    }

    [Fact]
    public void Refuses_an_archive_cut_at_any_tenth_and_what_is_none()
    {
        string archive = Write().Archive;
        var whole = File.ReadAllBytes(archive);
        for (int tenth = 0; tenth < 10; tenth++)
        {
            File.WriteAllBytes(archive, whole[..(whole.Length * tenth / 10)]);
            Refused(archive, "");
        }
        File.WriteAllText(archive, "Not an archive at all, but long enough to be looked at.");
        Refused(archive, "");
        Refused(Path.Combine(_work.FullName, "nowhere"), "");
    }

    [Theory]
    [InlineData("ksplice-0123abcd/../../etc/passwd", TarEntryType.RegularFile, "leaves the folder")]
    [InlineData("/etc/passwd", TarEntryType.RegularFile, "leaves the folder")]
    [InlineData("ksplice-0123abcd/link", TarEntryType.SymbolicLink, "is a SymbolicLink")]
    [InlineData("ksplice-0123abcd/link", TarEntryType.HardLink, "is a HardLink")]
    [InlineData("other/file", TarEntryType.RegularFile, "is not in folder")]
    [InlineData("ksplice-0123abcd/first", TarEntryType.RegularFile, "occurs twice")]
    public void Refuses_an_entry_that_would_leave_its_place(string name, TarEntryType type, string words)
    {
        string archive = Path.Combine(_work.FullName, "bad.tar.zst");
        using (CompressionStream compressed = new(File.Create(archive), leaveOpen: false))
        using (TarWriter tar = new(compressed, TarEntryFormat.Ustar))
        {
            tar.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, "ksplice-0123abcd/first"));
            UstarTarEntry entry = new(type, name);
            if (type != TarEntryType.RegularFile)
                entry.LinkName = "/etc/passwd";
            tar.WriteEntry(entry);
        }
        Refused(archive, words);
    }
}
