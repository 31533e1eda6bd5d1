// SPDX-License-Identifier: MIT
using System.Reflection;
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Ksplice.Build.Generation;
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

    /// <summary>The update's version, as its author counts; it has none if this is empty.</summary>
    public string UpdateVersion { get; set; } = "";

    /// <summary>What the update is for; the subjects of the patches if this is empty.</summary>
    public string UpdateDescription { get; set; } = "";

    /// <summary>The ids of the advisories that the update answers; those that the patches name if there are none.</summary>
    public ITaskItem[] Advisories { get; set; } = [];

    /// <summary>The project, as the place of what is wrong with these.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>The patches.</summary>
    [Required]
    public ITaskItem[] Patches { get; set; } = [];

    /// <summary>The updates that this one goes on top of, as <see cref="ApplyPatches"/> wrote them.</summary>
    [Required]
    public string BasesFile { get; set; } = "";

    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>Who builds, as a URI: then the package's <see cref="Provenance"/> is written beside it.</summary>
    public string BuilderId { get; set; } = "";

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
    protected override async Task<bool> RunAsync(CancellationToken cancellation)
    {
        RemoveOld();
        if (ReadIdentity() is not { } identity)
            return false;
        var update = Build.Updates.UpdateDescription.Read(UpdateFile, TaskFiles.Remedy);
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
            Version = identity.Version,
            Description = identity.Description,
            Advisories = identity.Advisories,
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
        AtomicFile.Write(IdFile, Encoding.UTF8.GetBytes(PackagePath.Text(update.Id, identity.Version)));
        if (!SigningIdentity.TryRead(SigningKey, SigningCertificate, Diagnostics, out var signer))
            return false;
        var (folder, archive) = UpdatePackage.Write(Path.GetFullPath(OutputFolder), manifest, files, signer);
        string[] provenance =
            BuilderId.Length == 0
                ? []
                :
                [
                    await Provenance
                        .WriteAsync(
                            archive,
                            manifest,
                            patches.Concat(bases.SelectMany(below => below.Patches)).Select(name => (name, files[name])),
                            ResolvedKernel.Open(KernelFile).Release,
                            BuilderId,
                            cancellation
                        )
                        .ConfigureAwait(false),
                ];
        if (Record is not null)
        {
            var inputs = Directory.GetFiles(ModuleFolder, "*.ko").Concat(Patches.Select(patch => patch.GetMetadata("FullPath")));
            StageRecord.Write(
                Record,
                update.Id,
                [UpdateFile, BasesFile, .. inputs],
                [archive, .. provenance, IdFile, .. Directory.GetFiles(folder, "*", SearchOption.AllDirectories)]
            );
        }
        return true;
    }

    // Null after an error.
    private (string? Version, string? Description, IReadOnlyList<string> Advisories)? ReadIdentity()
    {
        string version = UpdateVersion.Trim();
        if (version.Length != 0 && !UpdateIdentity.IsVersion(version))
            Diagnostics.Report(ProjectDiagnostics.BadVersion, new(ProjectFile), version);
        string[] advisories = [.. Advisories.Select(item => item.ItemSpec.Trim()).Distinct(StringComparer.Ordinal)];
        foreach (string advisory in advisories.Where(advisory => !UpdateIdentity.IsAdvisory(advisory)))
            Diagnostics.Report(ProjectDiagnostics.BadAdvisory, new(ProjectFile), advisory);
        BuilderId = BuilderId.Trim();
        // A path is one too, to .NET.
        if (
            BuilderId.Length != 0
            && !(Uri.TryCreate(BuilderId, UriKind.Absolute, out var builder) && BuilderId.Contains(builder.Scheme + ":"))
        )
            Diagnostics.Report(ProjectDiagnostics.BadBuilder, new(ProjectFile), BuilderId);
        if (Diagnostics.HasErrors)
            return null;
        PatchMail[] mails = [.. Patches.Select(patch => PatchMail.Read(File.ReadAllBytes(patch.GetMetadata("FullPath"))))];
        string description = PatchMail.OneLine(UpdateDescription);
        if (description.Length == 0)
            description = string.Join("; ", mails.Select(mail => mail.Subject).OfType<string>().Distinct(StringComparer.Ordinal));
        if (advisories.Length == 0)
            advisories = [.. mails.SelectMany(mail => mail.Advisories).Distinct(StringComparer.Ordinal)];
        return (version.Length == 0 ? null : version, description.Length == 0 ? null : description, advisories);
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
            old = PackagePath.Read(IdFile, OutputFolder).Folder;
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
        File.Delete(old + UpdatePackage.ArchiveSuffix);
        File.Delete(old + Provenance.Suffix);
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

    /// <summary>The folder of the package, with Archive, Report, Provenance and UpdateId; none if nothing was packed.</summary>
    [Output]
    public ITaskItem[] Updates { get; set; } = [];

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        if (File.Exists(IdFile))
        {
            var (folder, id) = PackagePath.Read(IdFile, OutputFolder);
            TaskItem update = new(folder);
            update.SetMetadata("Archive", folder + UpdatePackage.ArchiveSuffix);
            update.SetMetadata("Provenance", folder + Provenance.Suffix);
            update.SetMetadata("Report", WriteReport.ReportOf(folder));
            update.SetMetadata("UpdateId", id);
            Updates = [update];
        }
        return Task.FromResult(true);
    }
}

/// <summary>Fails where a package is wanted and nothing was built.</summary>
public sealed class RequirePackage : KspliceTask
{
    /// <summary>The project, as the place of the error.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>What <see cref="ReadPackage"/> found.</summary>
    public ITaskItem[] Updates { get; set; } = [];

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        if (Updates.Length == 0)
            Diagnostics.Report(ProjectDiagnostics.NoPackage, new(ProjectFile), "no update was built");
        foreach (string archive in Updates.Select(update => update.GetMetadata("Archive")).Where(archive => !File.Exists(archive)))
            Diagnostics.Report(ProjectDiagnostics.NoPackage, new(ProjectFile), $"'{archive}' is missing");
        return Task.FromResult(!Diagnostics.HasErrors);
    }
}
