// SPDX-License-Identifier: MIT
using Ksplice.Build.Matching;
using static Ksplice.Build.Tests.Matching.VectorSetting;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Literal bytes, relocated fields, no-ops, labels, content.</summary>
internal static class ByteVectors
{
    public static IEnumerable<VectorGroup> Groups()
    {
        yield return Literals();
        yield return LiteralOverBlocks();
        foreach (var group in Fields())
            yield return group;
        yield return Constants();
        yield return Nops();
        yield return NopsBeforeSites();
        yield return NopsBeforeALoop();
        yield return Labels();
        yield return Contents();
    }

    private static VectorGroup Literals() =>
        VectorGroup
            .Of("literal", [OpCode.Literal, ObjectKind.Text, SymbolKind.Plain], s =>
                s.Function(p => p.Literal("55 48 89 e5 5d c3")).Put(F, "55 48 89 e5 5d c3")
            )
            .Accepts("the bytes are there", s => { })
            .Refuses("another byte", s => s.Put(F + 3, "e6"), MatchReason.Different, F + 3)
            .Refuses("two other bytes, of which the first is told", s => s.Put(F + 4, "5e c2"), MatchReason.Different, F + 4)
            .Refuses("a kprobe's breakpoint", s => s.Put(F + 1, "cc").Entry("probe", F + 1), MatchReason.Probed, F + 1)
            .Refuses("a byte that the jump of a kprobe covers", s => s.Put(F + 5, "90").Entry("probe", F + 1), MatchReason.Probed, F + 5)
            .Refuses("a kprobe too far before", s => s.Put(F + 5, "90").Entry("probe", F), MatchReason.Different, F + 5);

    // Memory is read in aligned blocks of 64 bytes.
    private static VectorGroup LiteralOverBlocks() =>
        VectorGroup
            .Of("literal over two blocks", [OpCode.Literal], s =>
            {
                s.At("f", F + 0x3c);
                s.Object(
                    "f",
                    p => p.Literal("55 48 89 e5 5d c3"),
                    ObjectKind.Text,
                    ObjectFlags.None,
                    false,
                    MatchFormat.None,
                    s.Symbol("f", SymbolFlags.Named)
                );
                s.Put(F + 0x3c, "55 48 89 e5");
            })
            .Accepts("both are there", s => s.Put(F + 0x40, "5d c3"))
            .Refuses("the second is not there", s => { }, MatchReason.Unreadable, F + 0x40);

    private static IEnumerable<VectorGroup> Fields()
    {
        // A low address, as a per-CPU variable has.
        const ulong Low = 0x1000;
        (FieldKind Kind, string Before, ulong Target, long Value, Func<ulong, ulong> Written)[] fields =
        [
            (FieldKind.Abs64, "48 b8", G, 0, at => G),
            (FieldKind.Abs32, "b8", Low, 8, at => Low + 8),
            (FieldKind.Abs32S, "48 c7 c0", G, 0, at => G),
            (FieldKind.Pc32, "48 8d 05", G, -4, at => G - (at + 4)),
            (FieldKind.Pc64, "49 bb", G, 0, at => G - at),
        ];
        foreach (var (kind, before, target, value, written) in fields)
        {
            ulong at = F + (ulong)Hex(before).Length;
            bool wide = kind is FieldKind.Abs64 or FieldKind.Pc64;
            VectorSetting Write(VectorSetting s, ulong number) => wide ? s.PutUInt64(at, number) : s.PutUInt32(at, (uint)number);
            var group = VectorGroup.Of($"field {kind}", [OpCode.Field, kind, SymbolFlags.Named], s =>
            {
                uint g = s.Symbol("g", SymbolFlags.Named);
                s.At("g", target).Export(g);
                s.Function(p => p.Literal(before).Field(kind, g, value).Literal("c3")).Put(F, before).Put(at + (wide ? 8u : 4), "c3");
            });
            group.Accepts("it leads to the symbol", s => Write(s, written(at)), target);
            group.Refuses("it leads one byte further", s => Write(s, written(at) + 1), MatchReason.Conflict, at);
            if (kind == FieldKind.Abs32)
                group.Refuses("a sign is not extended", s => Write(s.At("g", G), 0x81000108), MatchReason.Conflict, at);
            yield return group;
        }
    }

    private static VectorGroup Constants() =>
        VectorGroup
            .Of("field Abs8", [OpCode.Field, FieldKind.Abs8, SymbolKind.Plain], s =>
            {
                uint shift = s.Symbol();
                s.Export(shift);
                s.Function(p =>
                        p.Literal("48 c1 e0").Field(FieldKind.Abs8, shift).Literal("48 c1 e9").Field(FieldKind.Abs8, shift).Literal("c3")
                    )
                    .Put(F, "48 c1 e0 0c 48 c1 e9 0c c3");
            })
            .Accepts("both shifts count the same", s => { }, 12)
            .Refuses("the second counts one more", s => s.Put(F + 7, "0d"), MatchReason.Conflict, F + 7);

