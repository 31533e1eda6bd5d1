// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>
/// Compiles every unit from the pre tree and from the post tree, those side by side whose record does not hold. Units that no update can
/// replace must come out the same from both, and every source that the patches add must have been read. The time of its own record moves
/// only when an object was made.
/// </summary>
public sealed class CompileUnits : PatchTask
{
    /// <summary>The units, with Pre and Post.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The updates that this one goes on top of, as <see cref="ApplyPatches"/> wrote them.</summary>
    [Required]
    public string BasesFile { get; set; } = "";

    /// <summary>The folder of the pre tree, where there are such updates.</summary>
    [Required]
    public string BaseTree { get; set; } = "";

    /// <summary>The post tree.</summary>
    [Required]
    public string PostTree { get; set; } = "";

    /// <summary>The folder of ksplice/hooks.h.</summary>
    [Required]
    public string IncludeFolder { get; set; } = "";

    /// <inheritdoc/>
    protected override bool RemovesRecord => false;

    private sealed record Job(CompilationUnit Unit, string Root, string Object, string[] Arguments, string Side, DiagnosticBag Said);

    /// <inheritdoc/>
    protected override async Task<bool> RunAsync(CancellationToken cancellation)
    {
        var kernel = await OpenCache(Cache)
            .PrepareAsync(ResolvedKernel.Open(KernelFile).Release, Diagnostics, cancellation)
            .ConfigureAwait(false);
        if (kernel is null)
            return false;
        UnitCompiler compiler = new(kernel, Logger);
        string[] arguments = [$"-I{Path.GetFullPath(IncludeFolder)}", $"-ffile-prefix-map={Path.GetFullPath(IncludeFolder)}/="];
        int below = BaseList.Open(BasesFile).Count;
        string[] marks = [.. Enumerable.Range(1, below).Select(LineDirectives.MarkMap)];
        arguments = [.. arguments, .. marks];
        List<Job> jobs = [];
        string preTree = below == 0 ? kernel.SourceDirectory : Path.GetFullPath(BaseTree);
        var list = UnitList.Open(UnitsFile);
        var listedUnits = list.Units.ToDictionary(unit => unit.Source, StringComparer.Ordinal);
        foreach (var item in Units)
        {
            var listedUnit = listedUnits.GetValueOrDefault(item.ItemSpec);
            var unit = listedUnit?.Added
                ?? kernel.Units.Find(item.ItemSpec)
                ?? throw new DamagedFileException(UnitsFile, $"no unit of this kernel is {item.ItemSpec}", TaskFiles.Remedy);
            var preUnit = listedUnit?.IsNew == true ? UnitCompiler.WithoutSource(unit) : unit;
            jobs.Add(new Job(preUnit, preTree, item.GetMetadata("Pre"), arguments, "pre", Diagnostics));
            jobs.Add(new Job(unit, Path.GetFullPath(PostTree), item.GetMetadata("Post"), arguments, "post", Diagnostics));
        }
        List<(ApartUnit Listed, Job Pre, Job Post)> apart = [];
        foreach (var listed in list.Apart)
        {
            var unit = kernel.Units.Apart.FirstOrDefault(unit => unit.Object == listed.Object)
                ?? throw new DamagedFileException(UnitsFile, $"no unit of this kernel makes {listed.Object}", TaskFiles.Remedy);
            string stem = Path.Combine(Path.GetDirectoryName(UnitsFile)!, "apart", Path.ChangeExtension(listed.Object, null));
            apart.Add(
                (
                    listed,
                    new Job(unit, preTree, stem + ".pre.o", marks, "pre", []),
                    new Job(unit, Path.GetFullPath(PostTree), stem + ".post.o", marks, "post", [])
                )
            );
        }
        jobs.AddRange(apart.SelectMany(unit => new[] { unit.Pre, unit.Post }));
        int made = 0;
        SparseProgress progress = new(
            TimeProvider.System,
            done => Log.LogMessage(MessageImportance.High, "{0} of {1} objects are compiled", done, jobs.Count),
            jobs.Count
        );
        ParallelOptions parallel = new() { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount };
        await Parallel
            .ForEachAsync(jobs, parallel, async (job, token) =>
            {
                if (await CompileAsync(compiler, job, token).ConfigureAwait(false))
                    Interlocked.Increment(ref made);
                progress.Add();
            })
            .ConfigureAwait(false);
        foreach (var (listed, pre, post) in apart)
            await CheckApartAsync(compiler, listed, pre, post, cancellation).ConfigureAwait(false);
        // What a unit reads that did not compile is not known.
        if (list.Added.Count != 0 && !Diagnostics.HasErrors)
            CheckAdded(list.Added, jobs);
        if (Diagnostics.HasErrors)
        {
            StageRecord.Remove(Record);
            return false;
        }
        if (
            Record is not null
            && (made != 0 || !File.Exists(Record) || File.GetLastWriteTimeUtc(Record) < File.GetLastWriteTimeUtc(UnitsFile))
        )
            StageRecord.Write(Record, "", [UnitsFile], jobs.SelectMany(job => UnitCompiler.FilesOf(job.Object)).Where(File.Exists));
        return true;
    }

