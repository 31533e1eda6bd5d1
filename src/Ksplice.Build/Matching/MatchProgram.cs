// SPDX-License-Identifier: MIT
// match/data.c once more: every index, length and nesting is checked once, before anything relies on it.
using System.Collections;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Ksplice.Build.Matching;

/// <summary>Match data after all its indexes and lengths were checked; <c>ksp_check_data</c> of match/data.c.</summary>
internal sealed class MatchProgram
{
    private const int MaximalDepth = 4;

    private readonly byte[] _data;

    private MatchProgram(byte[] data, MatchHeader header) => (_data, Header) = (data, header);

    public MatchHeader Header { get; }

    public ReadOnlySpan<MatchSymbol> Symbols => Table<MatchSymbol>(Header.Symbols, Header.SymbolCount);

    public ReadOnlySpan<MatchObject> Objects => Table<MatchObject>(Header.Objects, Header.ObjectCount);

    public ReadOnlySpan<MatchOp> Ops => Table<MatchOp>(Header.Ops, Header.OpCount);

    public ReadOnlySpan<MatchPlace> Places => Table<MatchPlace>(Header.Places, Header.PlaceCount);

    public ReadOnlySpan<byte> Bytes => _data.AsSpan((int)Header.Bytes, (int)Header.ByteCount);

    public ref readonly MatchSymbol Symbol(uint index) => ref Symbols[(int)index];

    public ref readonly MatchObject Object(uint index) => ref Objects[(int)index];

    public ref readonly MatchPlace Place(uint index) => ref Places[(int)index];

    private ReadOnlySpan<byte> Names => _data.AsSpan((int)Header.Names, (int)Header.NameBytes);

    private ReadOnlySpan<T> Table<T>(uint offset, uint count)
        where T : unmanaged => MemoryMarshal.Cast<byte, T>(_data.AsSpan((int)offset, (int)count * Unsafe.SizeOf<T>()));

    public string Name(uint offset) => System.Text.Encoding.UTF8.GetString(NameBytes(offset));

    public ReadOnlySpan<byte> NameBytes(uint offset)
    {
        var from = Names[(int)offset..];
        return from[..from.IndexOf((byte)0)];
    }

    public static int Extent(in MatchOp op) =>
        op.Op switch
        {
            OpCode.Alternative or OpCode.Variant or OpCode.Paravirt => 1 + (int)op.Value,
            OpCode.JumpLabel or OpCode.StaticCall => 2,
            _ => 1,
        };

    /// <summary>Null if it is malformed. The data is not copied.</summary>
    public static MatchProgram? Read(byte[] data)
    {
        if (data.Length < Unsafe.SizeOf<MatchHeader>())
            return null;
        var header = MemoryMarshal.Read<MatchHeader>(data);
        return
            header.Magic == MatchFormat.Magic
            && header.Version == MatchFormat.Version
            && header.Size == data.Length
            && Fits<MatchSymbol>(header, header.Symbols, header.SymbolCount, 8)
            && Fits<MatchObject>(header, header.Objects, header.ObjectCount, 8)
            && Fits<MatchOp>(header, header.Ops, header.OpCount, 8)
            && Fits<MatchPlace>(header, header.Places, header.PlaceCount, 8)
            && Fits<byte>(header, header.Bytes, header.ByteCount, 1)
            && Fits<byte>(header, header.Names, header.NameBytes, 1)
            && header.ExportCount <= header.SymbolCount
            && header.FunctionCount <= header.ObjectCount
            && new MatchProgram(data, header) is var program
            && program.Check()
            ? program
            : null;
    }

    private static bool Fits<T>(in MatchHeader header, uint offset, uint count, uint alignment)
        where T : unmanaged =>
        offset >= Unsafe.SizeOf<MatchHeader>()
        && offset <= header.Size
        && offset % alignment == 0
        && count <= (header.Size - offset) / (uint)Unsafe.SizeOf<T>();

