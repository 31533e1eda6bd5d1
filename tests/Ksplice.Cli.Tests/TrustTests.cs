// SPDX-License-Identifier: MIT
// A machine that has a list of whom it trusts takes nothing of anybody else's. What a valid signature is, is the engine's to say
// (PackageSignatureTests).
using Ksplice.Build.Generation;

namespace Ksplice.Cli.Tests;

public sealed class TrustTests : CommandFixture
{
    private string Trusted => Path.Combine(Package.Scratch, "trusted");

    [Fact]
    public async Task Takes_a_package_of_whom_it_trusts_and_no_other()
    {
        await TrustAsync("ours");
        Assert.Equal(ExitCode.Untrusted, await RunAsync("apply", Package.Folder));
        Assert.Equal(ExitCode.Untrusted, await RunAsync("enable", Package.Folder));
        Assert.Contains("is not signed", Errors, StringComparison.Ordinal);
        Assert.Empty(Kernel.Log);

        await SignAsync("theirs");
        Assert.Equal(ExitCode.Ok, await RunAsync("info", Package.Folder));
        Assert.Matches("signature:    CN=[^,]+, NOT TRUSTED: none of the trusted certificates", Output);
        Assert.Equal(ExitCode.Untrusted, await RunAsync("apply", Package.Folder));
        Assert.Contains("none of the trusted certificates", Errors, StringComparison.Ordinal);
        Assert.Empty(Kernel.Log);

        await SignAsync("ours");
        Assert.Equal(ExitCode.Ok, await RunAsync("enable", Package.Folder));
        Assert.Equal(ExitCode.Ok, await RunAsync("restore"));
        ForgetOutput();
        Assert.Equal(ExitCode.Ok, await RunAsync("view", TestPackage.Id));
        Assert.Matches("signature: CN=[^,]+, trusted\n", Output);
        Assert.Equal("applied", Kernel.Find(TestPackage.Id)!.Stage);
    }

    [Fact]
    public async Task A_stored_package_is_judged_again_at_boot()
    {
        await RunAsync("enable", Package.Folder);
        await TrustAsync("ours");
        Assert.Equal(ExitCode.Untrusted, await RunAsync("restore"));
        Assert.Empty(Kernel.Log);
    }

    [Fact]
    public async Task A_list_that_cannot_be_used_lets_nobody_in()
    {
        await SignAsync("ours");
        Directory.CreateDirectory(Trusted);
        Assert.Equal(ExitCode.Untrusted, await RunAsync("apply", Package.Folder));
        await TrustAsync("ours");
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

    private async Task TrustAsync(string name)
    {
        Directory.CreateDirectory(Trusted);
        File.Copy((await IdentityAsync(name)).CertificateFile, Path.Combine(Trusted, name), overwrite: true);
    }

    private async Task SignAsync(string name)
    {
        var identity = await IdentityAsync(name);
        File.WriteAllBytes(
            Path.Combine(Package.Folder, PackageSignature.FileName),
            PackageSignature.Sign(
                File.ReadAllBytes(Path.Combine(Package.Folder, UpdateManifest.FileName)),
                identity.Key,
                identity.Certificate
            )
        );
    }

    private async Task<SigningIdentity> IdentityAsync(string name)
    {
        string key = Path.Combine(Package.Scratch, name + ".pem"),
            certificate = Path.Combine(Package.Scratch, name + ".x509");
        if (!File.Exists(key))
            await SigningKey.MakeAsync(Package.Scratch, name);
        Assert.True(SigningIdentity.TryRead(key, certificate, [], out var identity));
        return identity!;
    }
}
