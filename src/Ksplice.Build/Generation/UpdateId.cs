// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Generation;

/// <summary>The name of an update: equal inputs have equal ids, on any path and machine.</summary>
public static class UpdateId
{
    // Counts what changes generated modules without changing their inputs.
    private const string Generator = "5";
    private const int Digits = 8;

    /// <summary>
    /// 8 hexadecimal digits from the patches in their order, the updates below and theirs, the kernel and this generator.
    /// </summary>
    public static string Compute(KernelRelease release, IEnumerable<UpdateBase> bases, IEnumerable<ReadOnlyMemory<byte>> patches)
    {
        ArgumentNullException.ThrowIfNull(release);
        ArgumentNullException.ThrowIfNull(bases);
        ArgumentNullException.ThrowIfNull(patches);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string part in (string[])[Generator, release.Release, release.Version, release.CompilerVersion])
            hash.AppendData(Encoding.UTF8.GetBytes(part + "\0"));
        hash.AppendData(SHA256.HashData(File.ReadAllBytes(release.Config)));
        foreach (var below in bases)
        {
            hash.AppendData([.. "base"u8, .. Encoding.ASCII.GetBytes(below.Id)]);
            foreach (var patch in below.Patches)
                hash.AppendData([.. "base"u8, .. SHA256.HashData(patch.Content.Span)]);
        }
        foreach (var patch in patches)
            hash.AppendData(SHA256.HashData(patch.Span));
        return Convert.ToHexStringLower(hash.GetHashAndReset())[..Digits];
    }

    /// <summary>True if <paramref name="id"/> is what <see cref="Compute"/> may have made.</summary>
    public static bool IsWellFormed(string id)
    {
        ArgumentNullException.ThrowIfNull(id);
        return id.Length == Digits && id.All(char.IsAsciiHexDigitLower);
    }
}
