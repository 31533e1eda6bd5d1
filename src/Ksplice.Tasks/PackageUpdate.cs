// SPDX-License-Identifier: MIT
using System.Reflection;
using System.Text;
using Ksplice.Build.Files;
using Ksplice.Build.Generation;
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;
using TaskItem = Microsoft.Build.Utilities.TaskItem;

namespace Ksplice.Tasks;

/// <summary>Packs the update: a folder and an archive of the same files.</summary>
public sealed class PackageUpdate : KspliceTask
{
    /// <summary>What <see cref="GenerateModules"/> says of the update.</summary>
    [Required]
    public string UpdateFile { get; set; } = "";

    /// <summary>The update's name.</summary>
    [Required]
    public string UpdateName { get; set; } = "";

    /// <summary>The patches.</summary>
    [Required]
    public ITaskItem[] Patches { get; set; } = [];

    /// <summary>The updates that this one goes on top of, as <see cref="ApplyPatches"/> wrote them.</summary>
    [Required]
    public string BasesFile { get; set; } = "";

    /// <summary>The private key to sign the manifest with; it is not signed without.</summary>
    public string SigningKey { get; set; } = "";

    /// <summary>The key's certificate.</summary>
    public string SigningCertificate { get; set; } = "";

    /// <summary>The folder with the modules.</summary>
    [Required]
    public string ModuleFolder { get; set; } = "";

    /// <summary>The folder to put the package into.</summary>
    [Required]
    public string OutputFolder { get; set; } = "";

    /// <summary>The file that keeps the package's id for the next build.</summary>
    [Required]
    public string IdFile { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        RemoveOld();
        var update = UpdateDescription.Read(UpdateFile, TaskFiles.Remedy);
        SortedDictionary<string, ReadOnlyMemory<byte>> files = new(StringComparer.Ordinal);
        foreach (string module in Directory.GetFiles(ModuleFolder, "*.ko"))
            files.Add(Path.GetFileName(module), File.ReadAllBytes(module));
        List<string> patches = [];
        foreach (var patch in Patches)
        {
            patches.Add($"patches/{UpdatePackage.PatchName(patches.Count + 1, patch.ItemSpec)}");
            files.Add(patches[^1], File.ReadAllBytes(patch.GetMetadata("FullPath")));
        }
        List<ManifestBase> bases = [];
        foreach (var below in BaseList.Open(BasesFile))
        {
            bases.Add(new(below.Id, [.. below.Patches.Select(patch => $"base/{below.Id}/{patch.Name}")]));
            foreach (var (name, patch) in bases[^1].Patches.Zip(below.Patches))
                files.Add(name, patch.Content);
        }
        UpdateManifest manifest = new()
        {
            Format = UpdateManifest.CurrentFormat,
            Id = update.Id,
            Name = UpdateName,
            Kernel = update.Kernel,
            Targets = update.Targets,
            Pinned = update.Pinned,
            Data = update.Data,
            Acknowledged = update.Acknowledged,
            Base = bases,
            Patches = patches,
            Files = [],
            Tool =
                "Ksplice for .NET "
                + typeof(UpdateManifest)
                    .Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()
                    ?.InformationalVersion.Split('+')[0],
        };
        files.Add("README.txt", Encoding.UTF8.GetBytes(OperatorReadme.Write(manifest)));
        AtomicFile.Write(IdFile, Encoding.UTF8.GetBytes(update.Id));
        if (!SigningIdentity.TryRead(SigningKey, SigningCertificate, Diagnostics, out var signer))
            return Task.FromResult(false);
        var (folder, archive) = UpdatePackage.Write(Path.GetFullPath(OutputFolder), manifest, files, signer);
        if (Record is not null)
        {
            var inputs = Directory.GetFiles(ModuleFolder, "*.ko").Concat(Patches.Select(patch => patch.GetMetadata("FullPath")));
            StageRecord.Write(
                Record,
                update.Id,
                [UpdateFile, BasesFile, .. inputs],
                [archive, IdFile, .. Directory.GetFiles(folder, "*", SearchOption.AllDirectories)]
            );
        }
        Log.LogMessage(MessageImportance.High, "{0} -> {1}", UpdateName, folder);
        return Task.FromResult(true);
    }

    // What the patches were before must not lie beside what they are now.
    private void RemoveOld()
    {
        StageRecord.Remove(Record);
        if (!File.Exists(IdFile))
            return;
        string old;
        try
        {
            old = PackagePath.Read(IdFile, OutputFolder);
        }
        catch (DamagedFileException)
        {
            // It is written anew; what it named is not known.
            return;
        }
        if (!Directory.Exists(OutputFolder))
            return;
        if (Directory.Exists(old))
            Directory.Delete(old, recursive: true);
        File.Delete(old + ".tar.zst");
        File.Delete(WriteReport.ReportOf(old));
    }
}

/// <summary>Tells where the package of this or of an earlier build is.</summary>
public sealed class ReadPackage : KspliceTask
{
    /// <summary>The file with the package's id.</summary>
    [Required]
    public string IdFile { get; set; } = "";

    /// <summary>The folder that packages are put into.</summary>
    [Required]
    public string OutputFolder { get; set; } = "";

    /// <summary>The folder of the package, with Archive, Report and UpdateId; none if nothing was packed.</summary>
    [Output]
    public ITaskItem[] Updates { get; set; } = [];

    /// <summary>The files of the package, its archive and its report.</summary>
    [Output]
    public ITaskItem[] Files { get; set; } = [];

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        if (File.Exists(IdFile))
        {
            string folder = PackagePath.Read(IdFile, OutputFolder);
            TaskItem update = new(folder);
            update.SetMetadata("Archive", folder + ".tar.zst");
            update.SetMetadata("Report", WriteReport.ReportOf(folder));
            update.SetMetadata("UpdateId", Path.GetFileName(folder).Split('-')[^1]);
            Updates = [update];
            var files = Directory.Exists(folder) ? Directory.GetFiles(folder, "*", SearchOption.AllDirectories) : [];
            Files = [.. files.Append(folder + ".tar.zst").Append(WriteReport.ReportOf(folder)).Select(file => new TaskItem(file))];
        }
        return Task.FromResult(true);
    }
}