    private static VectorGroup Nops() =>
        VectorGroup
            .Of("no-ops", [OpCode.Nops], s => s.Function(p => p.Literal("55").Nops(4).Literal("c3")).Put(F, "55"))
            .Accepts("one of four bytes", s => s.Put(F + 1, "0f 1f 40 00 c3"))
            .Accepts("two of two bytes", s => s.Put(F + 1, "66 90 66 90 c3"))
            .Accepts("another number of bytes", s => s.Put(F + 1, "2e 66 0f 1f 84 00 00 00 00 00 90 c3"))
            .Accepts("one with an address", s => s.Put(F + 1, "0f 1f 05 00 00 00 00 c3"))
            .Accepts("one with an index and an address", s => s.Put(F + 1, "0f 1f 04 25 00 00 00 00 c3"))
            .Accepts("one of two registers", s => s.Put(F + 1, "66 0f 1f c4 c3"))
            .Accepts("none", s => s.Put(F + 1, "c3"))
            .Refuses("an instruction that is none", s => s.Put(F + 1, "0f 1e 40 00 c3"), MatchReason.Different, F + 1)
            .Refuses("an instruction behind them", s => s.Put(F + 1, "0f 1f 40 00 cc"), MatchReason.Different, F + 5);

    // No-ops take all that follow, but not those that a site is made of.
    private static VectorGroup NopsBeforeSites() =>
        VectorGroup
            .Of("no-ops before a site", [OpCode.Nops, OpCode.StaticCall, OpCode.Key, OpCode.Alternative, OpCode.Variant], s =>
            {
                uint key = s.Symbol("key", SymbolFlags.Named),
                    trampoline = s.Global("trampoline");
                s.At("key", D).PutUInt64(D, 0).At("trampoline", H);
                s.Function(p =>
                    p.Nops(2)
                        .Label(s.Symbol())
                        .StaticCall(BranchKind.Call, 5, trampoline, key)
                        .Nops(2)
                        .Bug(BugKind.None)
                        .Alternative(3, v => v.Literal("0f 01 ca"), v => { })
                        .Literal("c3")
                );
            })
            .Accepts("the sites are no-ops too", s => s.Put(F, "66 90 0f 1f 44 00 00 66 90 0f 1f 00 c3").Entry("call", F + 2, D))
            .Refuses(
                "the first site is one of the no-ops",
                s => s.Put(F, "66 90 0f 1f 44 00 00 66 90 0f 1f 00 c3").Entry("call", F, D),
                MatchReason.Different,
                F
            )
            .Refuses(
                "the second site is missing",
                s => s.Put(F, "66 90 0f 1f 44 00 00 66 90 c3").Entry("call", F + 2, D),
                MatchReason.Different,
                F + 9
            );

    // The assembler fills up to an aligned loop head; where the head is aligned by itself the pre code has none.
    private static VectorGroup NopsBeforeALoop() =>
        VectorGroup
            .Of("no-ops before a loop", [OpCode.Nops, OpCode.Label, OpCode.Branch], s =>
            {
                uint label = s.Symbol();
                s.Function(p => p.Literal("55").Nops(0).Label(label).Literal("ff c8").Branch(BranchKind.Jmp, 2, label).Literal("c3"))
                    .Put(F, "55 0f 1f 40 00 ff c8 eb fc c3");
            })
            .Accepts("the branch leads behind them", s => { })
            .Accepts("none", s => s.Put(F, "55 ff c8 eb fc c3"))
            .Refuses("the branch leads to them", s => s.Put(F + 8, "f8"), MatchReason.Conflict, F + 7)
            .Refuses("an instruction that is none", s => s.Put(F + 2, "0d"), MatchReason.Different, F + 1)
            .Refuses("one that the kernel makes a jump", s => s.Entry("jump", F + 1, F + 9, D), MatchReason.Different, F + 1)
            .Refuses("one that the kernel makes a call", s => s.Entry("call", F + 1, D), MatchReason.Different, F + 1);

    private static VectorGroup Labels() =>
        VectorGroup
            .Of("label", [OpCode.Label], s =>
            {
                uint label = s.Symbol();
                s.Function(p => p.Branch(BranchKind.Jmp, 2, label).Literal("55").Label(label).Literal("c3")).Put(F, "eb 01 55 c3");
            })
            .Accepts("the branch leads there", s => { })
            .Accepts("the branch is longer", s => s.Put(F, "e9 01 00 00 00 55 c3"))
            .Refuses("the branch leads before it", s => s.Put(F, "eb 00"), MatchReason.Conflict, F + 3);

    private static VectorGroup Contents() =>
        VectorGroup
            .Of("content", [SymbolKind.Content, OpCode.Field], s =>
            {
                uint text = s.Content("68 69 00");
                s.Export(text);
                s.Function(p =>
                    p.Literal("48 8d 05").Field(FieldKind.Pc32, text, -4).Literal("48 8d 15").Field(FieldKind.Pc32, text, -4).Literal("c3")
                );
                s.PutRelative(F, "48 8d 05", D).PutRelative(F + 7, "48 8d 15", D).Put(F + 14, "c3").Put(D, "68 69 00");
            })
            .Accepts("both references lead to the string", s => { }, D)
            .Accepts("the second leads to a copy", s => s.PutRelative(F + 7, "48 8d 15", E + 0x3e).Put(E + 0x3e, "68 69 00"))
            .Accepts("the second leads to the end of a longer one", s => s.PutRelative(F + 7, "48 8d 15", E + 1).Put(E, "6f 68 69 00"))
            .Refuses("another string", s => s.Put(D + 1, "6f"), MatchReason.Different, F + 3)
            .Refuses("a longer string", s => s.Put(D + 2, "21"), MatchReason.Different, F + 3)
            .Refuses("no memory", s => s.PutRelative(F + 7, "48 8d 15", D + 0x1000), MatchReason.Different, F + 10);
}
