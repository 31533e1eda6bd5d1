// SPDX-License-Identifier: MIT
using Ksplice.Build.Kernel;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Prepares the kernel's tree in the cache, once a release.</summary>
public sealed class PrepareKernel : KspliceTask
{
    /// <summary>What <see cref="ResolveKernel"/> wrote.</summary>
    [Required]
    public string KernelFile { get; set; } = "";

    /// <summary>The folder of the kernel cache, if not the usual one.</summary>
    public string? Cache { get; set; }

    /// <inheritdoc/>
    protected override async Task<bool> RunAsync(CancellationToken cancellation) =>
        await OpenCache(Cache).PrepareAsync(ResolvedKernel.Open(KernelFile).Release, Diagnostics, cancellation).ConfigureAwait(false)
            is not null;
}
