// SPDX-License-Identifier: MIT
using Ksplice.Build.Files;
using Ksplice.Build.Generation;

namespace Ksplice.Tasks;

/// <summary>
/// Where the package of the last build is. The build keeps the update's id and version in a file, and not a path: later builds delete
/// the package that the file names, and must delete nothing outside of their own output. A copied project has the file too.
/// </summary>
internal static class PackagePath
{
    /// <summary>What the file keeps of an update: its id, and behind a blank its version if it has one.</summary>
    public static string Text(string id, string? version) => version is null ? id : $"{id} {version}";

    /// <summary>The folder in <paramref name="outputFolder"/> of the package that <paramref name="file"/> tells of, and its id.</summary>
    /// <exception cref="DamagedFileException">It holds no id.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static (string Folder, string Id) Read(string file, string outputFolder)
    {
        string[] words = File.ReadAllText(file).Split(' ', 2);
        string id = words[0];
        string? version = words.Length == 1 ? null : words[1];
        return UpdateId.IsWellFormed(id) && (version is null || UpdateIdentity.IsVersion(version))
            ? (Path.Combine(Path.GetFullPath(outputFolder), UpdatePackage.NameOf(id, version)), id)
            : throw new DamagedFileException(
                file,
                $"'{string.Join(' ', words)}' is no update's id",
                "delete this file and, if it is there, the package"
            );
    }
}
