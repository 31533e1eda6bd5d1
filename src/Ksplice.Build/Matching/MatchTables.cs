// SPDX-License-Identifier: MIT
// The match data while it grows: five tables (ksplice/format.h), each thing in them once.
using System.Runtime.InteropServices;
using System.Text;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Matching;

internal sealed class MatchTables
{
    private readonly List<MatchSymbol> _symbols = [];
    private readonly List<MatchObject> _objects = [];
    private readonly List<MatchOp> _ops = [];
    private readonly List<MatchPlace> _places = [];
    private readonly Dictionary<(string Unit, int Section, ulong Offset), uint> _placeIndexes = [];
    private readonly List<byte> _bytes = [];
    private readonly List<byte> _names = [];
    private readonly Dictionary<string, uint> _nameOffsets = new(StringComparer.Ordinal);
    private readonly Dictionary<object, uint> _symbolIndexes = [];
    private readonly HashSet<uint> _met = [];

    public MatchTables() => Name("");

    /// <summary>True if an op or an object leads to the symbol.</summary>
    public bool IsMet(uint symbol) => _met.Contains(symbol);

    /// <summary>The symbol of a global name.</summary>
    public uint Global(string name) =>
        Symbol(name, () => new MatchSymbol { Name = Name(name), Flags = SymbolFlags.Named | SymbolFlags.Global });

    /// <summary>The symbol that stands for <paramref name="node"/>'s start.</summary>
    public uint Start(ObjectNode node)
    {
        if (node.Kind is NodeKind.String or NodeKind.Constant)
            return Content(node.Bytes);
        if (node.IsGlobal)
            return Global(node.Name);
        bool named = !node.IsAnonymous && node.Kind is NodeKind.Function or NodeKind.Fragment or NodeKind.ColdPart or NodeKind.Data;
        return Symbol(node, () =>
            new MatchSymbol { Name = Name(node.IsAnonymous ? "" : node.Name), Flags = named ? SymbolFlags.Named : SymbolFlags.None }
        );
    }

    /// <summary>The symbol of a place inside of code; its distance from the start may differ in the run kernel.</summary>
    public uint Place(ObjectNode node, long offset) => Symbol((node, offset), () => new MatchSymbol());

    /// <summary>The symbol of a number that the kernel writes into its code (K5).</summary>
    public uint Constant(string name) => Symbol(("constant", name), () => new MatchSymbol());

    /// <summary>The symbol of whatever holds <paramref name="content"/>.</summary>
    public uint Content(ReadOnlySpan<byte> content)
    {
        byte[] bytes = content.ToArray();
        return Symbol("content " + Convert.ToHexString(bytes), () =>
        {
            uint at = (uint)_bytes.Count;
            _bytes.AddRange(bytes);
            return new MatchSymbol
            {
                Kind = SymbolKind.Content,
                Content = at,
                ContentSize = (uint)bytes.Length,
            };
        });
    }

    private uint Symbol(object key, Func<MatchSymbol> make)
    {
        if (_symbolIndexes.TryGetValue(key, out uint index))
            return index;
        var symbol = make();
        symbol.Export = symbol.Object = MatchFormat.None;
        index = (uint)_symbols.Count;
        _symbols.Add(symbol);
        _symbolIndexes.Add(key, index);
        return index;
    }

    public void SetRole(string name, SymbolRole role)
    {
        uint symbol = Global(name);
        CollectionsMarshal.AsSpan(_symbols)[(int)symbol].Role = role;
    }

    public void SetExport(uint symbol, int index, SymbolFlags flags)
    {
        ref var entry = ref CollectionsMarshal.AsSpan(_symbols)[(int)symbol];
        entry.Export = (uint)index;
        entry.Flags |= flags;
    }

    public bool IsExported(uint symbol) => _symbols[(int)symbol].Export != MatchFormat.None;

