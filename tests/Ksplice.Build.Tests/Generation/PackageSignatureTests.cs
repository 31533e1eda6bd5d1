// Signatures, with openssl as the other side: it takes ours, and we take its.
using System.Text;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;

namespace Ksplice.Build.Tests.Generation;

public sealed class PackageSignatureTests : IDisposable
{
    private static readonly byte[] s_manifest = Encoding.UTF8.GetBytes("{ \"id\": 1 }\n");
    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-signature-");

    public void Dispose() => _work.Delete(recursive: true);

    [Theory]
    [InlineData("rsa:2048")]
    [InlineData("ec -pkeyopt ec_paramgen_curve:prime256v1")]
    public async Task Openssl_and_we_verify_what_the_other_signed(string kind)
    {
        var ours = Read(await MakeAsync("ours", kind))!;
        File.WriteAllBytes(At("manifest"), s_manifest);
        File.WriteAllBytes(At("signature"), PackageSignature.Sign(s_manifest, ours.Key, ours.Certificate));
        await OpensslAsync($"cms -verify -binary -inform DER -in {At("signature")} -content {At("manifest")} -CAfile {ours.CertificateFile} -purpose any -out {At("out")}");

        await OpensslAsync($"cms -sign -binary -outform DER -in {At("manifest")} -signer {ours.CertificateFile} -inkey {ours.KeyFile} -out {At("signature")}");
        byte[] signature = File.ReadAllBytes(At("signature"));
        Assert.True(PackageSignature.Verify(s_manifest, signature, [ours.Certificate]) is { IsTrusted: true, Detail: "CN=ours" });
        byte[] changed = [.. s_manifest];
        changed[3] ^= 1;
        Assert.False(PackageSignature.Verify(changed, signature, [ours.Certificate]).IsTrusted);
        // Any damage: refused, and never an exception.
        for (int i = 0; i < signature.Length; i += 7)
        {
            byte[] damaged = [.. signature];
            damaged[i] ^= 0x10;
            _ = PackageSignature.Verify(s_manifest, damaged, [ours.Certificate]);
            Assert.False(PackageSignature.Verify(s_manifest, signature.AsSpan(0, i), [ours.Certificate]).IsTrusted);
        }
    }

    [Fact]
    public async Task Refuses_a_weak_digest_and_who_is_not_trusted()
    {
        SigningIdentity ours = Read(await MakeAsync("ours", "rsa:2048"))!, theirs = Read(await MakeAsync("theirs", "rsa:2048"))!;
        File.WriteAllBytes(At("manifest"), s_manifest);
        await OpensslAsync($"cms -sign -binary -md sha1 -outform DER -in {At("manifest")} -signer {ours.CertificateFile} -inkey {ours.KeyFile} -out {At("signature")}");
        Assert.Contains("too weak", PackageSignature.Verify(s_manifest, File.ReadAllBytes(At("signature")), [ours.Certificate]).Detail, StringComparison.Ordinal);
        byte[] signature = PackageSignature.Sign(s_manifest, theirs.Key, theirs.Certificate);
        Assert.Contains("none of the trusted", PackageSignature.Verify(s_manifest, signature, [ours.Certificate]).Detail, StringComparison.Ordinal);
        Assert.False(PackageSignature.Verify(s_manifest, signature, []).IsTrusted);
        Assert.True(PackageSignature.Verify(s_manifest, signature, [ours.Certificate, theirs.Certificate]).IsTrusted);
        Assert.Equal(signature, PackageSignature.Sign(s_manifest, theirs.Key, theirs.Certificate));
    }

    [Fact]
    public async Task Says_what_is_wrong_with_a_key()
    {
        var (key, certificate) = await MakeAsync("ours", "rsa:2048");
        var (otherKey, _) = await MakeAsync("theirs", "rsa:2048");
        Refused(otherKey, certificate, "is not the certificate of");
        Refused(certificate, certificate, "holds no private key");
        Refused(key, key, "");
        Refused(key, "", "both are needed");
        Refused(At("missing"), certificate, "missing");
        var small = await MakeAsync("small", "rsa:1024");
        Refused(small.Key, small.Certificate, "1024 bits");
        var edwards = await MakeAsync("edwards", "ed25519");
        Refused(edwards.Key, edwards.Certificate, "neither RSA nor ECDSA");
        await OpensslAsync($"pkcs8 -topk8 -in {key} -out {At("locked")} -passout pass:secret");
        Refused(At("locked"), certificate, SigningIdentity.PassphraseVariable);
    }

    private void Refused(string key, string certificate, string words)
    {
        DiagnosticBag diagnostics = [];
        Assert.Null(SigningIdentity.Read(key, certificate, diagnostics));
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP6050", error.Id);
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
    }

    private static SigningIdentity? Read((string Key, string Certificate) files) => SigningIdentity.Read(files.Key, files.Certificate, []);

    private string At(string name) => Path.Combine(_work.FullName, name);

    private async Task<(string Key, string Certificate)> MakeAsync(string name, string kind)
    {
        await OpensslAsync($"req -new -x509 -newkey {kind} -nodes -days 1 -subj /CN={name} -keyout {At(name + ".pem")} -out {At(name + ".x509")}");
        return (At(name + ".pem"), At(name + ".x509"));
    }

    private static async Task OpensslAsync(string arguments)
    {
        var result = await Cli.Wrap("openssl").WithArguments(arguments).WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        Assert.True(result.ExitCode == 0, arguments + "\n" + result.StandardError);
    }
}
