// SPDX-License-Identifier: MIT
// Whose packages this machine takes: the certificates in one folder. Where the folder is, a package has to be signed by one of
// them, also if none of its files can be used: nobody opens the door by spoiling a file.
using Ksplice.Build.Generation;
using Org.BouncyCastle.Security;
using Org.BouncyCastle.Security.Certificates;
using Org.BouncyCastle.X509;

namespace Ksplice.Cli.Packages;

/// <summary>Who signed a package, and whether this machine trusts them.</summary>
/// <param name="IsSigned">False if there is no signature.</param>
/// <param name="Signer">The subject of the signer's certificate, or why it cannot be told.</param>
/// <param name="IsTrusted">Null if this machine has no list.</param>
/// <param name="Detail">Why it is not trusted.</param>
public sealed record SignatureState(bool IsSigned, string Signer, bool? IsTrusted, string Detail);

/// <summary>The certificates in <paramref name="folder"/>, a file each.</summary>
public sealed class TrustedCertificates(string folder)
{
    private const UnixFileMode ForOthers = UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;

    // The library would try whether an RSA modulus is a prime, for which it wants the runtime's random numbers, which are
    // OpenSSL's, which this machine may not have. These keys are in the administrator's own certificates.
    static TrustedCertificates() => Environment.SetEnvironmentVariable("Org.BouncyCastle.Rsa.MaxMRTests", "0");

    /// <summary>True if packages have to be signed.</summary>
    public bool AreDemanded => Directory.Exists(folder);

    /// <summary>Throws unless the package is signed by one of them, or no signature is demanded.</summary>
    public void Demand(UpdatePackage package, string path)
    {
        if (!AreDemanded)
            return;
        if (!package.Files.TryGetValue(PackageSignature.FileName, out var signature))
        {
            throw new CommandException(
                ExitCode.Untrusted,
                $"{path} is not signed, and this machine takes signed updates only",
                $"build it with UpdateSigningKey and UpdateSigningCertificate, a certificate of {folder}"
            );
        }

        var verdict = PackageSignature.Verify(package.Files[UpdateManifest.FileName].Span, signature.Span, Read());
        if (!verdict.IsTrusted)
            throw new CommandException(
                ExitCode.Untrusted,
                $"{path} is not to be trusted: {verdict.Detail}",
                $"trusted certificates are those in {folder}"
            );
    }

    /// <summary>What there is to say of a package's signature; throws nothing.</summary>
    public SignatureState Judge(KnownPackage package)
    {
        if (package.Signature is not { } signature)
            return new(false, "", AreDemanded ? false : null, "");
        var maker = PackageSignature.VerifyByItsOwn(package.Text.Span, signature.Span);
        string signer = maker.IsTrusted ? maker.Detail : "a signer who cannot be told: " + maker.Detail;
        if (!AreDemanded)
            return new(true, signer, null, "");
        try
        {
            var verdict = PackageSignature.Verify(package.Text.Span, signature.Span, Read());
            return new(true, verdict.IsTrusted ? verdict.Detail : signer, verdict.IsTrusted, verdict.IsTrusted ? "" : verdict.Detail);
        }
        catch (Exception problem) when (problem is CommandException or IOException or UnauthorizedAccessException)
        {
            return new(true, signer, false, problem.Message);
        }
    }

    private List<X509Certificate> Read()
    {
        CheckMode(folder);
        List<X509Certificate> certificates = [];
        foreach (var file in Directory.GetFiles(folder).Order(StringComparer.Ordinal))
        {
            CheckMode(file);
            certificates.Add(Parse(file));
        }

        return certificates;
    }

    private static X509Certificate Parse(string file)
    {
        try
        {
            return new X509CertificateParser().ReadCertificate(File.ReadAllBytes(file)) ?? throw new CertificateException("it holds none");
        }
        catch (Exception problem) when (problem is GeneralSecurityException or IOException or UnauthorizedAccessException)
        {
            throw new CommandException(
                ExitCode.Untrusted,
                $"{file} is no certificate that can be used",
                problem.Message,
                "repair it, or take it away"
            );
        }
    }

    private static void CheckMode(string path)
    {
        if ((File.GetUnixFileMode(path) & ForOthers) != UnixFileMode.None)
            throw new CommandException(
                ExitCode.Untrusted,
                $"{path} can be written by others than its owner, so it is not trusted",
                $"chmod go-w {path}"
            );
    }
}
