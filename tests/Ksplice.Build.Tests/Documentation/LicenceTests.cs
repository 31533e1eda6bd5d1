// SPDX-License-Identifier: MIT
// A source file says under which licence it is: LICENSE tells which part of the tree has which.
using System.Text.RegularExpressions;

namespace Ksplice.Build.Tests.Documentation;

public sealed partial class LicenceTests
{
    // What has to come first in a file comes before the licence: a script's program, in one file an empty line.
    private const int Lines = 3;
    private const string Script = "a script";

    private static readonly string[] s_folders = ["src", "tests", "samples", "benchmarks", "build"];
    private static readonly string[] s_made = ["artifacts", "bin", "obj", ".git"];
    private static readonly string[] s_extensions = [".cs", ".c", ".h", ".S", ".targets", ".props", ".csproj"];

    [GeneratedRegex(@"^(?://|/\*|#|<!--) SPDX-License-Identifier: (\S+)(?: \*/| -->)?$")]
    private static partial Regex Line();

    [Fact]
    public void Each_source_file_names_its_licence_and_the_kernels_part_has_the_kernels()
    {
        string kernel = Repository.At("src", "Ksplice.Kernel") + Path.DirectorySeparatorChar;
        string[] files =
        [
            .. Directory.EnumerateFiles(Repository.Root),
            .. s_folders.SelectMany(folder => FilesIn(new DirectoryInfo(Repository.At(folder)))),
        ];
        List<string> wrong = [];
        HashSet<string> seen = [];
        foreach (string path in files)
        {
            if (Kind(path) is not { } kind)
                continue;
            seen.Add(kind);
            string? licence = Licence(path);
            bool right = licence is "GPL-2.0" or "GPL-2.0-only" || (licence == "MIT" && !path.StartsWith(kernel, StringComparison.Ordinal));
            if (!right)
                wrong.Add($"{Path.GetRelativePath(Repository.Root, path)}: {licence ?? "no SPDX line"}");
        }
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        // It has looked at all. No file of assembly is here yet.
        Assert.Equal(s_extensions.Except([".S"]).Append(Script).Order(), seen.Order());
    }

    [Fact]
    public void Each_licence_that_a_file_may_name_is_there_and_LICENSE_names_it()
    {
        string page = File.ReadAllText(Repository.At("LICENSE"));
        foreach (string licence in (string[])["MIT", "GPL-2.0-only"])
        {
            Assert.True(File.Exists(Repository.At("LICENSES", licence + ".txt")), licence);
            Assert.Contains($"LICENSES/{licence}.txt", page, StringComparison.Ordinal);
        }
    }

    private static string? Licence(string path) =>
        File.ReadLines(path).Take(Lines).Select(line => Line().Match(line)).FirstOrDefault(match => match.Success)?.Groups[1].Value;

    // What the name of a file or its first two bytes say that it is; null if it is no source.
    private static string? Kind(string path)
    {
        string extension = Path.GetExtension(path);
        if (s_extensions.Contains(extension))
            return extension;
        using var file = File.OpenRead(path);
        return file.ReadByte() == '#' && file.ReadByte() == '!' ? Script : null;
    }

    private static IEnumerable<string> FilesIn(DirectoryInfo folder) =>
        folder
            .EnumerateFiles()
            .Select(file => file.FullName)
            .Concat(
                folder.EnumerateDirectories().Where(inner => inner.LinkTarget is null && !s_made.Contains(inner.Name)).SelectMany(FilesIn)
            );
}
