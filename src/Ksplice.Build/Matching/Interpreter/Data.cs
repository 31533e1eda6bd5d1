// SPDX-License-Identifier: MIT
// match/data.c: every index, length and nesting is checked once, before anything relies on it.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class CheckedMatchData
{
    private const int MaximalDepth = 4;

    public static int Extent(in MatchOp op) =>
        op.Op switch
        {
            OpCode.Alternative or OpCode.Variant or OpCode.Paravirt => 1 + (int)op.Value,
            OpCode.JumpLabel or OpCode.StaticCall => 2,
            OpCode.Bug when op.Kind == (byte)BugKind.Format => 2,
            _ => 1,
        };

    private static bool TableFits<T>(in MatchHeader header, uint offset, uint count, uint alignment)
        where T : unmanaged =>
        offset >= Unsafe.SizeOf<MatchHeader>()
        && offset <= header.Size
        && offset % alignment == 0
        && count <= (header.Size - offset) / (uint)Unsafe.SizeOf<T>();

    private bool HasKey(ReadOnlySpan<MatchOp> ops) =>
        ops.Length >= 2 && ops[1].Op == OpCode.Key && ops[1].Length == 0 && ops[1].Symbol < Header.SymbolCount;

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

    // The body of check_ops' loop.
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
                return symbol && op.Kind <= (byte)FieldKind.Bug;
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
                    && op.Kind <= (byte)BugKind.Format
                    && (op.Kind >= (byte)BugKind.Long ? symbol : op.Symbol == MatchFormat.None)
                    && (op.Kind != (byte)BugKind.Format || HasKey(ops));
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
                return symbol && HasKey(ops) && op.Kind <= (byte)BranchKind.CsCall;
            default:
                return false;
        }
    }

    /// <summary>The tables of <paramref name="data"/>, which is not copied; null if it is malformed.</summary>
    public static CheckedMatchData? CheckData(byte[] data)
    {
        if (data.Length < Unsafe.SizeOf<MatchHeader>())
            return null;
        var header = MemoryMarshal.Read<MatchHeader>(data);
        return
            header.Magic == MatchFormat.Magic
            && header.Version == MatchFormat.Version
            && header.Size == data.Length
            && TableFits<MatchSymbol>(header, header.Symbols, header.SymbolCount, 8)
            && TableFits<MatchObject>(header, header.Objects, header.ObjectCount, 8)
            && TableFits<MatchOp>(header, header.Ops, header.OpCount, 8)
            && TableFits<MatchPlace>(header, header.Places, header.PlaceCount, 8)
            && TableFits<byte>(header, header.Bytes, header.ByteCount, 1)
            && TableFits<byte>(header, header.Names, header.NameBytes, 1)
            && header.ExportCount <= header.SymbolCount
            && header.FunctionCount <= header.ObjectCount
            && new CheckedMatchData(data, header) is var tables
            && tables.CheckTables()
            && tables.CheckIndexes()
            ? tables
            : null;
    }

    // The second half of ksp_check_data, which reads the tables that the first half has found to fit.
    private bool CheckTables()
    {
        if (Names.IsEmpty || Names[^1] != 0)
            return false;
        int exports = 0,
            functions = 0;
        foreach (var symbol in Symbols)
        {
            if (
                symbol.Name >= Header.NameBytes
                || symbol.Kind > SymbolKind.Content
                || (symbol.Object != MatchFormat.None && symbol.Object >= Header.ObjectCount)
                || (symbol.Export != MatchFormat.None && symbol.Export >= Header.ExportCount)
                || symbol.Content > Header.ByteCount
                || symbol.ContentSize > Header.ByteCount - symbol.Content
            )
                return false;
            exports += symbol.Export != MatchFormat.None ? 1 : 0;
        }
        var places = Places;
        for (int i = 0; i < places.Length; i++)
        {
            bool first = (places[i].Flags & PlaceFlags.First) != PlaceFlags.None,
                same = (places[i].Flags & PlaceFlags.Same) != PlaceFlags.None;
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
                    && (entry.Place >= Header.PlaceCount || (Place(entry.Place).Flags & PlaceFlags.Same) != PlaceFlags.None)
                )
                || (
                    entry.Function != MatchFormat.None
                    && (entry.Function >= Header.FunctionCount || (entry.Flags & ObjectFlags.Replaced) == ObjectFlags.None)
                )
                || !CheckOps(OpsOf(entry), 0)
            )
                return false;
            functions += entry.Function != MatchFormat.None ? 1 : 0;
        }
        return exports == Header.ExportCount && functions == Header.FunctionCount;
    }

    private bool CheckIndexes()
    {
        HashSet<uint> exports = [],
            functions = [];
        foreach (var symbol in Symbols)
        {
            if (symbol.Export != MatchFormat.None && !exports.Add(symbol.Export))
                return false;
        }
        foreach (var entry in Objects)
        {
            if (entry.Function != MatchFormat.None && !functions.Add(entry.Function))
                return false;
        }
        return true;
    }
}
