// SPDX-License-Identifier: MIT
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Microsoft.Build.Framework;
using TaskItem = Microsoft.Build.Utilities.TaskItem;

namespace Ksplice.Tasks;

/// <summary>Lets kbuild make the modules. The core module is made once for a kernel and kept in the cache.</summary>
public sealed class LinkModules : KspliceTask
{
    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The folder of the kernel cache, if not the usual one.</summary>
    public string? Cache { get; set; }

    /// <summary>The update's id.</summary>
    [Required]
    public string UpdateId { get; set; } = "";

    /// <summary>The folder that <see cref="GenerateModules"/> wrote.</summary>
    [Required]
    public string SourceFolder { get; set; } = "";

    /// <summary>The folder of this project's C sources.</summary>
    [Required]
    public string KernelSources { get; set; } = "";

    /// <summary>The folder for the modules.</summary>
    [Required]
    public string OutputFolder { get; set; } = "";

    /// <summary>The private key to sign the modules with; they are not signed without.</summary>
    public string SigningKey { get; set; } = "";

    /// <summary>The key's certificate.</summary>
    public string SigningCertificate { get; set; } = "";

    /// <summary>True if an update that is not signed is an error.</summary>
    public bool RequireSignature { get; set; }

    /// <summary>The modules: the core, helper and primary of each target, the data module if there is one, with Role.</summary>
    [Output]
    public ITaskItem[] Modules { get; set; } = [];

    /// <inheritdoc/>
    protected override async Task<bool> RunAsync(CancellationToken cancellation)
    {
        if (!SigningIdentity.TryRead(SigningKey, SigningCertificate, Diagnostics, out var signer))
            return false;
        if (signer is null && RequireSignature)
        {
            Diagnostics.Report(
                GenerationDiagnostics.SigningNotPossible,
                null,
                "RequireSignature is set, and the project names no UpdateSigningKey"
            );
            return false;
        }
        var kernel = ResolvedKernel.Open(KernelFile);
        var cache = OpenCache(Cache);
        KernelModuleBuilder builder = new(kernel.Release.Release, kernel.Release.Headers, KernelSources, Logger, kernel.Release.Toolchain)
        {
            Answers = cache.AnswersOf(kernel.Release),
        };
        if (Directory.Exists(OutputFolder))
            Directory.Delete(OutputFolder, recursive: true);
        var core = await builder.CachedCoreAsync(cache.FolderOf(kernel.Release), Diagnostics, cancellation).ConfigureAwait(false);
        if (core is null)
            return false;
        var modules = await builder
            .BuildUpdateAsync(UpdateId, SourceFolder, core, OutputFolder, Diagnostics, cancellation)
            .ConfigureAwait(false);
        if (modules is null)
            return false;
        string ownCore = Path.Combine(OutputFolder, Path.GetFileName(core.Module));
        File.Copy(core.Module, ownCore, overwrite: true);
        Modules =
        [
            Item(ownCore, "core"),
            .. modules.Targets.SelectMany(target => (TaskItem[])[Item(target.Helper, "helper"), Item(target.Primary, "primary")]),
            .. modules.Data is { } data ? [Item(data, "data")] : (TaskItem[])[],
        ];
        foreach (var module in signer is null ? [] : Modules)
        {
            if (
                !await ModuleSigner
                    .SignAsync(
                        module.ItemSpec,
                        signer!,
                        Path.Combine(cache.FolderOf(kernel.Release), KernelCache.OutputFolder),
                        Diagnostics,
                        cancellation,
                        kernel.Release.Toolchain
                    )
                    .ConfigureAwait(false)
            )
                return false;
        }
        if (Record is not null)
        {
            var inputs = Directory
                .GetFiles(SourceFolder, "*", SearchOption.AllDirectories)
                .Concat(Directory.GetFiles(KernelSources, "*", SearchOption.AllDirectories))
                .Order(StringComparer.Ordinal);
            StageRecord.Write(Record, UpdateId, [KernelFile, .. inputs], Modules.Select(module => module.ItemSpec));
        }
        return true;
    }

    private static TaskItem Item(string path, string role)
    {
        TaskItem item = new(path);
        item.SetMetadata("Role", role);
        return item;
    }
}
