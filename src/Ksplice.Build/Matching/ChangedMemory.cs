// SPDX-License-Identifier: MIT
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching;

/// <summary>Memory with some bytes or entries of tables changed: what matching must notice is shown with it.</summary>
public sealed class ChangedMemory(IMatchMemory memory) : IMatchMemory
{
    private readonly Dictionary<ulong, byte> _changed = [];
    private readonly Dictionary<ulong, BugEntry?> _bugs = [];
    private readonly Dictionary<ulong, ExceptionEntry?> _exceptions = [];

    /// <summary>Puts <paramref name="bytes"/> at <paramref name="address"/>.</summary>
    public void Write(ulong address, ReadOnlySpan<byte> bytes)
    {
        for (int i = 0; i < bytes.Length; i++)
            _changed[address + (ulong)i] = bytes[i];
    }

    /// <summary>Puts an entry into the bug table, or takes that for <paramref name="code"/> out.</summary>
    public void SetBug(ulong code, BugEntry? entry) => _bugs[code] = entry;

    /// <summary>Puts an entry into the exception table, or takes that for <paramref name="code"/> out.</summary>
    public void SetException(ulong code, ExceptionEntry? entry) => _exceptions[code] = entry;

    /// <summary>Takes all changes back.</summary>
    public void Restore()
    {
        _changed.Clear();
        _bugs.Clear();
        _exceptions.Clear();
    }

    /// <inheritdoc/>
    public bool TryRead(ulong address, Span<byte> destination)
    {
        if (!memory.TryRead(address, destination))
            return false;
        foreach (var (place, value) in _changed)
        {
            if (place - address < (ulong)destination.Length)
                destination[(int)(place - address)] = value;
        }
        return true;
    }

    /// <inheritdoc/>
    public IReadOnlyList<ulong> Candidates(string name) => memory.Candidates(name);

    /// <inheritdoc/>
    public IReadOnlyList<ulong> Candidates(ReadOnlySpan<byte> name) => memory.Candidates(name);

    /// <inheritdoc/>
    public bool TryFindExtent(ulong address, out ulong start, out ulong end) => memory.TryFindExtent(address, out start, out end);

    /// <inheritdoc/>
    public bool TryFindJumpEntry(ulong code, out ulong target, out ulong key) => memory.TryFindJumpEntry(code, out target, out key);

    /// <inheritdoc/>
    public bool TryFindStaticCallKey(ulong code, out ulong key) => memory.TryFindStaticCallKey(code, out key);

    /// <inheritdoc/>
    public bool TryFindBug(ulong code, out BugEntry bug)
    {
        if (!_bugs.TryGetValue(code, out var changed))
            return memory.TryFindBug(code, out bug);
        bug = changed.GetValueOrDefault();
        return changed.HasValue;
    }

    /// <inheritdoc/>
    public bool TryFindException(ulong code, out ExceptionEntry exception)
    {
        if (!_exceptions.TryGetValue(code, out var changed))
            return memory.TryFindException(code, out exception);
        exception = changed.GetValueOrDefault();
        return changed.HasValue;
    }

    /// <inheritdoc/>
    public int CountExceptions(ulong start, ulong end) =>
        memory.CountExceptions(start, end)
        + _exceptions
            .Where(entry => entry.Key >= start && entry.Key < end)
            .Sum(entry => (entry.Value.HasValue ? 1 : 0) - (memory.TryFindException(entry.Key, out _) ? 1 : 0));

    /// <inheritdoc/>
    public bool IsFtraceTarget(ulong site, ulong target) => memory.IsFtraceTarget(site, target);

    /// <inheritdoc/>
    public bool IsProbed(ulong address) => memory.IsProbed(address);

    /// <inheritdoc/>
    public bool HasEndbr(ulong address)
    {
        Span<byte> code = stackalloc byte[4];
        bool changed = _changed.Keys.Any(place => place - address < 4);
        return memory.HasEndbr(address) && (!changed || (TryRead(address, code) && KernelImage.IsEndbr(code)));
    }
}
