// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Files;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Patching;
using Ksplice.Build.Targets;
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>
/// Looks for the update's new code in a kernel with the fix, as the vendor ships it (<see cref="FutureUnit"/>). A function that this
/// kernel has otherwise is a warning: the vendor's fix may be another, and the update is not worse for it.
/// </summary>
public sealed class VerifyFuture : KspliceTask
{
    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The folder of the kernel cache, if not the usual one.</summary>
    public string? Cache { get; set; }

    /// <summary>The units, with Module.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The list of units.</summary>
    [Required]
    public string UnitsFile { get; set; } = "";

    /// <summary>The description of the update.</summary>
    [Required]
    public string UpdateFile { get; set; } = "";

    /// <summary>The post tree.</summary>
    [Required]
    public string PostTree { get; set; } = "";

    /// <summary>The folder of ksplice/hooks.h.</summary>
    [Required]
    public string IncludeFolder { get; set; } = "";

    /// <summary>The release of the kernel with the fix; not needed if <see cref="Image"/> is given.</summary>
    public string? Release { get; set; }

    /// <summary>Its image; found by the release if not given.</summary>
    public string? Image { get; set; }

    /// <summary>The folder of its modules, if not where its package has them.</summary>
    public string? Modules { get; set; }

    /// <summary>The project, as the place of what is missing in it.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>The folder for the tree without line directives, its objects and the report future.txt.</summary>
    [Required]
    public string OutputFolder { get; set; } = "";

    /// <inheritdoc/>
    protected override async Task<bool> RunAsync(CancellationToken cancellation)
    {
        if (string.IsNullOrEmpty(Release) && string.IsNullOrEmpty(Image))
        {
            Diagnostics.Report(ProjectDiagnostics.NoFuture, new(ProjectFile));
            return false;
        }
        var cache = OpenCache(Cache);
        if (
            KernelReleaseResolver.FindImage(Release ?? "", Image, cache.Root, Diagnostics) is not { } path
            || KernelImage.Open(path, Diagnostics) is not { } image
            || await cache.PrepareAsync(ResolvedKernel.Open(KernelFile).Release, Diagnostics, cancellation).ConfigureAwait(false)
                is not { } kernel
        )
            return false;
        string tree = Path.Combine(OutputFolder, "tree");
        if (!Build.Patching.PostTree.WritePlain(PostTree, tree, Diagnostics, cancellation))
            return false;
        var described = UpdateDescription.Read(UpdateFile, TaskFiles.Remedy).Units.Where(unit => unit.Replaced.Count + unit.New.Count != 0);
        var objects = await CompileAsync(kernel, tree, [.. described], cancellation).ConfigureAwait(false);
        if (Diagnostics.HasErrors)
            return false;
        var units = Match(objects, image, path);
        if (Diagnostics.HasErrors)
            return false;
        foreach (var unit in units)
        {
            foreach (var function in unit.Functions.Where(function => function.Verdict != FutureVerdict.Equal))
                Diagnostics.Report(
                    MatchDiagnostics.NotInFuture,
                    new SourceLocation(unit.Unit),
                    function.Name,
                    unit.Unit,
                    image.Release,
                    function.Reason
                );
        }
        string report = Path.Combine(OutputFolder, "future.txt");
        AtomicFile.Write(report, System.Text.Encoding.UTF8.GetBytes(FutureUnit.Report(image.Banner, units)));
        var (equal, all) = FutureUnit.Count(units);
        Log.LogMessage(
            MessageImportance.High,
            "{0} of {1} functions are in {2} as the update brings them; report: {3}",
            equal,
            all,
            image.Release,
            report
        );
        return true;
    }

    private async Task<List<(UnitDescription Unit, string Object)>> CompileAsync(
        PreparedKernel kernel,
        string tree,
        IReadOnlyList<UnitDescription> units,
        CancellationToken cancellation
    )
    {
        UnitCompiler compiler = new(kernel, Logger);
        string include = Path.GetFullPath(IncludeFolder);
        string[] arguments = [$"-I{include}", $"-ffile-prefix-map={include}/="];
        var added = UnitList.Open(UnitsFile).Units.ToDictionary(unit => unit.Source, unit => unit.Added, StringComparer.Ordinal);
        var objects = new (UnitDescription, string)?[units.Count];
        ParallelOptions parallel = new() { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount };
        await Parallel
            .ForAsync(0, units.Count, parallel, async (i, token) =>
            {
                string source = units[i].Unit;
                var unit = added.GetValueOrDefault(source)
                    ?? kernel.Units.Find(source)
                    ?? throw new DamagedFileException(UpdateFile, $"no unit of this kernel is {source}", TaskFiles.Remedy);
                string output = Path.Combine(OutputFolder, "units", Path.ChangeExtension(source, ".o"));
                if (await compiler.CompileAsync(unit, tree, output, arguments, Diagnostics, token).ConfigureAwait(false) is { } compiled)
                    objects[i] = (units[i], compiled.WithTables ?? compiled.Object);
            })
            .ConfigureAwait(false);
        return [.. objects.OfType<(UnitDescription, string)>()];
    }

    private List<FutureUnit> Match(IReadOnlyList<(UnitDescription Unit, string Object)> objects, KernelImage image, string path)
    {
        ImageMemory memory = new(image);
        ShippedModules modules = new(image.Release, path, Modules ?? "");
        var types = BtfReader.Read(image);
        Dictionary<string, IMatchMemory?> targets = [];
        var moduleOf = Units.ToDictionary(unit => unit.ItemSpec, unit => unit.GetMetadata("Module"), StringComparer.Ordinal);
        List<FutureUnit> units = [];
        foreach (var (unit, file) in objects)
        {
            string module = moduleOf[unit.Unit];
            if (!targets.TryGetValue(module, out var target))
                targets[module] = target =
                    module == UpdateTarget.KernelName ? memory
                    : modules.Open(module, Diagnostics) is { } shipped
                    && LoadedModule.Load(shipped, modules, image, Diagnostics) is { } loaded
                        ? new ModuleMemory(loaded, memory)
                    : null;
            if (target is not null)
                units.Add(FutureUnit.Match(unit, ElfObject.Read(File.ReadAllBytes(file), file), target, types));
        }
        return units;
    }
}