    private bool Check()
    {
        if (Names.IsEmpty || Names[^1] != 0)
            return false;
        BitArray exports = new((int)Header.ExportCount),
            functions = new((int)Header.FunctionCount);
        foreach (var symbol in Symbols)
        {
            if (
                symbol.Name >= Header.NameBytes
                || symbol.Kind > SymbolKind.Content
                || (symbol.Object != MatchFormat.None && symbol.Object >= Header.ObjectCount)
                || (symbol.Export != MatchFormat.None && (symbol.Export >= Header.ExportCount || !Mark(exports, symbol.Export)))
                || symbol.Content > Header.ByteCount
                || symbol.ContentSize > Header.ByteCount - symbol.Content
            )
                return false;
        }
        var places = Places;
        for (int i = 0; i < places.Length; i++)
        {
            bool first = (places[i].Flags & PlaceFlags.First) != 0,
                same = (places[i].Flags & PlaceFlags.Same) != 0;
            if (places[i].Name >= Header.NameBytes || (i == 0 && !first) || (first && same))
                return false;
        }
        foreach (var entry in Objects)
        {
            if (
                entry.Symbol >= Header.SymbolCount
                || entry.Name >= Header.NameBytes
                || entry.Unit >= Header.NameBytes
                || entry.Kind > ObjectKind.Data
                || entry.Op > Header.OpCount
                || entry.OpCount > Header.OpCount - entry.Op
                || (
                    entry.Place != MatchFormat.None
                    && (entry.Place >= Header.PlaceCount || (Place(entry.Place).Flags & PlaceFlags.Same) != 0)
                )
                || (
                    entry.Function != MatchFormat.None
                    && (
                        entry.Function >= Header.FunctionCount
                        || (entry.Flags & ObjectFlags.Replaced) == 0
                        || !Mark(functions, entry.Function)
                    )
                )
                || !CheckOps(Ops.Slice((int)entry.Op, (int)entry.OpCount), 0)
            )
                return false;
        }
        return exports.HasAllSet() && functions.HasAllSet();

        static bool Mark(BitArray seen, uint index)
        {
            bool first = !seen[(int)index];
            seen[(int)index] = true;
            return first;
        }
    }

    private bool CheckOps(ReadOnlySpan<MatchOp> ops, int depth)
    {
        if (depth > MaximalDepth)
            return false;
        for (int i = 0; i < ops.Length; i += Extent(ops[i]))
        {
            if (!CheckOp(ops[i..], depth))
                return false;
        }
        return true;
    }

    private bool CheckOp(ReadOnlySpan<MatchOp> ops, int depth)
    {
        var op = ops[0];
        int left = ops.Length - 1;
        bool symbol = op.Symbol < Header.SymbolCount;
        switch (op.Op)
        {
            case OpCode.Literal:
                return op.Value >= 0 && op.Value <= Header.ByteCount && op.Length <= Header.ByteCount - op.Value;
            case OpCode.Field:
                return symbol && op.Kind <= (byte)FieldKind.Abs8;
            case OpCode.Branch:
                return symbol && op.Kind <= (byte)BranchKind.CsCall;
            case OpCode.Retpoline:
                return symbol && op.Kind <= (byte)BranchKind.CsCall && op.Value is >= 0 and <= 15;
            case OpCode.Label or OpCode.Fentry or OpCode.Return:
                return symbol;
            case OpCode.Nops or OpCode.Lock or OpCode.Endbr:
                return true;
            case OpCode.Bug:
                return op.Length == 0
                    && op.Kind <= (byte)BugKind.Long
                    && (op.Kind == (byte)BugKind.Long ? symbol : op.Symbol == MatchFormat.None);
            case OpCode.Exception:
                return op.Length == 0 && symbol;
            case OpCode.Alternative:
                if (op.Value < 1 || op.Value > left)
                    return false;
                for (int part = 0; part < op.Value; part += Extent(ops[1 + part]))
                {
                    var variant = ops[1 + part];
                    if (
                        variant.Op != OpCode.Variant
                        || variant.Value < 0
                        || variant.Value > op.Value - part - 1
                        || !CheckOps(ops.Slice(2 + part, (int)variant.Value), depth + 1)
                    )
                        return false;
                }
                return true;
            case OpCode.Paravirt:
                return symbol && op.Value >= 0 && op.Value <= left && CheckOps(ops.Slice(1, (int)op.Value), depth + 1);
            case OpCode.JumpLabel or OpCode.StaticCall:
                return symbol
                    && left >= 1
                    && ops[1].Op == OpCode.Key
                    && ops[1].Length == 0
                    && ops[1].Symbol < Header.SymbolCount
                    && op.Kind <= (byte)BranchKind.CsCall;
            default:
                return false;
        }
    }
}
