// SPDX-License-Identifier: MIT
// A package's signature: CMS (RFC 5652), detached, over the manifest's bytes, and so over every file by its digest. The same
// form as a module's signature, so that one key serves both and `openssl cms` can make and check it.
using Org.BouncyCastle.Asn1.Cms;
using Org.BouncyCastle.Asn1.Nist;
using Org.BouncyCastle.Cms;
using Org.BouncyCastle.Crypto;
using Org.BouncyCastle.Crypto.Operators;
using Org.BouncyCastle.Crypto.Parameters;
using Org.BouncyCastle.Utilities.Collections;
using Org.BouncyCastle.X509;

namespace Ksplice.Build.Generation;

/// <summary>What verifying a signature found.</summary>
/// <param name="IsTrusted">True if one of the trusted certificates made it.</param>
/// <param name="Detail">Who made it, or why it does not count.</param>
public sealed record SignatureVerdict(bool IsTrusted, string Detail);

/// <summary>Signs manifests and verifies them.</summary>
public static class PackageSignature
{
    /// <summary>The file's name in a package: DER.</summary>
    public const string FileName = UpdateManifest.FileName + ".p7s";

    private const int LeastRsaBits = 2048;

    // What a signature may be made over; SHA-1 and MD5 are not.
    private static readonly string[] s_digests =
    [
        NistObjectIdentifiers.IdSha256.Id,
        NistObjectIdentifiers.IdSha384.Id,
        NistObjectIdentifiers.IdSha512.Id,
    ];

    /// <summary>
    /// Signs <paramref name="manifest"/> with SHA-256. Without signed attributes, so that an RSA key makes the same bytes each time.
    /// </summary>
    /// <exception cref="InvalidDataException">The key is neither RSA nor ECDSA, or too short.</exception>
    public static byte[] Sign(ReadOnlySpan<byte> manifest, AsymmetricKeyParameter key, X509Certificate certificate)
    {
        ArgumentNullException.ThrowIfNull(key);
        ArgumentNullException.ThrowIfNull(certificate);
        string algorithm = key switch
        {
            RsaKeyParameters rsa when rsa.Modulus.BitLength < LeastRsaBits => throw new InvalidDataException(
                $"the key has {rsa.Modulus.BitLength} bits; {LeastRsaBits} are the least"
            ),
            RsaKeyParameters => "SHA256WITHRSA",
            ECKeyParameters => "SHA256WITHECDSA",
            _ => throw new InvalidDataException("the key is neither RSA nor ECDSA"),
        };
        CmsSignedDataGenerator generator = new();
        generator.AddSignerInfoGenerator(
            new SignerInfoGeneratorBuilder().SetDirectSignature(true).Build(new Asn1SignatureFactory(algorithm, key), certificate)
        );
        generator.AddCertificates(CollectionUtilities.CreateStore<X509Certificate>([certificate]));
        return generator.Generate(new CmsProcessableByteArray(manifest.ToArray()), encapsulate: false).GetEncoded();
    }

    /// <summary>
    /// True in the verdict if a certificate that the signature brings along made it. That tells who says that they signed it, and that it
    /// is of this manifest; whether to trust them is another question.
    /// </summary>
    public static SignatureVerdict VerifyByItsOwn(ReadOnlySpan<byte> manifest, ReadOnlySpan<byte> signature)
    {
        List<X509Certificate> brought;
        try
        {
            brought = [.. new CmsSignedData(signature.ToArray()).GetCertificates().EnumerateMatches(null)];
        }
        // As below.
        catch (Exception problem) when (problem is not OutOfMemoryException)
        {
            return new SignatureVerdict(false, $"{FileName} is no signature: {problem.Message}");
        }
        return brought.Count == 0
            ? new SignatureVerdict(false, $"{FileName} has no certificate in it")
            : Verify(manifest, signature, brought);
    }

    /// <summary>
    /// True in the verdict if <paramref name="signature"/> over <paramref name="manifest"/> was made with the key of one of the
    /// <paramref name="trusted"/> certificates. Like the kernel's for modules, it does not look at dates: who is
    /// trusted no more is taken off the list.
    /// </summary>
    public static SignatureVerdict Verify(ReadOnlySpan<byte> manifest, ReadOnlySpan<byte> signature, IReadOnlyList<X509Certificate> trusted)
    {
        ArgumentNullException.ThrowIfNull(trusted);
        try
        {
            CmsSignedData data = new(new CmsProcessableByteArray(manifest.ToArray()), signature.ToArray());
            foreach (var signer in data.GetSignerInfos().GetSigners())
            {
                if (trusted.FirstOrDefault(certificate => signer.SignerID.Match(certificate)) is not { } known)
                    continue;
                if (!s_digests.Contains(signer.DigestAlgorithmID.Algorithm.Id))
                    return new SignatureVerdict(false, $"its signature by {known.SubjectDN} is over a digest that is too weak");
                // The key and not the certificate: with that, its dates would be looked at.
                return signer.Verify(known.GetPublicKey())
                    ? new SignatureVerdict(true, known.SubjectDN.ToString())
                    : new SignatureVerdict(false, $"its signature is not what {known.SubjectDN} would have made of this manifest");
            }
            return new SignatureVerdict(false, "none of the trusted certificates made its signature");
        }
        // What a stranger wrote is read by a library with exceptions of many kinds: none of them means trust.
        catch (Exception problem) when (problem is not OutOfMemoryException)
        {
            return new SignatureVerdict(false, $"{FileName} is no signature: {problem.Message}");
        }
    }
}
