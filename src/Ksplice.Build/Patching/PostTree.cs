// SPDX-License-Identifier: MIT
// The post tree: the patched source. Every file is a symbolic link to the pre tree's, only patched files are files. Where a
// patched file may be included by others, every folder is real, so that `#include "../x.h"` finds it from anywhere (a system
// call for each of the kernel's files); where only units' own sources are patched, only the folders that lead to them are.
//
// Nothing half done is ever taken for whole: patches are applied in memory first; the farm of links is made beside its
// place and renamed into it; each file is written under another name and renamed; and the state file (.ksplice-tree.json)
// says "not complete", with every path that may differ from the pre tree, before the first change and "complete" after
// the last. A later run takes back exactly what the state file lists. Files whose content stays are not touched, so that
// time stamps mean something.

using System.Security.Cryptography;
using System.Text;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Patching;

/// <summary>A patched file of a post tree.</summary>
/// <param name="Path">Relative to the root of the tree.</param>
/// <param name="Kind">What the file is.</param>
/// <param name="Change">What the patches do to it.</param>
/// <param name="Digest">SHA-256 of the file in the post tree in lower-case hex; empty for a deleted file.</param>
/// <param name="PatchedLines">The lines that patches brought and those of statements that they changed, as the compiler knows them.</param>
public sealed record PatchedFile(
    string Path,
    PatchedFileKind Kind,
    FileChange Change,
    string Digest,
    IReadOnlyList<NumberedLine> PatchedLines
);

