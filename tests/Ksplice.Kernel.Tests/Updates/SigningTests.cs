// SPDX-License-Identifier: MIT
// Whom the machine trusts, in a guest: the command judges the package, the kernel its modules. No key of ours is among the stock
// kernel's, so what it says of a signed module there is that it does not know who signed.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class SigningTests(Guest guest)
{
    [Fact]
    public async Task Takes_what_is_signed_by_whom_it_trusts_and_a_kernel_that_enforces_says_what_it_wants()
    {
        string keys = Directory.CreateTempSubdirectory("ksplice-keys-").FullName;
        try
        {
            var (key, certificate) = await SigningKey.MakeAsync(keys, "site");
            using PatchProject project = new(guest.Release);
            project.Write("smaps-pages.patch", File.ReadAllText(Repository.At("samples/a-smaps-pages/smaps-pages.patch")));
            (await project.BuildAsync($"-p:UpdateSigningKey={key}", $"-p:UpdateSigningCertificate={certificate}")).MustSucceed();
            string place = UpdateGuest.Place(project);
            GuestFile[] files = [UpdateGuest.Command, UpdateGuest.Package(project), new(certificate, "/root/site.x509")];
            var result = await guest.RunAsync(
                $"""
                mkdir -p /etc/ksplice/trusted
                ksplice apply {place} >/dev/null; echo "nobody trusted $?"
                cp /root/site.x509 /etc/ksplice/trusted
                ksplice status | grep signatures
                cp -r {place} /root/unsigned
                rm /root/unsigned/manifest.json.p7s
                ksplice apply /root/unsigned; echo "unsigned $?"
                cp -r {place} /root/changed
                sed -i 's/"pinned": /"pinned":  /' /root/changed/manifest.json
                ksplice apply /root/changed; echo "changed $?"
                lsmod | grep -c ksplice
                ksplice apply {place} >/dev/null; echo "signed $?"
                grep -q ^Pages: /proc/self/smaps; echo "pages $?"
                ksplice undo {project.Id} >/dev/null; echo "undo $?"
                """,
                files
            );
            result.MustEndWith(0);
            Assert.Equal(
                ["nobody trusted 10", "signatures: demanded", "unsigned 10", "changed 10", "0", "signed 0", "pages 0", "undo 0"],
                result.Lines
            );
            Assert.Contains("is not signed, and this machine takes signed updates only", result.Errors, StringComparison.Ordinal);
            Assert.Contains("is not what CN=site would have made of this manifest", result.Errors, StringComparison.Ordinal);

            result = await guest.RunAsync(
                $"ksplice apply {place}; echo $?; lsmod | grep -c ksplice; exit 0",
                ["--append", "module.sig_enforce=1"],
                files
            );
            result.MustEndWith(0);
            Assert.Equal(["2", "0"], result.Lines);
            Assert.Contains(
                "this kernel loads signed modules only: build the update with UpdateSigningKey",
                result.Errors,
                StringComparison.Ordinal
            );
        }
        finally
        {
            Directory.Delete(keys, recursive: true);
        }
    }
}
