// SPDX-License-Identifier: MIT
// What an update is called and said to be for: from the project, else from the mail headers of its patches.
using System.Text;
using System.Text.Json;
using Ksplice.Build.Generation;

namespace Ksplice.Tasks.Tests;

public sealed class IdentityTests
{
    private const string Change =
        "---\n fs/f.c | 1 +\n\ndiff --git a/fs/f.c b/fs/f.c\n--- a/fs/f.c\n+++ b/fs/f.c\n@@ -0,0 +1 @@\n+CVE-2001-0001\n";

    private static PatchMail Read(string text) => PatchMail.Read(Encoding.UTF8.GetBytes(text));

    [Fact]
    public void A_mail_of_git()
    {
        var mail = Read(
            "From 9c1e2d0f Mon Sep 17 00:00:00 2001\nFrom: A <a@b.example>\nDate: Mon, 7 Mar 2022 10:00:00 +0100\n"
                + "Subject: [PATCH 2/3] Re: lib: initialise\n =?UTF-8?Q?the_fl=C3=A4gs?= member\n\n"
                + "Similar to CVE-2016-5195, which this is not.\n\nCVE: CVE-2022-0847\nCVE-2022-0848, CVE-2022-0849\n"
                + Change
        );
        Assert.Equal("lib: initialise the fl\u00e4gs member", mail.Subject);
        Assert.Equal(["CVE-2022-0847", "CVE-2022-0848", "CVE-2022-0849"], mail.Advisories);
    }

    [Fact]
    public void Headers_as_Debian_has_them()
    {
        var mail = Read(
            "Description: check the size (CVE-2022-0185)\n A longer text\n .\n of several lines.\nOrigin: upstream\n\n" + Change
        );
        Assert.Equal("check the size (CVE-2022-0185)", mail.Subject);
        Assert.Equal(["CVE-2022-0185"], mail.Advisories);
    }

    [Theory]
    [InlineData("")]
    [InlineData("Index: linux/fs/f.c\n--- a/fs/f.c\n+++ b/fs/f.c\n@@ -0,0 +1 @@\n+CVE-2001-0001\n")]
    [InlineData("some words\n\nSubject: not a header, since words stand before it\n" + Change)]
    public void A_patch_without_headers_says_nothing(string text)
    {
        var mail = Read(text);
        Assert.Null(mail.Subject);
        Assert.Empty(mail.Advisories);
    }

    [Fact]
    public async Task Manifest_and_names_tell_the_version_the_description_and_the_advisories()
    {
        using PatchProject project = new(Patches.Release, ("UpdateVersion", "1.0~rc1"));
        project.Write("smaps.patch", "From: A <a@b.example>\nSubject: [PATCH] proc: count pages\nBug: CVE-2022-0847\n\n" + Patches.Smaps);
        (await project.BuildAsync()).MustSucceed();
        string package = Assert.Single(Directory.GetDirectories(project.At($"bin/Debug/{Patches.Release}")));
        Assert.Matches("ksplice-[0-9a-f]{8}-1\\.0~rc1$", package);
        Assert.True(File.Exists(package + ".html"));
        Equal(package + ".tar.zst", "1.0~rc1", "proc: count pages", ["CVE-2022-0847"]);
        Assert.Contains(
            "proc: count pages",
            await File.ReadAllTextAsync(Path.Combine(package, "README.txt"), TestContext.Current.CancellationToken),
            StringComparison.Ordinal
        );

        // What the project says counts more; the package of the old version goes.
        project.Items("<UpdateAdvisory Include=\"DSA-5092-1;CVE-2022-0847\" />");
        (await project.BuildAsync("-p:UpdateVersion=2", "-p:UpdateDescription=counts  pages")).MustSucceed();
        string second = Assert.Single(Directory.GetDirectories(project.At($"bin/Debug/{Patches.Release}")));
        Assert.EndsWith("-2", second, StringComparison.Ordinal);
        Assert.Equal(3, Directory.GetFileSystemEntries(project.At($"bin/Debug/{Patches.Release}")).Length);
        Equal(second, "2", "counts pages", ["DSA-5092-1", "CVE-2022-0847"]);

        (await project.BuildAsync("-p:UpdateVersion=1/2")).MustFailWith("KSP2052");
        project.Items("<UpdateAdvisory Include=\"CVE-22-1\" />");
        (await project.BuildAsync()).MustFailWith("KSP2053");
    }

    private static void Equal(string package, string version, string description, string[] advisories)
    {
        var manifest = UpdatePackage.Open(package, [])!.Manifest;
        Assert.Equal(version, manifest.Version);
        Assert.Equal(description, manifest.Description);
        Assert.Equal(advisories, manifest.Advisories);
    }
}