/// <summary>A written post tree.</summary>
/// <param name="Root">Its folder.</param>
/// <param name="Files">The files that differ from the pre tree, by path.</param>
public sealed record PostTree(string Root, IReadOnlyList<PatchedFile> Files)
{
    /// <summary>
    /// Applies <paramref name="patches"/> in order to the tree at <paramref name="sourceRoot"/> and makes
    /// <paramref name="postRoot"/> the result, or brings it up to date. Null after an error; then the old tree, if there
    /// was one, is as it was. <paramref name="mayInclude"/> says whether others can include a source; headers always can be.
    /// </summary>
    public static PostTree? Write(
        string sourceRoot,
        string postRoot,
        IReadOnlyList<SourcePatch> patches,
        DiagnosticBag bag,
        Func<string, bool>? mayInclude = null,
        CancellationToken cancellationToken = default
    )
    {
        sourceRoot = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(sourceRoot));
        postRoot = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(postRoot));
        try
        {
            return Plan(sourceRoot, patches, bag) is { } plan && WritePlan(sourceRoot, postRoot, plan, mayInclude, bag, cancellationToken)
                ? new PostTree(postRoot, [.. plan.Select(file => file.Patched)])
                : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            bag.Report(PatchingDiagnostics.PostTreeFailed, new SourceLocation(postRoot), e.Message);
            return null;
        }
    }

    /// <summary>
    /// Makes <paramref name="plainRoot"/> the post tree at <paramref name="postRoot"/> without line directives: as a vendor compiles it
    /// who has applied the patches. False after an error.
    /// </summary>
    public static bool WritePlain(string postRoot, string plainRoot, DiagnosticBag bag, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(bag);
        postRoot = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(postRoot));
        plainRoot = System.IO.Path.TrimEndingDirectorySeparator(System.IO.Path.GetFullPath(plainRoot));
        try
        {
            if (LinkFarm.ReadState(postRoot) is not { Complete: true } post)
            {
                bag.Report(PatchingDiagnostics.PostTreeFailed, new SourceLocation(postRoot), "it is not whole: build again");
                return false;
            }
            return Fill(
                new LinkFarm(post.SourceRoot, plainRoot, post.Folders?.ToHashSet(StringComparer.Ordinal)),
                plainRoot,
                [
                    .. post.Patched.Select(path =>
                        (path, ReadIfThere(System.IO.Path.Combine(postRoot, path)) is { } content ? LineDirectives.Remove(content) : null)
                    ),
                ],
                bag,
                cancellationToken
            );
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            bag.Report(PatchingDiagnostics.PostTreeFailed, new SourceLocation(plainRoot), e.Message);
            return false;
        }
    }

    /// <summary>The files that differ between this tree and <paramref name="other"/>, which is made from the same pre tree.</summary>
    public IReadOnlyList<PatchedFile> ChangesSince(PostTree other)
    {
        ArgumentNullException.ThrowIfNull(other);
        var before = other.Files.ToDictionary(file => file.Path, StringComparer.Ordinal);
        var taken = Files.Select(file => file.Path).ToHashSet(StringComparer.Ordinal);
        return
        [
            .. Files
                .Where(file => !before.TryGetValue(file.Path, out var was) || was.Digest != file.Digest)
                .Concat(other.Files.Where(file => !taken.Contains(file.Path)))
                .OrderBy(file => file.Path, StringComparer.Ordinal),
        ];
    }

    private sealed record PlannedFile(PatchedFile Patched, byte[]? Content);

    private static List<PlannedFile>? Plan(string sourceRoot, IReadOnlyList<SourcePatch> patches, DiagnosticBag bag)
    {
        var kinds = new Dictionary<string, PatchedFileKind?>(StringComparer.Ordinal);
        var failed = false;
        var wanted = new List<SourcePatch>();
        foreach (var patch in patches)
        {
            var files = new List<FilePatch>();
            foreach (var file in patch.Files)
            {
                // A mode alone is nothing that is compiled, whoever's it is.
                if (file.Hunks.Count == 0 && file.Change == FileChange.Modified)
                    continue;
                var location = new SourceLocation(patch.Path, file.Line, 1);
                if (!kinds.TryGetValue(file.Path, out var kind))
                {
                    var verdict = new DiagnosticBag();
                    kind = kinds[file.Path] = PatchedPath.Classify(file.Path, location, verdict);
                    foreach (var diagnostic in verdict)
                        bag.Add(diagnostic);
                    failed |= verdict.HasErrors;
                }
                if (kind is null)
                    continue;
                if (SymbolicLinkOn(sourceRoot, file.Path) is { } link)
                {
                    bag.Report(PatchingDiagnostics.PathOutsideTree, location, file.Path, $"{link} is a symbolic link");
                    failed = true;
                }
                else
                    files.Add(file);
            }
            wanted.Add(patch with { Files = files });
        }
        if (failed)
            return null;
        var applied = PatchApplier.Apply(wanted, path => ReadIfThere(System.IO.Path.Combine(sourceRoot, path)), bag);
        if (applied is null)
            return null;
        // The patches of an upper update may take back those of a lower one.
        if (applied.Count == 0 && patches.All(patch => patch.Update == patches[0].Update))
        {
            bag.Report(PatchingDiagnostics.NothingCompiled, patches.Count == 0 ? null : new SourceLocation(patches[0].Path), "");
            return null;
        }
        foreach (var file in applied.Where(file => kinds[file.Path] == PatchedFileKind.Makefile))
            failed |= !CheckMakefile(file, bag);
        return failed ? null : [.. applied.Select(file => PlanFile(file, kinds[file.Path]!.Value))];
    }

    private static bool CheckMakefile(AppliedFile file, DiagnosticBag bag)
    {
        if (file is not { Before: { } before, After: { } after })
        {
            bag.Report(PatchingDiagnostics.BuildInput, new SourceLocation(file.Path), file.Path, PatchedPath.BuildDecision);
            return false;
        }
        if (ObjectList.Foreign(before, after) is not { } line)
            return true;
        bag.Report(
            PatchingDiagnostics.BuildInput,
            line.PatchPath is null
                ? new SourceLocation(file.Path, line.OriginalLine, 1)
                : new SourceLocation(line.PatchPath, line.PatchLine, 1),
            file.Path,
            $"only lists of objects may change in it, and '{line.Text.Trim()}' belongs to none"
        );
        return false;
    }

    private static PlannedFile PlanFile(AppliedFile file, PatchedFileKind kind)
    {
        if (file.After is null)
            return new PlannedFile(new PatchedFile(file.Path, kind, FileChange.Deleted, "", []), null);
        if (kind == PatchedFileKind.Makefile)
            return PlanMakefile(file.Path, file.After);
        var content = LineDirectives.Restore(file.After, file.Path, out var numbers);
        var change = file.Before is null ? FileChange.Added : FileChange.Modified;
        return new PlannedFile(
            new PatchedFile(file.Path, kind, change, Convert.ToHexStringLower(SHA256.HashData(content)), numbers),
            content
        );
    }

    // Its lines keep the numbers that they have.
    private static PlannedFile PlanMakefile(string path, SourceText text)
    {
        var content = Encoding.Latin1.GetBytes(string.Concat(text.Lines.Select(line => line.Text)));
        return new PlannedFile(
            new PatchedFile(
                path,
                PatchedFileKind.Makefile,
                FileChange.Modified,
                Convert.ToHexStringLower(SHA256.HashData(content)),
                [.. text.Lines.Select((line, i) => new NumberedLine(path, i + 1, line)).Where(line => line.Line.OriginalLine == 0)]
            ),
            content
        );
    }

    private static bool WritePlan(
        string sourceRoot,
        string postRoot,
        List<PlannedFile> plan,
        Func<string, bool>? mayInclude,
        DiagnosticBag bag,
        CancellationToken cancellationToken
    )
    {
        var farm = new LinkFarm(sourceRoot, postRoot, RealFolders(plan, mayInclude));
        return Fill(farm, postRoot, [.. plan.Select(file => (file.Patched.Path, file.Content))], bag, cancellationToken);
    }

    private static bool Fill(
        LinkFarm farm,
        string root,
        IReadOnlyList<(string Path, byte[]? Content)> files,
        DiagnosticBag bag,
        CancellationToken cancellationToken
    )
    {
        if (!farm.Open(cancellationToken))
        {
            bag.Report(PatchingDiagnostics.NotAPostTree, new SourceLocation(root), root);
            return false;
        }
        var paths = files.Select(file => file.Path).ToList();
        if (!farm.State.Complete || !farm.State.Patched.SequenceEqual(paths, StringComparer.Ordinal))
            farm.Save(complete: false, [.. farm.State.Patched.Union(paths, StringComparer.Ordinal).Order(StringComparer.Ordinal)]);
        foreach (var path in farm.State.Patched.Except(paths, StringComparer.Ordinal).ToList())
            farm.Restore(path);
        foreach (var (path, content) in files)
        {
            cancellationToken.ThrowIfCancellationRequested();
            farm.Put(path, content);
        }
        farm.Save(complete: true, paths);
        return true;
    }

    // Null where a patched file may be included, from wherever.
    private static HashSet<string>? RealFolders(List<PlannedFile> plan, Func<string, bool>? mayInclude)
    {
        if (plan.Exists(file => file.Patched.Kind == PatchedFileKind.Header || mayInclude?.Invoke(file.Patched.Path) == true))
            return null;
        HashSet<string> folders = new(StringComparer.Ordinal);
        foreach (var file in plan)
        {
            for (
                var folder = System.IO.Path.GetDirectoryName(file.Patched.Path);
                !string.IsNullOrEmpty(folder);
                folder = System.IO.Path.GetDirectoryName(folder)
            )
                folders.Add(folder);
        }
        return folders;
    }

    private static byte[]? ReadIfThere(string path) => File.Exists(path) ? File.ReadAllBytes(path) : null;

    /// <summary>The first part of <paramref name="path"/> that is a symbolic link, or null.</summary>
    private static string? SymbolicLinkOn(string root, string path)
    {
        var parts = path.Split('/');
        for (var count = 1; count <= parts.Length; count++)
        {
            var part = string.Join('/', parts, 0, count);
            if (new FileInfo(System.IO.Path.Combine(root, part)).LinkTarget is not null)
                return part;
        }
        return null;
    }
}
