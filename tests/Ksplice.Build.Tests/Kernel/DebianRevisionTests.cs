// SPDX-License-Identifier: MIT
using System.IO.Compression;
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Tests.Kernel;

public sealed class DebianRevisionTests : IDisposable
{
    private readonly DirectoryInfo _root = Directory.CreateTempSubdirectory("ksplice-revision-");

    public void Dispose() => _root.Delete(recursive: true);

    private string Write(string name, ReadOnlySpan<byte> content)
    {
        string path = Path.Combine(_root.FullName, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, content);
        return path;
    }

    private void WriteChangelog(string version)
    {
        using MemoryStream packed = new();
        using (GZipStream gzip = new(packed, CompressionLevel.Fastest))
            gzip.Write(Encoding.UTF8.GetBytes($"linux ({version}) bookworm-security; urgency=high\n\n  * more\n"));
        Write("usr/share/doc/linux-source-6.1/changelog.Debian.gz", packed.ToArray());
    }

    private List<Diagnostic> Check(string source, string revision)
    {
        DiagnosticBag diagnostics = [];
        KernelReleaseResolver.Check(
            new KernelRelease
            {
                Release = "6.1.0-57-cloud-amd64",
                Version = "6.1.192",
                Revision = revision,
                Headers = "",
                Config = Write(".config", "CONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian 12.2.0-14) 12.2.0\"\n"u8),
                Image = "",
                Source = source,
                Compiler = "",
                CompilerVersion = "gcc-12 (Debian 12.2.0-14) 12.2.0",
            },
            diagnostics
        );
        return [.. diagnostics];
    }

    [Fact]
    public void The_revision_of_a_kernel_stands_in_its_banner()
    {
        const string Banner = "Linux version 6.1.0-57-cloud-amd64 (a@b) (gcc-12) #1 SMP PREEMPT_DYNAMIC Debian ";
        Assert.Equal("6.1.192-2", DebianRevision.OfBanner(Banner + "6.1.192-2 (2026-11-01)"));
        Assert.Equal("6.12.117-1~bpo12+1", DebianRevision.OfBanner(Banner + "6.12.117-1~bpo12+1 (2026-11-01)"));
        Assert.Equal("", DebianRevision.OfBanner("Linux version 6.1.192 (a@b) (gcc) #1 SMP"));
    }

    [Fact]
    public void A_source_of_another_revision_is_warned_of()
    {
        string source = Write("usr/src/linux-source-6.1.tar.xz", []);
        Write(
            "var/lib/dpkg/status",
            "Package: linux-source-6.12\nVersion: 6.12.1-1\n\nPackage: linux-source-6.1\nStatus: x\nVersion: 6.1.192-3\n\n"u8
        );
        var warning = Assert.Single(Check(source, "6.1.192-2"));
        Assert.Equal(("KSP2051", DiagnosticSeverity.Warning), (warning.Id, warning.Severity));
        Assert.Contains("is of linux-source 6.1.192-3, but kernel", warning.Message, StringComparison.Ordinal);
        Assert.Empty(Check(source, "6.1.192-3"));
        // The changelog is the package's own.
        WriteChangelog("6.1.192-2");
        Assert.Empty(Check(source, "6.1.192-2"));
        Assert.Single(Check(source, "6.1.192-3"));
        Write("usr/share/doc/linux-source-6.1/changelog.Debian.gz", "no gzip"u8);
        Assert.Empty(Check(source, "6.1.192-2"));
    }

    [Fact]
    public void Where_a_revision_is_not_known_nothing_is_said()
    {
        Assert.Empty(Check(Write("usr/src/linux-source-6.1.tar.xz", []), "6.1.192-2"));
        WriteChangelog("6.1.192-3");
        Assert.Empty(Check(Write("elsewhere/linux-source-6.1.tar.xz", []), "6.1.192-2"));
        Assert.Empty(Check(Path.Combine(_root.FullName, "usr/src/linux-source-6.1.tar.xz"), ""));
    }
}
