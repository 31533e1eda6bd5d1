// SPDX-License-Identifier: MIT
// The tasks between compiling and linking share one UpdateBuild: each asks it for its own stage, and no stage runs twice in a build.
// MSBuild keeps the object between them (IBuildEngine4.RegisterTaskObject). Its key says what it was made from, so a build that has other
// objects, another kernel or another configuration makes its own. Where a task does not find one, it makes one: the result is the same.
using System.Security.Cryptography;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;
using UpdateEngine = Ksplice.Build.Updates.UpdateBuild;

namespace Ksplice.Tasks;

/// <summary>A task that runs a stage of an update.</summary>
public abstract class UpdateTask : PatchTask
{
    private UnitList? _list;
    private UpdateEngine? _update;

    /// <summary>The units, with Pre and Post.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The post tree.</summary>
    [Required]
    public string PostTree { get; set; } = "";

    /// <summary>The updates that this one goes on top of, as <see cref="ApplyPatches"/> wrote them.</summary>
    [Required]
    public string BasesFile { get; set; } = "";

    /// <summary>The record of <see cref="CompileUnits"/>.</summary>
    [Required]
    public string CompileRecord { get; set; } = "";

    /// <summary>Assemblies with analyzers of the project's own.</summary>
    public ITaskItem[] Analyzers { get; set; } = [];

    /// <inheritdoc/>
    protected sealed override Task<bool> RunAsync(CancellationToken cancellation)
    {
        int before = Update.Times.Count;
        try
        {
            return Task.FromResult(RunStage(cancellation));
        }
        finally
        {
            foreach (var (stage, time) in Update.Times.Skip(before))
                Log.LogMessage(MessageImportance.Normal, "{0}: {1:f0} ms", stage, time.TotalMilliseconds);
        }
    }

    /// <summary>Runs the stage; false after an error.</summary>
    private protected abstract bool RunStage(CancellationToken cancellation);

    /// <summary>The kernel.</summary>
    private protected KernelRelease Release => field ??= ResolvedKernel.Open(KernelFile).Release;

    /// <summary>The unpatched source tree.</summary>
    private protected string SourceTree => OpenCache(Cache).SourceOf(Release);

    /// <summary>The update, which other tasks of this build have asked before or will ask.</summary>
    private protected UpdateEngine Update => _update ??= Find();

    /// <summary>The objects of all units, their copies with objtool's tables among them.</summary>
    private protected IEnumerable<string> Objects => Update.Inputs.Units.SelectMany(unit => unit.Files);

    /// <summary>The files of <see cref="Analyzers"/>.</summary>
    private protected IEnumerable<string> AnalyzerFiles => Analyzers.Select(item => item.GetMetadata("FullPath"));

    /// <summary>A stage's product; null after an error. What the stage said is passed on.</summary>
    private protected T? Take<T>(StageResult<T> result)
        where T : class
    {
        foreach (var diagnostic in result.Diagnostics)
            Diagnostics.Add(diagnostic);
        return result.Value;
    }

    /// <summary>The product of a stage whose task tells what it said; here it is told only if there is no product.</summary>
    private protected T? TakeSilently<T>(StageResult<T> result)
        where T : class => result.Value ?? Take(result);

    /// <summary>Lets the update go: nobody will ask for it again.</summary>
    private protected void Forget() => _ = BuildEngine4.UnregisterTaskObject(Key(), RegisteredTaskObjectLifetime.Build);

    /// <summary>Puts a diagnostic to the line of the patch that it is about, or to the source.</summary>
    private protected Diagnostic InPatch(Diagnostic diagnostic)
    {
        _list ??= UnitList.Open(UnitsFile);
        return diagnostic with
        {
            Location = diagnostic.Location is { } location ? PatchedSource.Find(location, _list, SourceTree, PostTree) : null,
            Related =
            [
                .. diagnostic.Related.Select(related =>
                    related with
                    {
                        Location = PatchedSource.Find(related.Location, _list, SourceTree, PostTree),
                    }
                ),
            ],
        };
    }

    private UpdateEngine Find()
    {
        string key = Key();
        if (BuildEngine4.GetRegisteredTaskObject(key, RegisteredTaskObjectLifetime.Build) is UpdateEngine found)
            return found;
        UpdateEngine made = new(Inputs());
        BuildEngine4.RegisterTaskObject(key, made, RegisteredTaskObjectLifetime.Build, allowEarlyCollection: false);
        return made;
    }

    private string Key()
    {
        string[] files =
        [
            KernelFile,
            BasesFile,
            CompileRecord,
            .. Configuration is null ? [] : (string[])[Configuration],
            .. AnalyzerFiles,
        ];
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (string file in files.Where(File.Exists))
            hash.AppendData(SHA256.HashData(File.ReadAllBytes(file)));
        return $"Ksplice.UpdateBuild {Path.GetFullPath(CompileRecord)} {Convert.ToHexStringLower(hash.GetHashAndReset())}";
    }

    private UpdateInputs Inputs() =>
        new()
        {
            UpdateId = UnitList.Open(UnitsFile).Id,
            Units =
            [
                .. Units.Select(unit => new UnitObjects(
                    unit.ItemSpec,
                    unit.GetMetadata("Module") is var module && module == Build.Targets.UpdateTarget.KernelName ? null : module,
                    unit.GetMetadata("Pre"),
                    unit.GetMetadata("Post")
                )),
            ],
            Release = Release,
            Patches = [.. Patches.Select(patch => SourcePatch.Read(patch.GetMetadata("FullPath"), [])).OfType<SourcePatch>()],
            SourceRoot = SourceTree,
            Bases = [.. BaseList.Open(BasesFile).Select(below => below.Id)],
            Acknowledgements = ConfigurationFile.Read(Configuration)?.Acknowledgements.ToList() ?? [],
            Analyzers = diagnostics =>
                [.. AnalyzerDriver.BuiltIn, .. AnalyzerFiles.SelectMany(file => UserAnalyzers.Load(file, diagnostics))],
            Rules = Rules.All,
        };
}