    public void AddObject(ObjectNode node, string unit, ObjectKind kind, ObjectFlags flags, uint function, IReadOnlyList<MatchOp> ops)
    {
        uint symbol = Start(node);
        CollectionsMarshal.AsSpan(_symbols)[(int)symbol].Object = (uint)_objects.Count;
        _met.Add(symbol);
        _objects.Add(
            new MatchObject
            {
                Symbol = symbol,
                Name = Name(node.Name),
                Unit = Name(unit),
                Size = (uint)node.Size,
                Op = (uint)_ops.Count,
                OpCount = (uint)ops.Count,
                Function = function,
                Place =
                    kind == ObjectKind.Text
                        ? _placeIndexes.GetValueOrDefault((unit, node.Section.Index, node.Start), MatchFormat.None)
                        : MatchFormat.None,
                Kind = kind,
                Flags = flags,
            }
        );
        long variant = 0;
        foreach (var op in ops)
        {
            _ops.Add(op);
            // Of an alternative's variants one is in place; what only the others lead to is not found there.
            variant = op.Op == OpCode.Variant ? op.Value : variant - 1;
            // A paravirt site leads to its table only if it was not rewritten, a call to its trampoline the same.
            if (variant < 0 && op.Op is OpCode.Field or OpCode.Branch or OpCode.Label or OpCode.Key or OpCode.JumpLabel)
                _met.Add(op.Symbol);
        }
    }

    /// <summary>Adds the places of a sequence of a unit's symbols; objects at them that are added later know theirs.</summary>
    public void AddSequence(string unit, IReadOnlyList<SequencePlace> sequence)
    {
        for (int i = 0; i < sequence.Count; i++)
        {
            var flags = (i == 0 ? PlaceFlags.First : PlaceFlags.None) | (sequence[i].IsWeak ? PlaceFlags.Weak : PlaceFlags.None);
            _placeIndexes.Add((unit, sequence[i].Section, sequence[i].Offset), (uint)_places.Count);
            foreach (string name in sequence[i].Names)
            {
                _places.Add(new MatchPlace { Name = Name(name), Flags = flags });
                flags = (flags & PlaceFlags.Weak) | PlaceFlags.Same;
            }
        }
    }

    /// <summary>Adds literal bytes and returns where they stand.</summary>
    public long Literal(ReadOnlySpan<byte> bytes)
    {
        long at = _bytes.Count;
        _bytes.AddRange(bytes);
        return at;
    }

    /// <summary>The number of literal bytes so far.</summary>
    public long LiteralEnd => _bytes.Count;

    private uint Name(string name)
    {
        if (_nameOffsets.TryGetValue(name, out uint offset))
            return offset;
        offset = (uint)_names.Count;
        _names.AddRange(Encoding.UTF8.GetBytes(name));
        _names.Add(0);
        _nameOffsets.Add(name, offset);
        return offset;
    }

    public byte[] ToBytes(int exports, int functions)
    {
        MatchHeader header = new()
        {
            Magic = MatchFormat.Magic,
            Version = MatchFormat.Version,
            ExportCount = (uint)exports,
            FunctionCount = (uint)functions,
        };
        using MemoryStream data = new();
        data.Write(new byte[Marshal.SizeOf<MatchHeader>()]);
        (header.Symbols, header.SymbolCount) = (Put<MatchSymbol>(_symbols), (uint)_symbols.Count);
        (header.Objects, header.ObjectCount) = (Put<MatchObject>(_objects), (uint)_objects.Count);
        (header.Ops, header.OpCount) = (Put<MatchOp>(_ops), (uint)_ops.Count);
        (header.Places, header.PlaceCount) = (Put<MatchPlace>(_places), (uint)_places.Count);
        (header.Bytes, header.ByteCount) = (Put<byte>(_bytes), (uint)_bytes.Count);
        (header.Names, header.NameBytes) = (Put<byte>(_names), (uint)_names.Count);
        header.Size = (uint)data.Length;
        byte[] bytes = data.ToArray();
        MemoryMarshal.Write(bytes, header);
        return bytes;

        uint Put<T>(List<T> table)
            where T : unmanaged
        {
            while (data.Length % 8 != 0)
                data.WriteByte(0);
            uint at = (uint)data.Length;
            data.Write(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(table)));
            return at;
        }
    }
}
