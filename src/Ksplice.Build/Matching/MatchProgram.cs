// match/data.c once more: every index, length and nesting is checked once, before anything relies on it.
using System.Runtime.InteropServices;

namespace Ksplice.Build.Matching;

/// <summary>Match data after all its indexes and lengths were checked; <c>ksp_check_data</c> of match/data.c.</summary>
internal sealed class MatchProgram
{
    private const int MaximalDepth = 4;

    public MatchHeader Header { get; private init; }
    public MatchSymbol[] Symbols { get; private init; } = [];
    public MatchObject[] Objects { get; private init; } = [];
    public MatchOp[] Ops { get; private init; } = [];
    public MatchPlace[] Places { get; private init; } = [];
    public byte[] Bytes { get; private init; } = [];
    private byte[] Names { get; init; } = [];

    public string Name(uint offset)
    {
        var from = Names.AsSpan((int)offset);
        return System.Text.Encoding.UTF8.GetString(from[..from.IndexOf((byte)0)]);
    }

    public static int Extent(in MatchOp op) => op.Op switch
    {
        OpCode.Alternative or OpCode.Variant or OpCode.Paravirt => 1 + (int)op.Value,
        OpCode.JumpLabel or OpCode.StaticCall => 2,
        _ => 1,
    };

    public static MatchProgram? Read(ReadOnlySpan<byte> data)
    {
        if (data.Length < Marshal.SizeOf<MatchHeader>())
            return null;
        var header = MemoryMarshal.Read<MatchHeader>(data);
        if (header.Magic != MatchFormat.Magic || header.Version != MatchFormat.Version || header.Size != data.Length
            || Table<MatchSymbol>(data, header.Symbols, header.SymbolCount, 8) is not { } symbols
            || Table<MatchObject>(data, header.Objects, header.ObjectCount, 8) is not { } objects
            || Table<MatchOp>(data, header.Ops, header.OpCount, 8) is not { } ops
            || Table<MatchPlace>(data, header.Places, header.PlaceCount, 8) is not { } places
            || Table<byte>(data, header.Bytes, header.ByteCount, 1) is not { } bytes
            || Table<byte>(data, header.Names, header.NameBytes, 1) is not { Length: > 0 } names
            || names[^1] != 0 || header.ExportCount > header.SymbolCount || header.FunctionCount > header.ObjectCount)
            return null;
        MatchProgram program = new() { Header = header, Symbols = symbols, Objects = objects, Ops = ops, Places = places, Bytes = bytes, Names = names };
        return program.Check() ? program : null;
    }

    private static T[]? Table<T>(ReadOnlySpan<byte> data, uint offset, uint count, uint alignment) where T : unmanaged
    {
        uint each = (uint)Marshal.SizeOf<T>();
        if (offset < Marshal.SizeOf<MatchHeader>() || offset > data.Length || offset % alignment != 0 || count > (data.Length - offset) / each)
            return null;
        return MemoryMarshal.Cast<byte, T>(data.Slice((int)offset, (int)(count * each))).ToArray();
    }

    private bool Check()
    {
        HashSet<uint> exports = [], functions = [];
        foreach (var symbol in Symbols)
        {
            if (symbol.Name >= Names.Length || symbol.Kind > SymbolKind.Content
                || (symbol.Object != MatchFormat.None && symbol.Object >= Objects.Length)
                || (symbol.Export != MatchFormat.None && (symbol.Export >= Header.ExportCount || !exports.Add(symbol.Export)))
                || symbol.Content > Bytes.Length || symbol.ContentSize > Bytes.Length - symbol.Content)
                return false;
        }
        for (int i = 0; i < Places.Length; i++)
        {
            bool first = (Places[i].Flags & PlaceFlags.First) != 0, same = (Places[i].Flags & PlaceFlags.Same) != 0;
            if (Places[i].Name >= Names.Length || (i == 0 && !first) || (first && same))
                return false;
        }
        foreach (var entry in Objects)
        {
            if (entry.Symbol >= Symbols.Length || entry.Name >= Names.Length || entry.Unit >= Names.Length || entry.Kind > ObjectKind.Data
                || entry.Op > Ops.Length || entry.OpCount > Ops.Length - entry.Op
                || (entry.Place != MatchFormat.None && (entry.Place >= Places.Length || (Places[entry.Place].Flags & PlaceFlags.Same) != 0))
                || (entry.Function != MatchFormat.None
                    && (entry.Function >= Header.FunctionCount || (entry.Flags & ObjectFlags.Replaced) == 0 || !functions.Add(entry.Function)))
                || !CheckOps(Ops.AsSpan((int)entry.Op, (int)entry.OpCount), 0))
                return false;
        }
        return exports.Count == Header.ExportCount && functions.Count == Header.FunctionCount;
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
        bool symbol = op.Symbol < Symbols.Length;
        switch (op.Op)
        {
            case OpCode.Literal:
                return op.Value >= 0 && op.Value <= Bytes.Length && op.Length <= Bytes.Length - op.Value;
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
                return op.Length == 0 && op.Kind <= (byte)BugKind.Long && (op.Kind == (byte)BugKind.Long ? symbol : op.Symbol == MatchFormat.None);
            case OpCode.Exception:
                return op.Length == 0 && symbol;
            case OpCode.Alternative:
                if (op.Value < 1 || op.Value > left)
                    return false;
                for (int part = 0; part < op.Value; part += Extent(ops[1 + part]))
                {
                    var variant = ops[1 + part];
                    if (variant.Op != OpCode.Variant || variant.Value < 0 || variant.Value > op.Value - part - 1
                        || !CheckOps(ops.Slice(2 + part, (int)variant.Value), depth + 1))
                        return false;
                }
                return true;
            case OpCode.Paravirt:
                return symbol && op.Value >= 0 && op.Value <= left && CheckOps(ops.Slice(1, (int)op.Value), depth + 1);
            case OpCode.JumpLabel or OpCode.StaticCall:
                return symbol && left >= 1 && ops[1].Op == OpCode.Key && ops[1].Length == 0 && ops[1].Symbol < Symbols.Length && op.Kind <= (byte)BranchKind.CsCall;
            default:
                return false;
        }
    }
}
