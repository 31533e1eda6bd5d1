// SPDX-License-Identifier: MIT
using Ksplice.Build.Files;
using Ksplice.Build.Generation;

namespace Ksplice.Tasks;

/// <summary>
/// The file that says where the package of the last build is. Later builds delete what it names, so a path that no build writes is none.
/// </summary>
internal static class PackagePath
{
    /// <summary>The folder of the package of update <paramref name="id"/>.</summary>
    public static string Of(string outputFolder, string id) => Path.Combine(Path.GetFullPath(outputFolder), "ksplice-" + id);

    /// <summary>The folder that the file names.</summary>
    /// <exception cref="DamagedFileException">It names none of a package.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static string Read(string file)
    {
        string folder = File.ReadAllText(file);
        return
            Path.IsPathFullyQualified(folder)
            && Path.GetFileName(folder) is var name
            && name.StartsWith("ksplice-", StringComparison.Ordinal)
            && UpdateId.IsWellFormed(name["ksplice-".Length..])
            ? folder
            : throw new DamagedFileException(file, $"'{folder}' is no package", $"delete this file and, if it is there, the package");
    }
}