    // What reads a file that only a whole build makes does not compile from the pre tree either, which is no fault of the patch. If the
    // compiler would read the same text, it does not change.
    private async Task CheckApartAsync(UnitCompiler compiler, ApartUnit listed, Job pre, Job post, CancellationToken cancellation)
    {
        if (pre.Said.FirstOrDefault(said => said.Id == KernelDiagnostics.CompilerError.Id) is { } error)
        {
            string? before = await TextAsync(pre).ConfigureAwait(false);
            if (before is null || before != await TextAsync(post).ConfigureAwait(false))
                Diagnostics.Report(
                    KernelDiagnostics.ApartNotCompiled,
                    new(listed.Because),
                    listed.Because,
                    pre.Unit.Source,
                    pre.Unit.Apart!,
                    error.Message.Split('\n')[0]
                );
            return;
        }
        foreach (var said in pre.Said.Concat(post.Said))
            Diagnostics.Add(said);
        if (pre.Said.Count + post.Said.Count == 0 && !File.ReadAllBytes(pre.Object).AsSpan().SequenceEqual(File.ReadAllBytes(post.Object)))
            Diagnostics.Report(
                PatchingDiagnostics.ReachesSeparateImage,
                new(listed.Because),
                listed.Because,
                pre.Unit.Source,
                pre.Unit.Apart!
            );

        Task<string?> TextAsync(Job job) => compiler.PreprocessAsync(job.Unit, job.Root, job.Arguments, Diagnostics, cancellation);
    }

    private async Task<bool> CompileAsync(UnitCompiler compiler, Job job, CancellationToken cancellation)
    {
        string record = job.Object + ".record";
        string command = compiler.CommandOf(job.Unit, job.Root, job.Arguments);
        if (StageRecord.Staleness(record, command) is not { } why)
            return false;
        Log.LogMessage(MessageImportance.Normal, "compiling {0} ({1}): {2}", job.Unit.Source, job.Side, why);
        StageRecord.Remove(record);
        // What depends on this object is not up to date from here on, whatever comes.
        StageRecord.Remove(Record);
        var compiled = await compiler
            .CompileAsync(job.Unit, job.Root, job.Object, job.Arguments, job.Said, cancellation)
            .ConfigureAwait(false);
        if (compiled is null)
            return false;
        StageRecord.Write(record, command, compiled.Dependencies, UnitCompiler.FilesOf(job.Object));
        return true;
    }

    private void CheckAdded(IReadOnlyList<string> added, List<Job> jobs)
    {
        var read = jobs.Where(job => job.Side == "post" && job.Unit.Apart is null)
            .SelectMany(job => StageRecord.Read(job.Object + ".record")?.Inputs ?? [])
            .Select(file => Path.GetFullPath(file.Path))
            .ToHashSet(StringComparer.Ordinal);
        foreach (string file in added.Where(file => !read.Contains(Path.Combine(Path.GetFullPath(PostTree), file))))
        {
            if (file.EndsWith(".h", StringComparison.Ordinal))
                Diagnostics.Report(PatchingDiagnostics.FileIgnored, new(file), file, "nothing that is compiled includes it");
            else
                Diagnostics.Report(
                    PatchingDiagnostics.AddedUnused,
                    new(file),
                    file,
                    "no Makefile that it changes builds it, and nothing that the update compiles includes it"
                );
        }
    }

    /// <summary>An error in a line that a patch brought is shown in the patch, any other in the tree.</summary>
    protected override Diagnostic Locate(Diagnostic diagnostic)
    {
        ArgumentNullException.ThrowIfNull(diagnostic);
        return diagnostic.Location is { } location && File.Exists(UnitsFile)
            ? diagnostic with
            {
                Location = PatchedSource.Find(
                    location,
                    UnitList.Open(UnitsFile),
                    OpenCache(Cache).SourceOf(ResolvedKernel.Open(KernelFile).Release),
                    PostTree
                ),
            }
            : diagnostic;
    }
}
