// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Tasks;

/// <summary>Where a person finds a line of the kernel's source: in the patch if it brought the line, else in the post tree.</summary>
internal static class PatchedSource
{
    /// <summary>The place of <paramref name="location"/>, whose path is one of the source tree.</summary>
    public static SourceLocation Find(SourceLocation location, UnitList? units, string postTree)
    {
        if (Path.IsPathRooted(location.Path))
            return location;
        string path = Path.GetFullPath(location.Path, "/")[1..];
        var line = location.Line == 0 ? null : units?.Lines.FirstOrDefault(line => line.File == path && line.Line == location.Line);
        return line is not null
            ? new SourceLocation(line.Patch, line.PatchLine, 1)
            : location with
            {
                Path = Path.Combine(Path.GetFullPath(postTree), path),
            };
    }
}
