using System.Text.Json;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Judges whether the change can be made to a kernel that runs: what differencing refuses and what analyzers find.</summary>
public sealed class AnalyzeUnits : KspliceTask
{
    private UnitList? _list;

    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The folder of the kernel cache, if not the usual one.</summary>
    public string? Cache { get; set; }

    /// <summary>The patches, in the order of their application.</summary>
    public ITaskItem[] Patches { get; set; } = [];

    /// <summary>The units, with Pre and Post.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The list of units and of lines that patches brought.</summary>
    [Required]
    public string UnitsFile { get; set; } = "";

    /// <summary>The post tree.</summary>
    [Required]
    public string PostTree { get; set; } = "";

    /// <summary>Assemblies with analyzers of the project's own.</summary>
    public ITaskItem[] Analyzers { get; set; } = [];

    /// <summary>The SARIF file to write, also after an error.</summary>
    [Required]
    public string SarifFile { get; set; } = "";

    /// <summary>
    /// Where the project wants the SARIF file too, as the C# compiler's ErrorLog: a path, and perhaps <c>,version=2.1</c>.
    /// </summary>
    public string? ErrorLog { get; set; }

    /// <summary>The file to write with the acknowledged errors.</summary>
    [Required]
    public string AcknowledgedFile { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        var release = Tasks.KernelFile.Open(KernelFile).Release;
        _list = UnitList.Open(UnitsFile);
        List<UpdateAnalyzer> analyzers = [.. AnalyzerDriver.BuiltIn];
        string[] assemblies = [.. Analyzers.Select(item => item.GetMetadata("FullPath"))];
        foreach (string assembly in assemblies)
            analyzers.AddRange(UserAnalyzers.Load(assembly, Diagnostics));
        var patches = Patches.Select(patch => SourcePatch.Read(patch.GetMetadata("FullPath"), [])).OfType<SourcePatch>().ToList();
        if (KernelImage.Open(release.Image, Diagnostics) is not { } image)
            return Task.FromResult(false);
        RunningKernel kernel = new(image, ModuleExports.Read(release.ModuleSymvers), KernelConfiguration.Read(release.Config));
        AnalyzedUpdate update = new(patches, [.. Units.Select(UnitDiffs.Open)], kernel, OpenCache(Cache).SourceOf(release));
        UpdateJudgement.Judge(update, analyzers, Rules.All, Diagnostics, cancellation);
        WriteLogs();
        File.WriteAllText(
            AcknowledgedFile,
            JsonSerializer.Serialize(
                Diagnostics.UsedAcknowledgements.Select(used => new ManifestAcknowledgement(used.Id, used.Object, used.Reason, used.Source))
            )
        );
        if (Diagnostics.HasErrors)
            return Task.FromResult(false);
        if (Record is not null)
            StageRecord.Write(Record, "", [KernelFile, .. assemblies, .. UnitDiffs.Objects(Units)], [SarifFile, AcknowledgedFile]);
        return Task.FromResult(true);
    }

    private void WriteLogs()
    {
        byte[] sarif = SarifLog.Write([.. Diagnostics.Select(Severities.Apply).OfType<Diagnostic>().Select(Locate)]);
        foreach (string file in (string[])[SarifFile, .. (ErrorLog ?? "").Split(',')[..1].Where(path => path.Length != 0)])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(file))!);
            File.WriteAllBytes(file, sarif);
        }
    }

    /// <inheritdoc/>
    protected override Diagnostic Locate(Diagnostic diagnostic)
    {
        ArgumentNullException.ThrowIfNull(diagnostic);
        return diagnostic with
        {
            Location = diagnostic.Location is { } location ? PatchedSource.Find(location, _list, PostTree) : null,
            Related =
            [
                .. diagnostic.Related.Select(related => related with { Location = PatchedSource.Find(related.Location, _list, PostTree) }),
            ],
        };
    }
}
