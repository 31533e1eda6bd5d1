// SPDX-License-Identifier: MIT
using System.Text.Json;
using Ksplice.Build.Files;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;

namespace Ksplice.Tasks;

/// <summary>A unit to compile twice.</summary>
/// <param name="Source">Its path in the source tree.</param>
/// <param name="Module">The loadable module that it is part of, or null.</param>
/// <param name="Because">The patched file that it is made from or includes.</param>
public sealed record ListedUnit(string Source, string? Module, string Because)
{
    /// <summary>The unit with its commands, if it is not among those of the kernel: a patched Makefile adds it.</summary>
    public CompilationUnit? Added { get; init; }

    /// <summary>True if this update brings it, and its pre object is that of an empty source.</summary>
    public bool IsNew { get; init; }
}

/// <summary>A unit that no update can replace, to compile twice and to see whether it differs.</summary>
/// <param name="Object">Its object's path in the output tree.</param>
/// <param name="Because">The patched file that it is made from or includes.</param>
public sealed record ApartUnit(string Object, string Because);

/// <summary>Where a line of a patched file comes from.</summary>
/// <param name="Name">The file's name for the compiler.</param>
/// <param name="Number">The line's number there.</param>
/// <param name="Patch">The patch that brought it, or null.</param>
/// <param name="Line">The line in the patch, or in the unpatched file.</param>
public sealed record PatchedLine(string Name, int Number, string? Patch, int Line);

/// <summary>units.json: what the patches touch.</summary>
/// <param name="Id">The update's id.</param>
/// <param name="Units">The units, by source path.</param>
/// <param name="Apart">The units that no update can replace, by object path.</param>
/// <param name="Added">The files that the patches add.</param>
/// <param name="Lines">The lines that patches brought, and those of statements that they changed.</param>
public sealed record UnitList(
    string Id,
    IReadOnlyList<ListedUnit> Units,
    IReadOnlyList<ApartUnit> Apart,
    IReadOnlyList<string> Added,
    IReadOnlyList<PatchedLine> Lines
)
{
    /// <summary>Reads the file.</summary>
    /// <exception cref="DamagedFileException">It is damaged.</exception>
    public static UnitList Open(string path)
    {
        var list = JsonFile.Read(path, TaskFiles.Default.UnitList, TaskFiles.Remedy);
        return UpdateId.IsWellFormed(list.Id) ? list : throw new DamagedFileException(path, $"'{list.Id}' is no id", TaskFiles.Remedy);
    }

    /// <summary>Writes the file.</summary>
    public void Write(string path) => AtomicFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(this, TaskFiles.Default.UnitList));
}
