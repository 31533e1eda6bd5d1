// SPDX-License-Identifier: MIT
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Memory with some bytes or entries of tables changed: what matching must notice is shown with it.</summary>
internal sealed class ChangedMemory(IMatchMemory memory) : IMatchMemory
{
    private readonly Dictionary<ulong, byte> _changed = [];
    private readonly Dictionary<ulong, BugEntry?> _bugs = [];
    private readonly Dictionary<ulong, ExceptionEntry?> _exceptions = [];
    private KernelTables? _tables;

    /// <summary>Puts <paramref name="bytes"/> at <paramref name="address"/>.</summary>
    public void Write(ulong address, ReadOnlySpan<byte> bytes)
    {
        for (int i = 0; i < bytes.Length; i++)
            _changed[address + (ulong)i] = bytes[i];
    }

    /// <summary>Puts an entry into the bug table, or takes that for <paramref name="code"/> out.</summary>
    public void SetBug(ulong code, BugEntry? entry) => (_bugs[code], _tables) = (entry, null);

    /// <summary>Puts an entry into the exception table, or takes that for <paramref name="code"/> out.</summary>
    public void SetException(ulong code, ExceptionEntry? entry) => (_exceptions[code], _tables) = (entry, null);

    /// <summary>Takes all changes back.</summary>
    public void Restore()
    {
        _changed.Clear();
        _bugs.Clear();
        _exceptions.Clear();
        _tables = null;
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
    public KernelTables Tables =>
        _tables ??=
            _bugs.Count + _exceptions.Count == 0
                ? memory.Tables
                : new(
                    memory.Tables.JumpLabels,
                    memory.Tables.StaticCalls,
                    Change(memory.Tables.Bugs, _bugs),
                    Change(memory.Tables.Exceptions, _exceptions),
                    memory.Tables.Seals
                );

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

    private static Dictionary<ulong, T> Change<T>(IReadOnlyDictionary<ulong, T> entries, Dictionary<ulong, T?> changes)
        where T : struct
    {
        Dictionary<ulong, T> changed = new(entries);
        foreach (var (code, entry) in changes)
        {
            if (entry is { } value)
                changed[code] = value;
            else
                changed.Remove(code);
        }
        return changed;
    }
}
