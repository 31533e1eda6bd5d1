// SPDX-License-Identifier: MIT
// Who signs: a private key and the certificate that goes with it, as the kernel's own scripts/sign-file takes them.
using Ksplice.Build.Diagnostics;
using Org.BouncyCastle.Crypto;
using Org.BouncyCastle.OpenSsl;
using Org.BouncyCastle.Security;
using Org.BouncyCastle.X509;

namespace Ksplice.Build.Generation;

/// <summary>A key and its certificate.</summary>
/// <param name="KeyFile">The path of the private key, PEM.</param>
/// <param name="CertificateFile">The path of the X.509 certificate, PEM or DER.</param>
/// <param name="Key">The key: RSA or ECDSA, which are what the kernel verifies.</param>
/// <param name="Certificate">The certificate.</param>
public sealed record SigningIdentity(string KeyFile, string CertificateFile, AsymmetricKeyParameter Key, X509Certificate Certificate)
{
    /// <summary>The environment variable with the key's passphrase; kbuild's own, so that sign-file reads it too.</summary>
    public const string PassphraseVariable = "KBUILD_SIGN_PIN";

    /// <summary>
    /// Reads both files; null without an error where a project names neither. False after an error, as
    /// when the certificate is another key's.
    /// </summary>
    public static bool TryRead(string keyFile, string certificateFile, DiagnosticBag diagnostics, out SigningIdentity? identity)
    {
        ArgumentNullException.ThrowIfNull(keyFile);
        ArgumentNullException.ThrowIfNull(certificateFile);
        ArgumentNullException.ThrowIfNull(diagnostics);
        identity = null;
        if (keyFile.Length + certificateFile.Length == 0)
            return true;
        try
        {
            if (keyFile.Length == 0 || certificateFile.Length == 0)
                throw new InvalidDataException("a key without a certificate, or the reverse; both are needed");
            var key = ReadKey(keyFile);
            var certificate = new X509CertificateParser().ReadCertificate(File.ReadAllBytes(certificateFile))
                ?? throw new InvalidDataException($"{certificateFile} holds no X.509 certificate");
            byte[] sample = [1];
            if (!PackageSignature.Verify(sample, PackageSignature.Sign(sample, key, certificate), [certificate]).IsTrusted)
                throw new InvalidDataException($"{certificateFile} is not the certificate of {keyFile}");
            identity = new SigningIdentity(keyFile, certificateFile, key, certificate);
            return true;
        }
        catch (Exception problem)
            when (problem
                    is IOException
                        or UnauthorizedAccessException
                        or InvalidDataException
                        or GeneralSecurityException
                        or ArgumentException
                        or InvalidCipherTextException
            )
        {
            diagnostics.Report(
                GenerationDiagnostics.SigningNotPossible,
                new SourceLocation(keyFile.Length == 0 ? certificateFile : keyFile),
                problem.Message
            );
            return false;
        }
    }

    private static AsymmetricKeyParameter ReadKey(string file)
    {
        Passphrase passphrase = new();
        try
        {
            using StreamReader text = new(file);
            using PemReader pem = new(text, passphrase);
            return pem.ReadObject() switch
            {
                AsymmetricCipherKeyPair pair => pair.Private,
                AsymmetricKeyParameter { IsPrivate: true } key => key,
                _ => throw new InvalidDataException($"{file} holds no private key in PEM"),
            };
        }
        catch (IOException e) when (passphrase.IsAsked) // what fails after that is the passphrase
        {
            throw new InvalidDataException($"{file} has a passphrase, and {PassphraseVariable} does not say it", e);
        }
    }

    private sealed class Passphrase : IPasswordFinder
    {
        public bool IsAsked { get; private set; }

        public char[] GetPassword()
        {
            IsAsked = true;
            return Environment.GetEnvironmentVariable(PassphraseVariable)?.ToCharArray() ?? [];
        }
    }
}
