// SPDX-License-Identifier: MIT
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching;

/// <summary>
/// A module's memory to match against, with the kernel's behind it. A name means the module's own symbols if it has any of
/// that name; else those of the kernel, and what the modules that it needs export.
/// </summary>
public sealed class ModuleMemory : IMatchMemory
{
    private readonly LoadedModule _module;
    private readonly ImageMemory _kernel;

    /// <summary>Takes <paramref name="module"/> and the <paramref name="kernel"/> that it was loaded beside as they are.</summary>
    public ModuleMemory(LoadedModule module, ImageMemory kernel)
    {
        ArgumentNullException.ThrowIfNull(module);
        ArgumentNullException.ThrowIfNull(kernel);
        (_module, _kernel) = (module, kernel);
        Tables = module.Tables.Over(kernel.Tables);
    }

    /// <inheritdoc/>
    public bool TryRead(ulong address, Span<byte> destination) =>
        _module.TryRead(address, destination) || _kernel.TryRead(address, destination);

    /// <inheritdoc/>
    public IReadOnlyList<ulong> Candidates(string name)
    {
        ulong[] own = [.. _module.Find(name)];
        if (own.Length != 0)
            return own;
        var kernel = _kernel.Candidates(name);
        return _module.FindImport(name) is { } import ? [.. kernel, import] : kernel;
    }

    /// <inheritdoc/>
    public bool TryFindExtent(ulong address, out ulong start, out ulong end) =>
        _module.TryFindExtent(address, out start, out end) || _kernel.TryFindExtent(address, out start, out end);

    /// <inheritdoc/>
    public KernelTables Tables { get; }

    /// <inheritdoc/>
    public bool IsFtraceTarget(ulong site, ulong target) => _kernel.IsFtraceTarget(site, target);

    /// <inheritdoc/>
    public bool IsProbed(ulong address) => _kernel.IsProbed(address);

    /// <inheritdoc/>
    public bool HasEndbr(ulong address) => _module.HasEndbr(address) && _kernel.HasEndbr(address);
}
