// SPDX-License-Identifier: MIT
// The units that patched Makefiles add. kbuild itself says what a Makefile means: the folder is listed from the kernel's tree and from the
// post tree, in a folder of links to the prepared tree, which is never written. All that may differ is commands that make new objects, and
// these objects' names in lists. What else differs (flags of other units, objects that are gone, other steps) is refused.
//
// A Makefile may have been patched by an update below too. What that added is in the post tree's listing as well, and in that of the pre
// tree, which tells what this update adds itself.
using System.Collections.Immutable;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;
using Ksplice.Build.Processes;

namespace Ksplice.Build.Kernel;

/// <summary>Finds the units that patched Makefiles add.</summary>
internal sealed class AddedUnits(PreparedKernel kernel, PostTree tree, PostTree? below, DiagnosticBag diagnostics)
{
    private readonly List<AffectedUnit> _units = [];
    private readonly HashSet<string?> _modules = [.. kernel.Units.Units.Select(unit => unit.Module)];

    /// <summary>The added units; null after an error.</summary>
    public async Task<IReadOnlyList<AffectedUnit>?> FindAsync(CancellationToken cancellation)
    {
        string[] makefiles =
        [
            .. tree
                .Files.Concat(below?.Files ?? [])
                .Where(file => file.Kind == PatchedFileKind.Makefile)
                .Select(file => file.Path)
                .Distinct(StringComparer.Ordinal)
                .Order(StringComparer.Ordinal),
        ];
        if (makefiles.Length == 0)
            return [];
        if (
            !ToolPath.CheckForKbuild(
                "the folder of the patched tree",
                KernelCache.RealPath(tree.Root),
                "build a project whose patches change a Makefile in another folder, or set KspliceIntermediatePath",
                diagnostics
            )
        )
            return null;
        var work = Directory.CreateTempSubdirectory("ksplice-listing-");
        try
        {
            string output = Path.Combine(work.FullName, KernelCache.OutputFolder);
            FolderListing.LinkOutput(kernel, output);
            bool good = true;
            foreach (string path in makefiles)
                good &= await ReadAsync(path, output, cancellation).ConfigureAwait(false);
            return good ? _units : null;
        }
        finally
        {
            work.Delete(recursive: true);
        }
    }

    private async Task<bool> ReadAsync(string makefile, string output, CancellationToken cancellation)
    {
        string folder = Path.GetDirectoryName(makefile)!;
        bool isChanged = tree.Files.Any(file => file.Path == makefile);
        var before = await ListAsync(kernel.SourceDirectory).ConfigureAwait(false);
        var after = await ListAsync(tree.Root).ConfigureAwait(false);
        if (before is null || after is null)
            return false;
        string[] added = [.. Objects(after).Except(Objects(before), StringComparer.Ordinal)];
        var units = after.Units.Units.Concat(after.Units.Apart).Where(unit => added.Contains(unit.Object, StringComparer.Ordinal)).ToList();
        if ((units.Select(Problem).FirstOrDefault(found => found is not null) ?? Problem(before, after, added)) is { } problem)
        {
            Refuse(makefile, problem);
            return false;
        }
        var pre =
            !isChanged ? after
            : below?.Files.Any(file => file.Path == makefile) == true ? await ListAsync(below.Root).ConfigureAwait(false)
            : before;
        if (pre is null)
            return false;
        var old = Objects(pre);
        _units.AddRange(
            units.Select(unit => new AffectedUnit(
                unit.Objtool.IsEmpty ? unit with { LinkObjtool = LinkObjtoolOf(unit) } : unit,
                unit.Source
            )
            {
                Origin = old.Contains(unit.Object) ? UnitOrigin.Below : UnitOrigin.New,
            })
        );
        return !isChanged || CheckUse(makefile, added);

        Task<FolderListing?> ListAsync(string root) => FolderListing.ReadAsync(kernel, output, root, folder, diagnostics, cancellation);
    }

    // The listing of a folder does not tell how what is linked later is treated.
    private ImmutableArray<string> LinkObjtoolOf(CompilationUnit added) =>
        kernel.Units.Units.FirstOrDefault(unit => (unit.Module is null) == (added.Module is null) && !unit.LinkObjtool.IsEmpty)?.LinkObjtool
        ?? [];

    private static HashSet<string> Objects(FolderListing listing) =>
        [.. listing.Units.Units.Concat(listing.Units.Apart).Select(unit => unit.Object)];

    private static string? Problem(FolderListing before, FolderListing after, string[] added)
    {
        if (after.Errors != before.Errors)
            return $"make does not take it: {after.Errors.Split('\n')[0]}";
        if (before.Without([]).SequenceEqual(after.Without(added), StringComparer.Ordinal))
            return null;
        var units = after.Units.Units.Concat(after.Units.Apart).ToDictionary(unit => unit.Object, StringComparer.Ordinal);
        foreach (var unit in before.Units.Units.Concat(before.Units.Apart))
        {
            if (!units.TryGetValue(unit.Object, out var now))
                return $"it takes {unit.Source} out of the build";
            if (!now.Compiler.SequenceEqual(unit.Compiler, StringComparer.Ordinal) || now.Module != unit.Module)
                return $"it changes how {unit.Source} is compiled";
        }
        return "it changes more of the build than which objects are new";
    }

    private string? Problem(CompilationUnit unit) =>
        unit.Apart is not null ? $"it adds {unit.Source} to {unit.Apart}, and no update can replace that"
        : _modules.Contains(unit.Module) ? null
        : $"it makes a module of its own of {unit.Source} ({unit.Module}), and no running kernel has that module; "
            + "build it against the kernel's headers and load it";

    // An added source that the Makefile names and kbuild does not build is told here, where the option is known.
    private bool CheckUse(string makefile, string[] added)
    {
        var lines = tree.Files.First(file => file.Path == makefile).PatchedLines;
        var set = KernelConfiguration.Read(kernel.Release.Config).Options;
        bool any = added.Length != 0,
            good = true;
        foreach (
            var file in tree.Files.Where(file =>
                file.Change == FileChange.Added && !added.Contains(Path.ChangeExtension(file.Path, ".o"), StringComparer.Ordinal)
            )
        )
        {
            if (ObjectList.OptionsOf(makefile, lines.Select(line => line.Line.Text), file.Path) is not { } options)
                continue;
            string[] off = [.. options.Where(option => !set.ContainsKey(option))];
            diagnostics.Report(
                PatchingDiagnostics.AddedUnused,
                AffectedUnits.Place(file),
                file.Path,
                off.Length == 0
                    ? $"the list of {makefile} that names it is not built in the configuration of {kernel.Release.Release}"
                    : $"{makefile} builds it only with {string.Join(", ", off)}, which the configuration of "
                        + $"{kernel.Release.Release} does not set"
            );
            any = true;
            good = false;
        }
        if (!any)
            diagnostics.Report(
                PatchingDiagnostics.FileIgnored,
                AffectedUnits.Place(tree.Files.First(file => file.Path == makefile)),
                makefile,
                $"it adds nothing to what the configuration of {kernel.Release.Release} builds"
            );
        return good;
    }

    private void Refuse(string makefile, string problem)
    {
        var place = tree.Files.FirstOrDefault(file => file.Path == makefile) is { } file
            ? AffectedUnits.Place(file)
            : new SourceLocation(makefile);
        diagnostics.Report(PatchingDiagnostics.BuildInput, place, makefile, problem);
    }
}
