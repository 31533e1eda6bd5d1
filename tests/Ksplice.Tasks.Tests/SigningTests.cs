// SPDX-License-Identifier: MIT
// A project that signs: modules as the kernel's sign-file does it, and the package; another key makes both anew and nothing else.
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;

namespace Ksplice.Tasks.Tests;

public sealed class SigningTests
{
    private static readonly byte[] s_marker = Encoding.ASCII.GetBytes("~Module signature appended~\n");

    [Fact]
    public async Task Signs_modules_and_package_and_signs_anew_with_another_key()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("smaps.patch", Patches.Smaps);
        var (key, certificate) = await SigningKey.MakeAsync(project.Folder, "first");
        string[] signing = [$"-p:UpdateSigningKey={key}", $"-p:UpdateSigningCertificate={certificate}"];
        (await project.BuildAsync(signing)).MustSucceed();
        AssertSigned(project, key, certificate);
        var again = new BuildLog((await project.BuildAsync(signing)).MustSucceed());
        Assert.DoesNotContain(again.Ran, name => name is "KspliceLink" or "KsplicePackage");

        var (otherKey, otherCertificate) = await SigningKey.MakeAsync(project.Folder, "second");
        var other = new BuildLog(
            (await project.BuildAsync($"-p:UpdateSigningKey={otherKey}", $"-p:UpdateSigningCertificate={otherCertificate}")).MustSucceed()
        );
        Assert.Empty(other.Compiled);
        AssertSigned(project, otherKey, otherCertificate);

        string line = (
            await project.BuildAsync($"-p:UpdateSigningKey={key}", $"-p:UpdateSigningCertificate={otherCertificate}")
        ).MustFailWith("KSP6050");
        Assert.Contains("second.x509 is not the certificate of", line, StringComparison.Ordinal);
        (await project.BuildAsync($"-p:UpdateSigningKey={key}")).MustFailWith("KSP6050");

        (await project.BuildAsync()).MustSucceed();
        Assert.False(File.Exists(Path.Combine(project.Package, PackageSignature.FileName)));
        Assert.All(Directory.GetFiles(project.Package, "*.ko"), module => Assert.False(IsSigned(module)));
    }

    private static void AssertSigned(PatchProject project, string key, string certificate)
    {
        DiagnosticBag diagnostics = [];
        var package = UpdatePackage.Open(project.Package, diagnostics)!;
        Assert.True(SigningIdentity.TryRead(key, certificate, diagnostics, out var signer));
        Assert.Empty(diagnostics);
        Assert.True(
            PackageSignature
                .Verify(package.Files[UpdateManifest.FileName].Span, package.Files[PackageSignature.FileName].Span, [signer!.Certificate])
                .IsTrusted
        );
        Assert.All(Directory.GetFiles(project.Package, "*.ko"), module => Assert.True(IsSigned(module)));
    }

    private static bool IsSigned(string module) => File.ReadAllBytes(module).AsSpan().EndsWith(s_marker);
}
