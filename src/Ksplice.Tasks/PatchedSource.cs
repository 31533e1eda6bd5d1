// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Tasks;

/// <summary>
/// Where a person finds a line of the kernel's source: in the patch if it brought the line, else in the unpatched source; in the post
/// tree if only that has the file.
/// </summary>
internal static class PatchedSource
{
    /// <summary>The place of <paramref name="location"/>, whose path is one of the source tree, as the compiler names it.</summary>
    public static SourceLocation Find(SourceLocation location, UnitList units, string sourceTree, string postTree)
    {
        string name = Path.IsPathRooted(location.Path) ? location.Path : Path.GetFullPath(location.Path, "/")[1..];
        string path = LineDirectives.PathOf(name);
        if (Path.IsPathRooted(path))
            return location;
        var line = location.Line == 0 ? null : units.Lines.FirstOrDefault(line => line.Name == name && line.Number == location.Line);
        if (line?.Patch is { } patch)
            return new SourceLocation(patch, line.Line, 1);
        string original = Path.Combine(sourceTree, path);
        return location with
        {
            Path = File.Exists(original) ? original : Path.Combine(Path.GetFullPath(postTree), path),
            Line = line?.Line ?? location.Line,
        };
    }
}
