// SPDX-License-Identifier: MIT
using Ksplice.Build.Matching;
using static Ksplice.Build.Tests.Matching.VectorSetting;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Which candidate it is, what data holds, and which values are asked for.</summary>
internal static class ObjectVectors
{
    public static IEnumerable<VectorGroup> Groups() =>
        [
            Candidates(),
            Sequences(),
            SequenceNames(),
            WeakNeighbours(),
            WeakFunctions(),
            Rounds(),
            Data(),
            LonelyData(),
            Names(),
            Globals(),
            ExportsByName(),
            Called(),
        ];

    private static VectorGroup Candidates() =>
        VectorGroup
            .Of("candidates", [ObjectKind.Text], s => s.Function(p => p.Literal("55 c3")).Put(F, "55 c3"))
            .Accepts("one", s => { })
            .Accepts("one twice", s => s.At("f", F))
            .Refuses("none", s => s.Without("f"), MatchReason.NoCandidate)
            .Refuses("two, and nothing tells which", s => s.At("f", G).Put(G, "55 c3"), MatchReason.NotInSequence);

    // The unit has a, f and b in this order; the kernel has f twice, once between a and b.
    private static VectorSetting Sequence(VectorSetting s, Action<VectorSetting> places)
    {
        places(s);
        s.Function(p => p.Literal("55 c3"), place: 1).Export(s.FunctionSymbol).Put(F, "55 c3").Put(G, "55 c3");
        return s.At("a", F - 0x20).At("b", F + 0x20).At("x", G - 0x20).At("f", G).At("b", G + 0x20);
    }

    private static VectorGroup Sequences() =>
        VectorGroup
            .Of("sequence", [PlaceFlags.First], s => Sequence(s, at =>
                {
                    at.Place("a", PlaceFlags.First);
                    at.Place("f");
                    at.Place("b");
                    at.Place("other_section", PlaceFlags.First);
                }))
            .Accepts("the candidate between the unit's other functions", s => { }, F)
            .Accepts("padding has symbols", s => s.At("__pfx_f", F - 0x10).At("__pfx_b", F + 0x10), F)
            .Refuses("a stranger stands in it", s => s.At("y", F + 0x10), MatchReason.NotInSequence)
            .Refuses("the first one is missing", s => s.Without("a"), MatchReason.NotInSequence)
            .Refuses("the code of the candidate differs", s => s.Put(F, "56"), MatchReason.Different, F)
            .Refuses(
                "it stands there twice, and the code of both differs, of which the farther is told",
                s => s.At("a", G - 0x10).Put(F + 1, "c2").Put(G, "56"),
                MatchReason.Different,
                F + 1
            )
            .Accepts("it stands there twice, and the code of one differs", s => s.At("a", G - 0x10).Put(G, "56"), F)
            .Refuses("it stands there twice", s => s.At("a", G - 0x10), MatchReason.Ambiguous);

    private static VectorGroup SequenceNames() =>
        VectorGroup
            .Of("sequence with two names of a place", [PlaceFlags.First, PlaceFlags.Same], s =>
            {
                s.Place("a", PlaceFlags.First);
                s.Place("a_too", PlaceFlags.Same);
                uint place = s.Place("f");
                s.Place("b");
                s.Function(p => p.Literal("55 c3"), place: place).Export(s.FunctionSymbol).Put(F, "55 c3").Put(G, "55 c3");
                s.At("b", F + 0x20).At("x", G - 0x20).At("f", G).At("b", G + 0x20);
            })
            .Accepts("the kernel has the second", s => s.At("a_too", F - 0x20), F)
            .Refuses("the kernel has another", s => s.At("a_not", F - 0x20), MatchReason.NotInSequence);

    private static VectorGroup WeakNeighbours() =>
        VectorGroup
            .Of("sequence with a weak function", [PlaceFlags.First, PlaceFlags.Weak], s => Sequence(s, at =>
                    {
                        at.Place("a", PlaceFlags.First | PlaceFlags.Weak);
                        at.Place("f");
                        at.Place("b");
                    })
                    .Without("x"))
            .Accepts("another unit overrides it", s => s.Without("a").At("x", F - 0x20).Without("b").At("b", F + 0x20), F)
            .Refuses("a function that is not weak is missing", s => s.Without("b"), MatchReason.NotInSequence);

    private static VectorGroup WeakFunctions() =>
        VectorGroup
            .Of("weak function", [PlaceFlags.First, PlaceFlags.Weak], s =>
            {
                s.Place("f", PlaceFlags.First | PlaceFlags.Weak);
                s.Place("b");
                s.Function(p => p.Literal("55 c3"), place: 0).Put(F, "55 c3");
            })
            .Accepts("it stands beside the unit's other function", s => s.At("b", F + 0x20))
            .Refuses("the only one of its name stands elsewhere", s => s.At("y", F + 0x20), MatchReason.NotInSequence);

    // f is told apart by h alone, which comes behind it.
    private static VectorGroup Rounds() =>
        VectorGroup
            .Of("rounds", [OpCode.Branch, BranchKind.Call, PlaceFlags.First], s =>
            {
                Sequence(s, at =>
                    {
                        at.Place("a", PlaceFlags.First);
                        at.Place("f");
                        at.Place("b");
                    })
                    .At("a", G - 0x10);
                s.At("h", H).Put(H + 5, "c3");
                s.Object(
                    "h",
                    p => p.Branch(BranchKind.Call, 5, s.FunctionSymbol).Literal("c3"),
                    ObjectKind.Text,
                    ObjectFlags.None,
                    false,
                    MatchFormat.None,
                    s.Symbol("h", SymbolFlags.Named)
                );
            })
            .Accepts("a call that matched tells which", s => s.PutRelative(H, "e8", G), G)
            .Refuses("what the call leads to differs", s => s.PutRelative(H, "e8", G).Put(G + 1, "c2"), MatchReason.Conflict, H)
            .Refuses("the call leads to none of them", s => s.PutRelative(H, "e8", G + 1), MatchReason.Conflict, H);

