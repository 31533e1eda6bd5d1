// A machine that has a list of whom it trusts takes nothing of anybody else's. What a valid signature is, is the engine's to say
// (PackageSignatureTests).
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Ksplice.Build.Generation;

namespace Ksplice.Cli.Tests;

public sealed class TrustTests : CommandFixture
{
    private string Trusted => Path.Combine(Package.Scratch, "trusted");

    [Fact]
    public async Task Takes_a_package_of_whom_it_trusts_and_no_other()
    {
        Trust("ours");
        Assert.Equal(ExitCode.Untrusted, await RunAsync("apply", Package.Folder));
        Assert.Equal(ExitCode.Untrusted, await RunAsync("enable", Package.Folder));
        Assert.Contains("is not signed", Errors, StringComparison.Ordinal);
        Assert.Empty(Kernel.Log);

        Sign("theirs");
        Assert.Equal(ExitCode.Untrusted, await RunAsync("apply", Package.Folder));
        Assert.Contains("none of the trusted certificates", Errors, StringComparison.Ordinal);
        Assert.Empty(Kernel.Log);

        Sign("ours");
        Assert.Equal(ExitCode.Ok, await RunAsync("enable", Package.Folder));
        Assert.Equal(ExitCode.Ok, await RunAsync("restore"));
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);
    }

    [Fact]
    public async Task A_stored_package_is_judged_again_at_boot()
    {
        await RunAsync("enable", Package.Folder);
        Trust("ours");
        Assert.Equal(ExitCode.Untrusted, await RunAsync("restore"));
        Assert.Empty(Kernel.Log);
    }

    [Fact]
    public async Task A_list_that_cannot_be_used_lets_nobody_in()
    {
        Sign("ours");
        Directory.CreateDirectory(Trusted);
        Assert.Equal(ExitCode.Untrusted, await RunAsync("apply", Package.Folder));
        Trust("ours");
        var note = Path.Combine(Trusted, "a-note");
        File.WriteAllText(note, "hello");
        Assert.Equal(ExitCode.Untrusted, await RunAsync("apply", Package.Folder));
        Assert.Contains($"{note} is no certificate", Errors, StringComparison.Ordinal);
        File.Delete(note);
        File.SetUnixFileMode(Trusted, File.GetUnixFileMode(Trusted) | UnixFileMode.OtherWrite);
        Assert.Equal(ExitCode.Untrusted, await RunAsync("apply", Package.Folder));
        Assert.Contains($"chmod go-w {Trusted}", Errors, StringComparison.Ordinal);
        Assert.Empty(Kernel.Log);
    }

    private void Trust(string name)
    {
        Directory.CreateDirectory(Trusted);
        File.Copy(Identity(name).CertificateFile, Path.Combine(Trusted, name), overwrite: true);
    }

    private void Sign(string name)
    {
        var identity = Identity(name);
        File.WriteAllBytes(
            Path.Combine(Package.Folder, PackageSignature.FileName),
            PackageSignature.Sign(File.ReadAllBytes(Path.Combine(Package.Folder, UpdateManifest.FileName)), identity.Key, identity.Certificate));
    }

    private SigningIdentity Identity(string name)
    {
        string key = Path.Combine(Package.Scratch, name + ".pem"), certificate = Path.Combine(Package.Scratch, name + ".x509");
        if (!File.Exists(key))
        {
            using var ecdsa = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var made = new CertificateRequest("CN=" + name, ecdsa, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddDays(1));
            File.WriteAllText(key, ecdsa.ExportPkcs8PrivateKeyPem());
            File.WriteAllText(certificate, made.ExportCertificatePem());
        }

        return SigningIdentity.Read(key, certificate, [])!;
    }
}
