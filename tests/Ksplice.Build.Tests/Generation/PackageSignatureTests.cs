// SPDX-License-Identifier: MIT
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
    [InlineData("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")]
    public async Task Openssl_and_we_verify_what_the_other_signed(params string[] kind)
    {
        var ours = Read(await SigningKey.MakeAsync(_work.FullName, "ours", kind))!;
        File.WriteAllBytes(At("manifest"), s_manifest);
        File.WriteAllBytes(At("signature"), PackageSignature.Sign(s_manifest, ours.Key, ours.Certificate));
        await OpensslAsync(
            $"cms -verify -binary -inform DER -in {At("signature")} -content {At("manifest")} -CAfile {ours.CertificateFile} "
                + $"-purpose any -out {At("out")}"
        );

        await OpensslAsync(
            $"cms -sign -binary -outform DER -in {At("manifest")} -signer {ours.CertificateFile} -inkey {ours.KeyFile} "
                + $"-out {At("signature")}"
        );
        byte[] signature = File.ReadAllBytes(At("signature"));
        Assert.True(PackageSignature.Verify(s_manifest, signature, [ours.Certificate]) is { IsTrusted: true, Detail: "CN=ours" });
        byte[] changed = [.. s_manifest];
        changed[3] ^= 1;
        Assert.False(PackageSignature.Verify(changed, signature, [ours.Certificate]).IsTrusted);
        // What is cut is refused; what is damaged may be so where nothing is signed, and is never an exception.
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
        SigningIdentity ours = Read(await SigningKey.MakeAsync(_work.FullName, "ours", "rsa:2048"))!,
            theirs = Read(await SigningKey.MakeAsync(_work.FullName, "theirs", "rsa:2048"))!;
        File.WriteAllBytes(At("manifest"), s_manifest);
        await OpensslAsync(
            $"cms -sign -binary -md sha1 -outform DER -in {At("manifest")} -signer {ours.CertificateFile} -inkey {ours.KeyFile} "
                + $"-out {At("signature")}"
        );
        Assert.Contains(
            "too weak",
            PackageSignature.Verify(s_manifest, File.ReadAllBytes(At("signature")), [ours.Certificate]).Detail,
            StringComparison.Ordinal
        );
        byte[] signature = PackageSignature.Sign(s_manifest, theirs.Key, theirs.Certificate);
        Assert.Contains(
            "none of the trusted",
            PackageSignature.Verify(s_manifest, signature, [ours.Certificate]).Detail,
            StringComparison.Ordinal
        );
        Assert.False(PackageSignature.Verify(s_manifest, signature, []).IsTrusted);
        Assert.True(PackageSignature.Verify(s_manifest, signature, [ours.Certificate, theirs.Certificate]).IsTrusted);
        Assert.Equal(signature, PackageSignature.Sign(s_manifest, theirs.Key, theirs.Certificate));
    }

    [Fact]
    public async Task Says_what_is_wrong_with_a_key()
    {
        var (key, certificate) = await SigningKey.MakeAsync(_work.FullName, "ours", "rsa:2048");
        var (otherKey, _) = await SigningKey.MakeAsync(_work.FullName, "theirs", "rsa:2048");
        Refused(otherKey, certificate, "is not the certificate of");
        Refused(certificate, certificate, "holds no private key");
        Refused(key, key, "");
        Refused(key, "", "both are needed");
        Refused(At("missing"), certificate, "missing");
        var small = await SigningKey.MakeAsync(_work.FullName, "small", "rsa:1024");
        Refused(small.Key, small.Certificate, "1024 bits");
        var edwards = await SigningKey.MakeAsync(_work.FullName, "edwards", "ed25519");
        Refused(edwards.Key, edwards.Certificate, "neither RSA nor ECDSA");
        await OpensslAsync($"pkcs8 -topk8 -in {key} -out {At("locked")} -passout pass:secret");
        Refused(At("locked"), certificate, SigningIdentity.PassphraseVariable);
    }

    [Fact]
    public async Task Says_why_a_module_is_not_signed()
    {
        var ours = Read(await SigningKey.MakeAsync(_work.FullName, "ours"))!;
        File.WriteAllText(At("module.ko"), "no module");
        await NotSignedAsync("CONFIG_MODULE_SIG");
        // The kernel's tool as it ends when it cannot write.
        Directory.CreateDirectory(At("scripts"));
        File.WriteAllText(At("scripts/sign-file"), "#!/bin/sh\necho cannot write $4 >&2\nexit 1\n");
        await Cli.Wrap("chmod").WithArguments(["+x", At("scripts/sign-file")]).ExecuteAsync(TestContext.Current.CancellationToken);
        await NotSignedAsync("cannot write " + At("module.ko"));

        async Task NotSignedAsync(string words)
        {
            DiagnosticBag diagnostics = [];
            Assert.False(
                await ModuleSigner.SignAsync(At("module.ko"), ours, _work.FullName, diagnostics, TestContext.Current.CancellationToken)
            );
            var error = Assert.Single(diagnostics);
            Assert.Equal("KSP6050", error.Id);
            Assert.Contains(words, error.Message, StringComparison.Ordinal);
        }
    }

    private void Refused(string key, string certificate, string words)
    {
        DiagnosticBag diagnostics = [];
        Assert.False(SigningIdentity.TryRead(key, certificate, diagnostics, out var identity));
        Assert.Null(identity);
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP6050", error.Id);
        Assert.Contains(words, error.Message, StringComparison.Ordinal);
    }

    private static SigningIdentity? Read((string Key, string Certificate) files) =>
        SigningIdentity.TryRead(files.Key, files.Certificate, [], out var identity) ? identity : null;

    private string At(string name) => Path.Combine(_work.FullName, name);

    private static async Task OpensslAsync(string arguments)
    {
        var result = await Cli.Wrap("openssl")
            .WithArguments(arguments)
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        Assert.True(result.ExitCode == 0, arguments + "\n" + result.StandardError);
    }
}
