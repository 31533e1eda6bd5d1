// SPDX-License-Identifier: MIT
// match/*.c in C#, over what the build has of a kernel: the same algorithm in files of the same names, function by function,
// so that the two can be read side by side. What each part is for, and why it is right, is said in C. InterpreterTwinTests
// holds the names against each other, InterpreterTests and VectorTests the results.
//
// This file is match/internal.h: the state of one match and of one walk. What differs throughout:
// - Functions of struct run are methods of Run, those of struct walk methods of Walk. A file may hold parts of both.
// - The tables that struct run points to are CheckedMatchData, which cannot be had unchecked.
// - A match that failed is a MatchFailure that is returned, where C fills in the one of struct ksp_match.
// - No update is in place in what the build looks at, so nothing leads from a symbol to other code (code_of, symbol_of).
using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Ksplice.Build.Matching.Interpreter;

/// <summary>The tables of match data whose indexes and lengths were all checked.</summary>
internal sealed partial class CheckedMatchData
{
    private readonly byte[] _data;

    private CheckedMatchData(byte[] data, MatchHeader header) => (_data, Header) = (data, header);

    public MatchHeader Header { get; }

    public ReadOnlySpan<MatchSymbol> Symbols => Table<MatchSymbol>(Header.Symbols, Header.SymbolCount);

    public ReadOnlySpan<MatchObject> Objects => Table<MatchObject>(Header.Objects, Header.ObjectCount);

    public ReadOnlySpan<MatchOp> Ops => Table<MatchOp>(Header.Ops, Header.OpCount);

    public ReadOnlySpan<MatchPlace> Places => Table<MatchPlace>(Header.Places, Header.PlaceCount);

    public ReadOnlySpan<byte> Bytes => _data.AsSpan((int)Header.Bytes, (int)Header.ByteCount);

    private ReadOnlySpan<byte> Names => _data.AsSpan((int)Header.Names, (int)Header.NameBytes);

    public ref readonly MatchSymbol Symbol(uint index) => ref Symbols[(int)index];

    public ref readonly MatchObject Object(uint index) => ref Objects[(int)index];

    public ref readonly MatchPlace Place(uint index) => ref Places[(int)index];

    /// <summary>The ops of an object.</summary>
    public ReadOnlySpan<MatchOp> OpsOf(in MatchObject entry) => Ops.Slice((int)entry.Op, (int)entry.OpCount);

    public string Name(uint offset) => Encoding.UTF8.GetString(NameBytes(offset));

    public ReadOnlySpan<byte> NameBytes(uint offset)
    {
        var from = Names[(int)offset..];
        return from[..from.IndexOf((byte)0)];
    }

    private ReadOnlySpan<T> Table<T>(uint offset, uint count)
        where T : unmanaged => MemoryMarshal.Cast<byte, T>(_data.AsSpan((int)offset, (int)count * Unsafe.SizeOf<T>()));
}

/// <summary>
/// Where an object is in the run kernel (struct matched): one past its last byte, and the places of <see cref="RunFunction"/>.
/// </summary>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct Matched(ulong End, ulong Jump, ulong Fentry);

/// <summary>One match (struct run): what is looked for, where, and what is known so far.</summary>
internal sealed partial class Run(CheckedMatchData data, IMatchMemory memory)
{
    private readonly ulong[]?[] _candidates = new ulong[]?[data.Symbols.Length];
    private readonly byte[] _window = new byte[BlockSize];
    private ulong _block = 1;
    private ulong? _count;

    public CheckedMatchData Data { get; } = data;

    public IMatchMemory Memory { get; } = memory;

    /// <summary>By symbol.</summary>
    public ulong[] Values { get; } = new ulong[data.Symbols.Length];

    /// <summary>By symbol.</summary>
    public bool[] Known { get; } = new bool[data.Symbols.Length];

    /// <summary>Symbols in the order in which they became known.</summary>
    public List<uint> Journal { get; } = [];

    /// <summary>By object.</summary>
    public bool[] Done { get; } = new bool[data.Objects.Length];

    /// <summary>By object: what its last good walk found.</summary>
    public Matched[] Matched { get; } = new Matched[data.Objects.Length];

    /// <summary>Where returns were found to go, or 0.</summary>
    public ulong Thunk { get; set; }
}

/// <summary>A place where the run code is not the pre code (what a walk knows of struct ksp_failure).</summary>
internal readonly record struct Mismatch(
    MatchReason Reason,
    ulong Address,
    uint Offset,
    string? Symbol,
    ImmutableArray<byte> Expected,
    ImmutableArray<byte> Found
);

/// <summary>One walk of an object over run bytes (struct walk).</summary>
internal sealed partial class Walk(Run run, uint index)
{
    private ulong _start;
    private ulong _at;
    private ulong _limit;
    private uint _pre;
    private bool _isInner;
    private bool _inBody;
    private ulong _jump;
    private ulong _fentry;
    private ulong _obstacle;

    /// <summary>The mismatch that is farthest from the start.</summary>
    public Mismatch Failure { get; private set; }
}
