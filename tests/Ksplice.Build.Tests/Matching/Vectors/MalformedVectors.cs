// SPDX-License-Identifier: MIT
using System.Runtime.InteropServices;
using Ksplice.Build.Matching;
using static Ksplice.Build.Tests.Matching.VectorSetting;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Match data that no build writes. Every index and length is checked before anything relies on it.</summary>
internal static class MalformedVectors
{
    private delegate void Change<T>(ref T entry);

    public static IEnumerable<VectorGroup> Groups() => [Header(), Tables(), Ops(), TwoFunctions()];

    private static void Begin(VectorSetting s)
    {
        s.Place("f", PlaceFlags.First);
        s.Place("f_too", PlaceFlags.Same);
        s.Function(p => p.Literal("55 48 89 e5 5d c3"), ObjectFlags.Replaced, redirect: true, place: 0);
        s.Put(F, "55 48 89 e5 5d c3").Export(s.FunctionSymbol).Export(s.Global("g"), SymbolFlags.ByName).At("g", G);
    }

    private static VectorGroup Header()
    {
        var group = VectorGroup.Of("header", [], Begin);
        group.Accepts("it is right", s => { }, F, G);
        Bad("nothing", s => s.Damage = data => []);
        Bad("shorter than a header", s => s.Damage = data => data[..70]);
        Bad("shorter than it says", s => s.Damage = data => data[..^1]);
        Bad("longer than it says", s => s.Damage = data => [.. data, 0]);
        Edit("another magic", (ref MatchHeader header) => header.Magic++);
        Edit("another version", (ref MatchHeader header) => header.Version++);
        Edit("a table in the header", (ref MatchHeader header) => header.Symbols = 64);
        Edit("a table that is not aligned", (ref MatchHeader header) => header.Ops += 4);
        Edit("a table behind the end", (ref MatchHeader header) => header.Objects = header.Size + 8);
        Edit("a table longer than the data", (ref MatchHeader header) => header.OpCount = 0x10000000);
        Edit("no names", (ref MatchHeader header) => header.NameBytes = 0);
        Edit("names without an end", (ref MatchHeader header) => header.NameBytes--);
        Edit("more exports than there are", (ref MatchHeader header) => header.ExportCount++);
        Edit("more functions than there are", (ref MatchHeader header) => header.FunctionCount--);
        return group;

        void Bad(string name, Action<VectorSetting> change) => group.Refuses(name, change, MatchReason.BadData);
        void Edit(string name, Change<MatchHeader> change) => Bad(name, s => s.Damage = data =>
                {
                    change(ref MemoryMarshal.AsRef<MatchHeader>(data.AsSpan()));
                    return data;
                });
    }

    private static VectorGroup Tables()
    {
        var group = VectorGroup.Of("table", [], Begin);
        Symbol("a name behind the names", (ref MatchSymbol symbol) => symbol.Name = 0x1000);
        Symbol("a kind that is none", (ref MatchSymbol symbol) => symbol.Kind = (SymbolKind)2);
        Symbol("an object behind the objects", (ref MatchSymbol symbol) => symbol.Object = 1);
        Symbol("an export behind the exports", (ref MatchSymbol symbol) => symbol.Export = 2);
        Symbol("an export twice", (ref MatchSymbol symbol) => symbol.Export = 1);
        Symbol("content behind the bytes", (ref MatchSymbol symbol) => symbol.ContentSize = 0x1000);
        Object("a symbol behind the symbols", (ref MatchObject entry) => entry.Symbol = 2);
        Object("a name behind the names", (ref MatchObject entry) => entry.Name = 0x1000);
        Object("a unit behind the names", (ref MatchObject entry) => entry.Unit = 0x1000);
        Object("a kind that is none", (ref MatchObject entry) => entry.Kind = (ObjectKind)2);
        Object("ops behind the ops", (ref MatchObject entry) => entry.Op = 2);
        Object("more ops than there are", (ref MatchObject entry) => entry.OpCount = 2);
        Object("a place behind the places", (ref MatchObject entry) => entry.Place = 2);
        Object("the second name of a place", (ref MatchObject entry) => entry.Place = 1);
        Object("a function behind the functions", (ref MatchObject entry) => entry.Function = 1);
        Object("ops that begin behind the ops", (ref MatchObject entry) => (entry.Op, entry.OpCount) = (2, 0));
        Object("a function that is not replaced", (ref MatchObject entry) => entry.Flags = ObjectFlags.None);
        Place("a name behind the names", (ref MatchPlace place) => place.Name = 0x1000);
        Place("no sequence begins", (ref MatchPlace place) => place.Flags = PlaceFlags.None);
        Place("a sequence begins with a second name", (ref MatchPlace place) => place.Flags |= PlaceFlags.Same);
        return group;

        void Symbol(string name, Change<MatchSymbol> change) => Edit("symbol, " + name, header => header.Symbols, change);
        void Object(string name, Change<MatchObject> change) => Edit("object, " + name, header => header.Objects, change);
        void Place(string name, Change<MatchPlace> change) => Edit("place, " + name, header => header.Places, change);

        // The first entry of a table.
        void Edit<T>(string name, Func<MatchHeader, uint> table, Change<T> change)
            where T : unmanaged =>
            group.Refuses(
                name,
                s =>
                    s.Damage = data =>
                    {
                        change(ref MemoryMarshal.AsRef<T>(data.AsSpan((int)table(MemoryMarshal.Read<MatchHeader>(data)))));
                        return data;
                    },
                MatchReason.BadData
            );
    }

