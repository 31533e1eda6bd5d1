// SPDX-License-Identifier: MIT
using Ksplice.Build.Files;
using Ksplice.Build.Generation;

namespace Ksplice.Tasks;

/// <summary>
/// Where the package of the last build is. The build keeps the update's id in a file, and not a path: later builds delete the package that
/// the file names, and must delete nothing outside of their own output. A copied project has the file too.
/// </summary>
internal static class PackagePath
{
    /// <summary>The folder of the package of update <paramref name="id"/>.</summary>
    public static string Of(string outputFolder, string id) => Path.Combine(Path.GetFullPath(outputFolder), "ksplice-" + id);

    /// <summary>The folder in <paramref name="outputFolder"/> of the package whose id stands in <paramref name="file"/>.</summary>
    /// <exception cref="DamagedFileException">It holds no id.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static string Read(string file, string outputFolder)
    {
        string id = File.ReadAllText(file);
        return UpdateId.IsWellFormed(id)
            ? Of(outputFolder, id)
            : throw new DamagedFileException(file, $"'{id}' is no update's id", "delete this file and, if it is there, the package");
    }
}