    private static VectorGroup Data() =>
        VectorGroup
            .Of("constant data", [ObjectKind.Data, OpCode.Literal, OpCode.Field, FieldKind.Abs64], s =>
            {
                uint table = s.Symbol(),
                    g = s.Symbol("g", SymbolFlags.Named);
                s.At("g", G).Export(g);
                s.Function(p => p.Literal("48 8d 05").Field(FieldKind.Pc32, table, -4).Literal("c3"));
                s.Object(
                    "table",
                    p => p.Literal("01 02 03 04 05 06 07 08").Field(FieldKind.Abs64, g),
                    ObjectKind.Data,
                    ObjectFlags.None,
                    false,
                    MatchFormat.None,
                    table
                );
                s.PutRelative(F, "48 8d 05", D).Put(F + 7, "c3").Put(D, "01 02 03 04 05 06 07 08").PutUInt64(D + 8, G);
            })
            .Accepts("it is the same", s => { }, G)
            .Refuses("another byte", s => s.Put(D + 5, "00"), MatchReason.Different, D + 5)
            .Refuses("a pointer to something else", s => s.PutUInt64(D + 8, H), MatchReason.Conflict, D + 8)
            .Refuses("no memory", s => s.PutRelative(F, "48 8d 05", E), MatchReason.Unreadable, E);

    private static VectorGroup LonelyData() =>
        VectorGroup
            .Of("data that nothing leads to", [ObjectKind.Data], s => s.Function(p => p.Literal("c3")).Put(F, "c3"))
            .Accepts("it is optional", s => Lonely(s, ObjectFlags.Optional))
            .Refuses("it is not", s => Lonely(s, ObjectFlags.None), MatchReason.Unresolved);

    private static void Lonely(VectorSetting s, ObjectFlags flags)
    {
        uint data = s.Symbol();
        s.Object("data", p => p.Literal("01"), ObjectKind.Data, flags, false, MatchFormat.None, data);
    }

    private static VectorSetting Calling(VectorSetting s, SymbolFlags flags)
    {
        uint g = s.Symbol("g", flags);
        return s.Export(g).Function(p => p.Branch(BranchKind.Call, 5, g).Literal("c3")).PutRelative(F, "e8", G).Put(F + 5, "c3");
    }

    private static VectorGroup Names() =>
        VectorGroup
            .Of("static symbol", [SymbolFlags.Named, OpCode.Branch, BranchKind.Call], s => Calling(s, SymbolFlags.Named))
            .Accepts("it has its name", s => s.At("g", H).At("g", G), G)
            .Accepts("the kernel has no symbol of its name", s => { }, G)
            .Refuses("others have its name", s => s.At("g", H), MatchReason.Conflict, F);

    private static VectorGroup Globals() =>
        VectorGroup
            .Of("global symbol", [SymbolFlags.Named, SymbolFlags.Global, OpCode.Branch, BranchKind.Call], s =>
                Calling(s, SymbolFlags.Named | SymbolFlags.Global)
            )
            .Accepts("it has its name", s => s.At("g", G), G)
            .Refuses("the kernel has no symbol of its name", s => { }, MatchReason.Conflict, F);

    private static VectorGroup ExportsByName() =>
        VectorGroup
            .Of("export by name", [SymbolFlags.ByName, SymbolFlags.Global], s =>
            {
                s.Function(p => p.Literal("c3")).Put(F, "c3");
                s.Export(s.Global("g"), SymbolFlags.ByName);
            })
            .Accepts("one symbol", s => s.At("g", G), G)
            .Accepts("one address twice", s => s.At("g", G).At("g", G), G)
            .Refuses("no symbol", s => { }, MatchReason.Unresolved)
            .Refuses("two symbols", s => s.At("g", G).At("g", H), MatchReason.Ambiguous);

    private static VectorGroup Called() =>
        VectorGroup
            .Of("address that new code takes", [SymbolFlags.Called, SymbolFlags.ByName], s =>
            {
                s.Function(p => p.Literal("c3")).Put(F, "c3");
                s.Export(s.Global("g"), SymbolFlags.ByName | SymbolFlags.Called);
            })
            .Accepts("the kernel has no IBT", s => s.At("g", G).Put(G, "55 c3"), G)
            .Accepts("an ENDBR stands there", s => s.At("g", G).Put(G, "f3 0f 1e fa c3").Entry("endbr", F, D), G)
            .Accepts("it is data", s => s.At("g", D).Put(D, "01").Entry("endbr", F, D), D)
            .Refuses("no ENDBR stands there", s => s.At("g", G).Put(G, "55 c3").Entry("endbr", F, D), MatchReason.Sealed, G)
            .Refuses(
                "boot overwrites the ENDBR",
                s => s.At("g", G).Put(G, "f3 0f 1e fa c3").Entry("endbr", F, D).Entry("seal", G),
                MatchReason.Sealed,
                G
            );
}
