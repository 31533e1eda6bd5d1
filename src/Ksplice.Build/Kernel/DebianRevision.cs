// SPDX-License-Identifier: MIT
// Debian changes a kernel without changing Linux's version: 6.1.192-3 has other patches than 6.1.192-2. The image's banner ends with the
// version of Debian's package. A source tarball does not say its own, but lies in a package: the package's changelog has it, and where a
// machine leaves out documentation, dpkg's list of what is installed.
using System.IO.Compression;
using System.Text.RegularExpressions;

namespace Ksplice.Build.Kernel;

/// <summary>The version of the Debian package that a kernel or its source comes from.</summary>
internal static partial class DebianRevision
{
    /// <summary>The version in an image's banner, such as 6.1.192-2; empty if it is not Debian's.</summary>
    public static string OfBanner(string banner) => BannerPattern().Match(banner) is { Success: true } match ? match.Groups[1].Value : "";

    /// <summary>The version of the package that <paramref name="source"/> lies in; null if that is not known.</summary>
    public static string? OfSource(string source)
    {
        if (
            PackagePattern().Match(source) is not { Success: true } match
            || Path.GetDirectoryName(source) is not { } folder
            || !folder.EndsWith("/usr/src", StringComparison.Ordinal)
        )
            return null;
        string package = match.Value,
            root = folder[..^"usr/src".Length],
            changelog = Path.Combine(root, "usr/share/doc", package, "changelog.Debian.gz"),
            status = Path.Combine(root, "var/lib/dpkg/status");
        return File.Exists(changelog) ? OfChangelog(changelog)
            : File.Exists(status) ? OfStatus(status, package)
            : null;
    }

    private static string? OfChangelog(string file)
    {
        try
        {
            using StreamReader text = new(new GZipStream(File.OpenRead(file), CompressionMode.Decompress));
            return text.ReadLine() is { } line && ChangelogPattern().Match(line) is { Success: true } match ? match.Groups[1].Value : null;
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    private static string? OfStatus(string file, string package)
    {
        const string Version = "Version: ";
        bool isIn = false;
        foreach (string line in File.ReadLines(file))
        {
            if (line.StartsWith("Package: ", StringComparison.Ordinal))
                isIn = line == "Package: " + package;
            else if (isIn && line.StartsWith(Version, StringComparison.Ordinal))
                return line[Version.Length..].Trim();
        }
        return null;
    }

    [GeneratedRegex(@"#.*Debian (\d+\.\d+\.\d+-\S+)")]
    private static partial Regex BannerPattern();

    [GeneratedRegex(@"linux-source-\d+\.\d+(?=(?:\.tar\.\w+)?$)")]
    private static partial Regex PackagePattern();

    [GeneratedRegex(@"^\S+ \(([^)\s]+)\)")]
    private static partial Regex ChangelogPattern();
}
