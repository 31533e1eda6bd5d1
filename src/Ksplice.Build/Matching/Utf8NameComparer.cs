// SPDX-License-Identifier: MIT
using System.Text;

namespace Ksplice.Build.Matching;

/// <summary>Compares names by their UTF-8, so that one in match data finds a string without becoming one.</summary>
internal sealed class Utf8NameComparer : IEqualityComparer<string>, IAlternateEqualityComparer<ReadOnlySpan<byte>, string>
{
    public static readonly Utf8NameComparer Instance = new();

    public bool Equals(string? x, string? y) => string.Equals(x, y, StringComparison.Ordinal);

    public bool Equals(ReadOnlySpan<byte> alternate, string other) =>
        Ascii.Equals(alternate, other) || (!Ascii.IsValid(alternate) && Create(alternate) == other);

    public string Create(ReadOnlySpan<byte> alternate) => Encoding.UTF8.GetString(alternate);

    public int GetHashCode(string obj) => GetHashCode(Encoding.UTF8.GetBytes(obj));

    // FNV-1a: names are short.
    public int GetHashCode(ReadOnlySpan<byte> alternate)
    {
        uint hash = 0x811c9dc5;
        foreach (byte one in alternate)
            hash = (hash ^ one) * 0x01000193;
        return (int)hash;
    }
}
