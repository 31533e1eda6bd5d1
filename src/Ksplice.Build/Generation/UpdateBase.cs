// SPDX-License-Identifier: MIT
// What an update stands on is stated, not inferred (K25): two updates may depend on each other without touching the same
// bytes, and then nothing in the kernel's memory tells. The build knows: the patches below were in the source. So each of
// them has to say which update brought it, and the ids travel in the helper; the core asks for them.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Generation;

/// <summary>A patch of an update below.</summary>
/// <param name="Name">Its file name in a package, with its number.</param>
/// <param name="Path">Where it was read.</param>
/// <param name="Content">Its bytes.</param>
public sealed record BasePatch(string Name, string Path, ReadOnlyMemory<byte> Content);

/// <summary>An update that has to be in place already.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Patches">Its patches, in the order of their application.</param>
public sealed record UpdateBase(string Id, IReadOnlyList<BasePatch> Patches);

/// <summary>Finds the updates that one goes on top of, direct and indirect ones, the lowest first.</summary>
public static class UpdateBases
{
    /// <summary>
    /// What the project names: <paramref name="packages"/>, each of which brings those that it stands on itself, then
    /// <paramref name="patches"/> with the ids of their updates. Null after an error.
    /// </summary>
    /// <param name="release">The kernel of the project.</param>
    /// <param name="packages">Folders or archives.</param>
    /// <param name="patches">Patch files, each with the id of its update.</param>
    /// <param name="diagnostics">Takes what is wrong.</param>
    public static IReadOnlyList<UpdateBase>? Resolve(
        string release,
        IReadOnlyList<string> packages,
        IReadOnlyList<(string Path, string UpdateId)> patches,
        DiagnosticBag diagnostics
    )
    {
        ArgumentNullException.ThrowIfNull(packages);
        ArgumentNullException.ThrowIfNull(patches);
        ArgumentNullException.ThrowIfNull(diagnostics);
        DiagnosticBag found = [];
        List<UpdateBase> bases = [];
        foreach (string path in packages)
        {
            if (UpdatePackage.Open(path, found) is not { } package)
                continue;
            if (package.Manifest.Kernel.Release != release)
                found.Report(
                    ProjectDiagnostics.BaseOfOtherKernel,
                    new SourceLocation(path),
                    package.Manifest.Id,
                    package.Manifest.Kernel.Release,
                    release
                );
            else
            {
                foreach (var part in Parts(path, package))
                    Add(bases, part, found);
            }
        }
        foreach (var part in Groups(patches, found))
            Add(bases, part, found);
        foreach (var diagnostic in found)
            diagnostics.Add(diagnostic);
        return found.HasErrors ? null : bases;
    }

    /// <summary>The files that a package consists of.</summary>
    public static IEnumerable<string> FilesOf(string package) =>
        Directory.Exists(package) ? Directory.GetFiles(package, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal) : [package];

    private static IEnumerable<UpdateBase> Parts(string path, UpdatePackage package)
    {
        foreach (
            var (id, patches) in package
                .Manifest.Base.Select(part => (part.Id, part.Patches))
                .Append((package.Manifest.Id, package.Manifest.Patches))
        )
            yield return new UpdateBase(
                id,
                [.. patches.Select(patch => new BasePatch(Path.GetFileName(patch), Path.Combine(path, patch), package.Files[patch]))]
            );
    }

    private static List<UpdateBase> Groups(IReadOnlyList<(string Path, string UpdateId)> patches, DiagnosticBag diagnostics)
    {
        List<UpdateBase> groups = [];
        foreach (var (path, id) in patches)
        {
            string name = Path.GetFileName(path);
            if (!UpdateId.IsWellFormed(id))
            {
                diagnostics.Report(
                    ProjectDiagnostics.NoUpdateOfBase,
                    new SourceLocation(path),
                    name,
                    id.Length == 0 ? "has no UpdateId" : $"has the UpdateId '{id}', which is not eight digits of 0-9 and a-f"
                );
                continue;
            }
            if (groups.Count == 0 || groups[^1].Id != id)
            {
                if (groups.Exists(group => group.Id == id))
                {
                    diagnostics.Report(ProjectDiagnostics.BaseApart, new SourceLocation(path), name, id, groups[^1].Id);
                    continue;
                }
                groups.Add(new UpdateBase(id, []));
            }
            try
            {
                groups[^1] = groups[^1] with
                {
                    Patches =
                    [
                        .. groups[^1].Patches,
                        new(UpdatePackage.PatchName(groups[^1].Patches.Count + 1, path), path, File.ReadAllBytes(path)),
                    ],
                };
            }
            catch (Exception problem) when (problem is IOException or UnauthorizedAccessException)
            {
                diagnostics.Report(PatchingDiagnostics.PatchUnreadable, new SourceLocation(path), problem.Message);
            }
        }
        return groups;
    }

    // Two updates may stand on one and the same third.
    private static void Add(List<UpdateBase> bases, UpdateBase part, DiagnosticBag diagnostics)
    {
        if (bases.Find(other => other.Id == part.Id) is not { } known)
            bases.Add(part);
        else if (
            known.Patches.Count != part.Patches.Count
            || known.Patches.Zip(part.Patches).Any(pair => !pair.First.Content.Span.SequenceEqual(pair.Second.Content.Span))
        )
            diagnostics.Report(ProjectDiagnostics.BasesDiffer, Place(part), part.Id, Place(known));
    }

    private static SourceLocation? Place(UpdateBase part) => part.Patches.Count == 0 ? null : new SourceLocation(part.Patches[0].Path);
}
