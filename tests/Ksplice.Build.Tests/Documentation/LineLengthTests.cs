// SPDX-License-Identifier: MIT
// The formatter does not break strings, comments and XML: this tells of what it leaves.
namespace Ksplice.Build.Tests.Documentation;

public sealed class LineLengthTests
{
    private const int Most = 140;

    private static readonly string[] s_folders = ["src", "tests", "samples", "benchmarks", "build"];
    private static readonly string[] s_made = ["artifacts", "bin", "obj", ".git"];
    private static readonly string[] s_extensions = [".cs", ".c", ".h", ".targets", ".props", ".csproj"];

    [Fact]
    public void No_line_is_longer_than_140_columns()
    {
        string[] files =
        [
            .. Directory.EnumerateFiles(Repository.Root),
            .. s_folders.SelectMany(folder => FilesIn(new DirectoryInfo(Repository.At(folder)))),
        ];
        List<string> tooLong = [];
        HashSet<string> seen = [];
        foreach (string path in files.Where(path => s_extensions.Contains(Path.GetExtension(path))))
        {
            seen.Add(Path.GetExtension(path));
            tooLong.AddRange(
                File.ReadLines(path)
                    .Index()
                    .Where(line => line.Item.Length > Most)
                    .Select(line => $"{Path.GetRelativePath(Repository.Root, path)}:{line.Index + 1}: {line.Item.Length} columns")
            );
        }
        Assert.True(tooLong.Count == 0, string.Join('\n', tooLong));
        // It has looked at all.
        Assert.Equal(s_extensions.Order(), seen.Order());
    }

    private static IEnumerable<string> FilesIn(DirectoryInfo folder) =>
        folder
            .EnumerateFiles()
            .Select(file => file.FullName)
            .Concat(
                folder.EnumerateDirectories().Where(inner => inner.LinkTarget is null && !s_made.Contains(inner.Name)).SelectMany(FilesIn)
            );
}
