// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Match data and memory of a vector while they are written by hand.</summary>
internal sealed class VectorSetting
{
    /// <summary>Where the function under test stands, and other code.</summary>
    public const ulong F = 0xffffffff81000000,
        G = 0xffffffff81000100,
        H = 0xffffffff81000200;

    /// <summary>Where data stands.</summary>
    public const ulong D = 0xffffffff82000000,
        E = 0xffffffff82000100;

    private readonly List<MatchSymbol> _symbols = [];
    private readonly List<MatchObject> _objects = [];
    private readonly List<MatchOp> _ops = [];
    private readonly List<MatchPlace> _places = [];
    private readonly List<byte> _bytes = [];
    private readonly List<byte> _names = [0];
    private readonly Dictionary<string, uint> _globals = [];
    private uint _exports;
    private uint _functions;

    public VectorMemory Memory { get; } = new();

    /// <summary>The symbol of the function <c>f</c>.</summary>
    public uint FunctionSymbol { get; private set; }

    /// <summary>What is done to the finished match data: for what no build would write.</summary>
    public Func<byte[], byte[]> Damage { get; set; } = data => data;

    public static byte[] Hex(string hex) => Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));

    /// <summary>Puts bytes into memory.</summary>
    public VectorSetting Put(ulong address, string hex)
    {
        Memory.Put(address, Hex(hex));
        return this;
    }

    /// <summary>Puts bytes into memory, and behind them the distance of <paramref name="target"/> from the end of that field.</summary>
    public VectorSetting PutRelative(ulong address, string hex, ulong target)
    {
        Put(address, hex);
        return PutUInt32(address + (ulong)Hex(hex).Length, (uint)(target - (address + (ulong)Hex(hex).Length + 4)));
    }

    public VectorSetting PutUInt32(ulong address, uint value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, value);
        Memory.Put(address, bytes);
        return this;
    }

    public VectorSetting PutUInt64(ulong address, ulong value)
    {
        byte[] bytes = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, value);
        Memory.Put(address, bytes);
        return this;
    }

    /// <summary>A symbol of the kernel's table.</summary>
    public VectorSetting At(string name, ulong address)
    {
        Memory.AddSymbol(name, address);
        return this;
    }

    /// <summary>Takes the symbols of a name out.</summary>
    public VectorSetting Without(string symbol)
    {
        Memory.RemoveSymbol(symbol);
        return this;
    }

    /// <summary>An entry of a table of the kernel's.</summary>
    public VectorSetting Entry(string table, params ulong[] numbers)
    {
        Memory.AddEntry(table, numbers);
        return this;
    }

    /// <summary>Takes the entries of a table for some code out.</summary>
    public VectorSetting Without(string table, ulong code)
    {
        Memory.RemoveEntry(table, code);
        return this;
    }

    /// <summary>A symbol of the match data.</summary>
    public uint Symbol(string name = "", SymbolFlags flags = SymbolFlags.None, SymbolRole role = SymbolRole.None)
    {
        _symbols.Add(
            new MatchSymbol
            {
                Name = Name(name),
                Flags = flags,
                Role = role,
                Export = MatchFormat.None,
                Object = MatchFormat.None,
            }
        );
        return (uint)_symbols.Count - 1;
    }

    /// <summary>One that the kernel must have.</summary>
    public uint Global(string name)
    {
        if (!_globals.TryGetValue(name, out uint symbol))
            _globals.Add(name, symbol = Symbol(name, SymbolFlags.Named | SymbolFlags.Global));
        return symbol;
    }

    /// <summary>One that stands for whatever holds the bytes.</summary>
    public uint Content(string hex)
    {
        byte[] bytes = Hex(hex);
        uint symbol = Symbol();
        ref var entry = ref CollectionsMarshal.AsSpan(_symbols)[(int)symbol];
        (entry.Kind, entry.Content, entry.ContentSize) = (SymbolKind.Content, (uint)Literal(bytes), (uint)bytes.Length);
        return symbol;
    }

    /// <summary>A function of the kernel's that stands for something at a site.</summary>
    public uint Role(string name, SymbolRole role)
    {
        uint symbol = Global(name);
        CollectionsMarshal.AsSpan(_symbols)[(int)symbol].Role = role;
        return symbol;
    }

    /// <summary>Asks for a symbol's value.</summary>
    public VectorSetting Export(uint symbol, SymbolFlags flags = SymbolFlags.None)
    {
        ref var entry = ref CollectionsMarshal.AsSpan(_symbols)[(int)symbol];
        entry.Export = _exports++;
        entry.Flags |= flags;
        return this;
    }

    /// <summary>Adds literal bytes and returns where they stand.</summary>
    public long Literal(byte[] bytes)
    {
        _bytes.AddRange(bytes);
        return _bytes.Count - bytes.Length;
    }

    /// <summary>A place of a sequence; returns its index.</summary>
    public uint Place(string name, PlaceFlags flags = PlaceFlags.None)
    {
        _places.Add(new MatchPlace { Name = Name(name), Flags = flags });
        return (uint)_places.Count - 1;
    }

    /// <summary>The function <c>f</c>, and that it stands at <see cref="F"/>.</summary>
    public VectorSetting Function(
        Action<VectorProgram> write,
        ObjectFlags flags = ObjectFlags.None,
        bool redirect = false,
        uint place = MatchFormat.None
    )
    {
        At("f", F);
        FunctionSymbol = Symbol("f", SymbolFlags.Named);
        return Object("f", write, ObjectKind.Text, flags, redirect, place, FunctionSymbol);
    }

    /// <summary>An object at <paramref name="symbol"/>.</summary>
    public VectorSetting Object(
        string name,
        Action<VectorProgram> write,
        ObjectKind kind,
        ObjectFlags flags,
        bool redirect,
        uint place,
        uint symbol
    )
    {
        VectorProgram program = new(this);
        write(program);
        CollectionsMarshal.AsSpan(_symbols)[(int)symbol].Object = (uint)_objects.Count;
        _objects.Add(
            new MatchObject
            {
                Symbol = symbol,
                Name = Name(name),
                Unit = Name("unit.c"),
                Size = (uint)program.Ops.Sum(op => op.Length),
                Op = (uint)_ops.Count,
                OpCount = (uint)program.Ops.Count,
                Function = redirect ? _functions++ : MatchFormat.None,
                Place = place,
                Kind = kind,
                Flags = flags,
            }
        );
        _ops.AddRange(program.Ops);
        return this;
    }

    private uint Name(string name)
    {
        if (name.Length == 0)
            return 0;
        uint offset = (uint)_names.Count;
        _names.AddRange(Encoding.UTF8.GetBytes(name));
        _names.Add(0);
        return offset;
    }

    /// <summary>The match data.</summary>
    public byte[] ToBytes()
    {
        MatchHeader header = new()
        {
            Magic = MatchFormat.Magic,
            Version = MatchFormat.Version,
            ExportCount = _exports,
            FunctionCount = _functions,
        };
        List<byte> data = [.. new byte[Marshal.SizeOf<MatchHeader>()]];
        (header.Symbols, header.SymbolCount) = Put<MatchSymbol>(data, _symbols);
        (header.Objects, header.ObjectCount) = Put<MatchObject>(data, _objects);
        (header.Ops, header.OpCount) = Put<MatchOp>(data, _ops);
        (header.Places, header.PlaceCount) = Put<MatchPlace>(data, _places);
        (header.Bytes, header.ByteCount) = Put<byte>(data, _bytes);
        (header.Names, header.NameBytes) = Put<byte>(data, _names);
        header.Size = (uint)data.Count;
        byte[] bytes = [.. data];
        MemoryMarshal.Write(bytes, header);
        return Damage(bytes);
    }

    private static (uint Offset, uint Count) Put<T>(List<byte> data, List<T> table)
        where T : unmanaged
    {
        while (data.Count % 8 != 0)
            data.Add(0);
        uint at = (uint)data.Count;
        data.AddRange(MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(table)));
        return (at, (uint)table.Count);
    }
}