    private static VectorGroup Ops()
    {
        var group = VectorGroup.Of("op", [], s => s.Symbol());
        Bad("none of that number", Op(0));
        Bad("none of that number, above all", Op(OpCode.Exception + 1));
        Bad("a variant without an alternative", Op(OpCode.Variant));
        Bad("a key without a site", Op(OpCode.Key));
        Bad("a literal behind the bytes", Op(OpCode.Literal, length: 5, value: 0));
        Bad("a literal before the bytes", Op(OpCode.Literal, value: -1));
        Bad("a field of no kind", Op(OpCode.Field, kind: (byte)FieldKind.Bug + 1));
        Bad("a field of no symbol", Op(OpCode.Field, symbol: 7));
        Bad("a branch of no kind", Op(OpCode.Branch, kind: (byte)BranchKind.CsCall + 1));
        Bad("a retpoline of no register", Op(OpCode.Retpoline, kind: (byte)BranchKind.Jmp, value: 16));
        Bad("a label of no symbol", Op(OpCode.Label, symbol: MatchFormat.None));
        Bad("a trap with bytes", Op(OpCode.Bug, length: 2, symbol: MatchFormat.None));
        Bad("a trap of no kind", Op(OpCode.Bug, kind: (byte)BugKind.Format + 1));
        Bad("a trap without a file", Op(OpCode.Bug, kind: (byte)BugKind.Long, symbol: MatchFormat.None));
        Bad("a warning without a format", Op(OpCode.Bug, kind: (byte)BugKind.Format), Op(OpCode.Lock));
        Bad("a warning at the end", Op(OpCode.Bug, kind: (byte)BugKind.Format));
        Bad("a warning with a format of no symbol", Op(OpCode.Bug, kind: (byte)BugKind.Format), Op(OpCode.Key, symbol: 7));
        Bad("a trap with a file too many", Op(OpCode.Bug, kind: (byte)BugKind.Short));
        Bad("a fault with bytes", Op(OpCode.Exception, length: 1));
        Bad("an alternative without variants", Op(OpCode.Alternative));
        Bad("an alternative longer than the ops", Op(OpCode.Alternative, value: 1));
        Bad("an alternative of something else", Op(OpCode.Alternative, value: 1), Op(OpCode.Lock));
        Bad("a variant longer than its alternative", Op(OpCode.Alternative, value: 1), Op(OpCode.Variant, value: 1), Op(OpCode.Lock));
        Bad("a paravirt call longer than the ops", Op(OpCode.Paravirt, value: 1));
        Bad("a paravirt call of fewer ops than none", Op(OpCode.Paravirt, value: -1));
        Bad("a paravirt call of no symbol", Op(OpCode.Paravirt, symbol: 7));
        Bad("a paravirt call of an op that is none", Op(OpCode.Paravirt, value: 1), Op(0));
        Bad("a jump label of no symbol", Op(OpCode.JumpLabel, symbol: 7), Op(OpCode.Key));
        Bad("a jump label of no kind", Op(OpCode.JumpLabel, kind: (byte)BranchKind.CsCall + 1), Op(OpCode.Key));
        Bad("a jump label without a key", Op(OpCode.JumpLabel), Op(OpCode.Lock));
        Bad("a jump label at the end", Op(OpCode.JumpLabel));
        Bad("a key with bytes", Op(OpCode.StaticCall), Op(OpCode.Key, length: 1));
        Bad("a key of no symbol", Op(OpCode.StaticCall), Op(OpCode.Key, symbol: 7));
        // Paravirt calls within paravirt calls.
        Bad("sites too deep in sites", [.. Enumerable.Range(0, 6).Select(depth => Op(OpCode.Paravirt, value: 5 - depth))]);
        return group;

        void Bad(string name, params MatchOp[] ops) => group.Refuses(name, s => s.Function(p => p.Ops.AddRange(ops)), MatchReason.BadData);
    }

    private static VectorGroup TwoFunctions() =>
        VectorGroup
            .Of("two functions", [], s =>
            {
                s.Function(p => p.Literal("31 c0 5d 90 c3"), ObjectFlags.Replaced, redirect: true).Put(F, "31 c0 5d 90 c3");
                s.At("g", G).Put(G, "31 c9 5d 90 c3");
                s.Object(
                    "g",
                    p => p.Literal("31 c9 5d 90 c3"),
                    ObjectKind.Text,
                    ObjectFlags.Replaced,
                    true,
                    MatchFormat.None,
                    s.Symbol("g", SymbolFlags.Named)
                );
            })
            .Accepts("each has its own number", s => { })
            .Refuses(
                "both have one number",
                s =>
                    s.Damage = data =>
                    {
                        var header = MemoryMarshal.Read<MatchHeader>(data);
                        MemoryMarshal.Cast<byte, MatchObject>(data.AsSpan((int)header.Objects))[0].Function = 1;
                        return data;
                    },
                MatchReason.BadData
            );

    private static MatchOp Op(OpCode op, int length = 0, uint symbol = 0, long value = 0, byte kind = 0) =>
        new()
        {
            Op = op,
            Kind = kind,
            Length = (ushort)length,
            Symbol = symbol,
            Value = value,
        };
}
