// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Kernel;

/// <summary>What kbuild would run to build one folder of a source tree, as <c>make -n DIR/</c> prints it in seconds.</summary>
/// <param name="Lines">What make printed, with the source tree's path replaced by the kernel's own.</param>
/// <param name="Units">The units of the folder and those below it.</param>
/// <param name="Errors">What make complains about; empty if it does not.</param>
internal sealed partial record FolderListing(IReadOnlyList<string> Lines, UnitDatabase Units, string Errors)
{
    // Not made again, since they are there: the host programs of `prepare`, which even a dry run builds, and the configuration, whose
    // Kconfig files a post tree does not have in full. Without the configuration's rules a Makefile of 6.12 does not ask the compiler which
    // options it knows, unless it is told to. It also starts itself again to switch off make's messages about folders, and does not hand
    // on what is not to be made.
    internal static readonly string[] Kept = ["-o", "prepare", "may-sync-config=", "need-compiler=1", "--no-print-directory"];

    // What make prints for a recipe that does nothing.
    private const string NoCommand = ":";

    /// <summary>
    /// The listing of <paramref name="folder"/> in the tree at <paramref name="sourceRoot"/>; null if make cannot be run.
    /// </summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="output">What <see cref="LinkOutput"/> made.</param>
    /// <param name="sourceRoot">The source tree.</param>
    /// <param name="folder">The folder.</param>
    /// <param name="diagnostics">Takes what keeps make from being run.</param>
    /// <param name="cancellation">Ends make.</param>
    public static async Task<FolderListing?> ReadAsync(
        PreparedKernel kernel,
        string output,
        string sourceRoot,
        string folder,
        DiagnosticBag diagnostics,
        CancellationToken cancellation
    )
    {
        // As kbuild calls the tree.
        string root = KernelCache.RealPath(sourceRoot);
        string[] variables = KernelCache.Variables(kernel.Release);
        List<string> lines = [];
        string[] arguments = ["-f", Path.Combine(root, "Makefile"), .. variables, "-n", "-k", "V=1", "-j1", .. Kept, folder + "/"];
        var make = kernel.Release.Tool("make", arguments) with
        {
            Folder = output,
            Lines = line =>
            {
                if (line != NoCommand)
                    lines.Add(line.Replace(root, kernel.SourceDirectory, StringComparison.Ordinal));
            },
            MayFail = true,
        };
        if (await make.RunAsync(diagnostics, cancellation).ConfigureAwait(false) is not { } made)
            return null;
        string errors = made.Succeeded ? "" : made.Errors.Replace(root, kernel.SourceDirectory, StringComparison.Ordinal).Trim();
        return new FolderListing(lines, UnitDatabase.Parse(lines, kernel.SourceDirectory), errors);
    }

    // Where kbuild puts no object of the kernel.
    private static readonly string[] WithoutObjects = ["include", "scripts", "tools"];

    /// <summary>
    /// Makes <paramref name="output"/> a tree of links to the O= tree of <paramref name="kernel"/>. Folders that may hold objects are real,
    /// since kbuild makes folders for further objects even in a dry run.
    /// </summary>
    public static void LinkOutput(PreparedKernel kernel, string output)
    {
        Link(new DirectoryInfo(kernel.OutputDirectory), output);

        static void Link(DirectoryInfo folder, string copy)
        {
            Directory.CreateDirectory(copy);
            foreach (var entry in folder.EnumerateFileSystemInfos())
            {
                string path = Path.Combine(copy, entry.Name);
                if (entry is DirectoryInfo { LinkTarget: null } inner && !WithoutObjects.Contains(entry.Name, StringComparer.Ordinal))
                    Link(inner, path);
                else
                    File.CreateSymbolicLink(path, entry.FullName);
            }
        }
    }

    /// <summary>
    /// The commands without those that compile <paramref name="objects"/>, and without their names in lists of objects, in an order of
    /// their own: what stays the same if nothing but these objects is added.
    /// </summary>
    public IReadOnlyList<string> Without(IReadOnlyCollection<string> objects)
    {
        Regex own = AnyOf(objects),
            listed = AnyOf(objects.SelectMany(Endings));
        return
        [
            .. Lines
                .Where(line => IsList(line) || !own.IsMatch(line))
                .Select(line => IsList(line) ? EmptyListPattern().Replace(listed.Replace(line, ""), "") : line)
                .Select(line => BlankPattern().Replace(line, " "))
                .Order(StringComparer.Ordinal),
        ];
    }

    private static Regex AnyOf(IEnumerable<string> names)
    {
        var escaped = names.Distinct(StringComparer.Ordinal).Select(Regex.Escape).DefaultIfEmpty("(?!)");
        return new($@"(?<![\w./-])(?:{string.Join('|', escaped)})(?![\w.-])");
    }

    // What goes into an archive, a module or a list of a module's objects.
    private static bool IsList(string line) => !line.Contains(" -D__KERNEL__ ", StringComparison.Ordinal) && ListPattern().IsMatch(line);

    // fs/xfs/libxfs/a.o is libxfs/a.o in the lists of fs/xfs.
    private static IEnumerable<string> Endings(string file)
    {
        for (string rest = file; ; rest = rest[(rest.IndexOf('/', StringComparison.Ordinal) + 1)..])
        {
            yield return rest;
            if (!rest.Contains('/', StringComparison.Ordinal))
                yield break;
        }
    }

    [GeneratedRegex(@"/(?:built-in|lib)\.a\b|\.mod\b| -r -o ")]
    private static partial Regex ListPattern();

    // An archive of nothing is made without a list.
    [GeneratedRegex("""printf "[^"]*" *\| xargs """)]
    private static partial Regex EmptyListPattern();

    [GeneratedRegex(" +")]
    private static partial Regex BlankPattern();
}
