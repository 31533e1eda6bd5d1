// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;

namespace Ksplice.Build.Processes;

/// <summary>Which package of the distribution has a program: those that a build runs, and those that kbuild runs for it.</summary>
internal static partial class ToolPackages
{
    private static readonly Dictionary<string, string> Packages = new(StringComparer.Ordinal)
    {
        ["ar"] = "binutils",
        ["as"] = "binutils",
        ["awk"] = "mawk",
        ["bc"] = "bc",
        ["bison"] = "bison",
        ["bwrap"] = "bubblewrap",
        ["bzip2"] = "bzip2",
        ["cpio"] = "cpio",
        ["flex"] = "flex",
        ["gcc"] = "gcc",
        ["gzip"] = "gzip",
        ["ld"] = "binutils",
        ["make"] = "make",
        ["nm"] = "binutils",
        ["objcopy"] = "binutils",
        ["objdump"] = "binutils",
        ["openssl"] = "openssl",
        ["pahole"] = "dwarves",
        ["perl"] = "perl",
        ["python3"] = "python3",
        ["readelf"] = "binutils",
        ["rsync"] = "rsync",
        ["strip"] = "binutils",
        ["tar"] = "tar",
        ["xz"] = "xz-utils",
        ["zstd"] = "zstd",
    };

    /// <summary>The package; null if it is not known.</summary>
    public static string? Of(string program) =>
        Packages.TryGetValue(program, out string? package) ? package
        : Compiler().IsMatch(program) ? program
        : null;

    // Debian has a package for each version, by the program's name.
    [GeneratedRegex(@"^gcc-\d+$")]
    private static partial Regex Compiler();
}
