// SPDX-License-Identifier: MIT
using Ksplice.Build.Matching;
using static Ksplice.Build.Tests.Matching.VectorSetting;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Places that the kernel rewrites.</summary>
internal static class SiteVectors
{
    private const string Nop5 = "0f 1f 44 00 00";

    public static IEnumerable<VectorGroup> Groups() =>
        [
            Fentry(),
            Endbr(),
            Alternatives(),
            ShortenedJump(),
            OptionalCode(),
            Paravirt(),
            ParavirtNothing(),
            ParavirtTables(),
            Locks(),
            JumpLabels(),
            JumpLabelFlags(),
            StaticCalls(),
            StaticWarnings(),
            StaticTailCalls(),
            ConditionalTailCalls(),
            Redirects(),
            RedirectsWithoutFentry(),
            ShortFunctions(),
            Ranges(),
            JumpOutsideOfSites(),
        ];

    private static VectorGroup Fentry() =>
        VectorGroup
            .Of("fentry site", [OpCode.Fentry], s =>
                s.At("__fentry__", G).At("g", H).Entry("tracer", G).Function(p => p.Fentry().Literal("c3")).Put(F + 5, "c3")
            )
            .Accepts("a no-op", s => s.Put(F, Nop5))
            .Accepts("a call of the tracer", s => s.PutRelative(F, "e8", G))
            .Accepts("a call of a trampoline at a site in use", s => s.PutRelative(F, "e8", H).Entry("site", F))
            .Refuses("a call of a function", s => s.PutRelative(F, "e8", H), MatchReason.Different, F)
            .Refuses("another no-op", s => s.Put(F, "66 0f 1f 40 00"), MatchReason.Different, F);

    private static VectorGroup Endbr() =>
        VectorGroup
            .Of("endbr", [OpCode.Endbr], s => s.Function(p => p.Endbr().Literal("c3")).Put(F, "f3 0f 1e fa c3"))
            .Accepts("it is there", s => { })
            .Accepts("overwritten as 6.12 does it", s => s.Put(F, "66 0f 1f 00"))
            .Accepts("overwritten as 7.2 does it", s => s.Put(F, "0f 1f 40 d6"))
            .Refuses("another no-op", s => s.Put(F, "0f 1f 40 00"), MatchReason.Different, F)
            .Refuses("endbr32", s => s.Put(F, "f3 0f 1e fb"), MatchReason.Different, F);

    private static VectorGroup Alternatives() =>
        VectorGroup
            .Of("alternative", [OpCode.Alternative, OpCode.Variant], s =>
                s.Function(p => p.Alternative(5, v => v.Literal("e8 00 00 00 00"), v => v.Literal("0f 01 ca"), v => { }).Literal("c3"))
                    .Put(F + 5, "c3")
            )
            .Accepts("the original", s => s.Put(F, "e8 00 00 00 00"))
            .Accepts("a shorter variant, and no-ops", s => s.Put(F, "0f 01 ca 66 90"))
            .Accepts("a variant of no-ops", s => s.Put(F, Nop5))
            .Refuses("a no-op that is cut off", s => s.Put(F, "0f 01 ca 0f 1f 44 00 00"), MatchReason.Different, F + 3)
            .Refuses("no variant", s => s.Put(F, "0f 01 cb 66 90"), MatchReason.Different, F + 2)
            .Refuses("code behind a shorter variant", s => s.Put(F, "0f 01 ca 55 90"), MatchReason.Different, F + 3)
            .Refuses("no-ops that reach over the end", s => s.Put(F, "0f 01 ca 0f 1f 40 00 c3"), MatchReason.Different, F + 3);

    private static VectorGroup ShortenedJump() =>
        VectorGroup
            .Of("jump in an alternative", [OpCode.Alternative, OpCode.Variant, OpCode.Branch, BranchKind.Jmp], s =>
            {
                uint label = s.Symbol();
                s.Function(p =>
                        p.Alternative(5, v => v.Nops(5), v => v.Branch(BranchKind.Jmp, 5, label)).Literal("55").Label(label).Literal("c3")
                    )
                    .Put(F + 5, "55 c3");
            })
            .Accepts("as it was", s => s.PutRelative(F, "e9", F + 6))
            .Accepts("shorter, and breakpoints", s => s.Put(F, "eb 04 cc cc cc"))
            .Accepts("shorter, and no-ops", s => s.Put(F, "eb 04 0f 1f 00"))
            .Refuses("shorter, and code", s => s.Put(F, "eb 04 cc cc 55"), MatchReason.Different, F + 2);

    // What static_cpu_has jumps to before it is rewritten; freed with init memory.
    private static VectorGroup OptionalCode() =>
        VectorGroup
            .Of(
                "optional code",
                [ObjectFlags.Optional, ObjectKind.Data, OpCode.Alternative, OpCode.Variant, OpCode.Branch, BranchKind.Jmp],
                s =>
                {
                    uint aux = s.Symbol(),
                        label = s.Symbol();
                    s.Export(label);
                    s.Function(p =>
                        p.Alternative(5, v => v.Branch(BranchKind.Jmp, 5, aux), v => v.Branch(BranchKind.Jmp, 5, label)).Literal("c3")
                    );
                    s.Object("aux", p => p.Literal("f6 05"), ObjectKind.Data, ObjectFlags.Optional, false, MatchFormat.None, aux);
                    s.PutRelative(F, "e9", G).Put(F + 5, "c3").Put(G, "90 90");
                }
            )
            .Accepts("it is not there, and the jump is the other variant", s => { }, G)
            .Refuses("it is there, so that the label gets no value", s => s.Put(G, "f6 05"), MatchReason.Unresolved);

    private static VectorGroup Paravirt() =>
        VectorGroup
            .Of("paravirt call", [OpCode.Paravirt, SymbolRole.ParavirtNop], s =>
            {
                uint table = s.Global("pv_ops");
                s.Role("_paravirt_nop", SymbolRole.ParavirtNop);
                s.At("pv_ops", D).At("_paravirt_nop", H).At("g", G);
                s.Function(p => p.Paravirt(2, 7, table, o => o.Literal("ff 14 25").Field(FieldKind.Abs32S, table, 16)).Literal("c3"));
                s.PutUInt64(D + 16, G).Put(F + 7, "c3");
            })
            .Accepts("through the table", s => s.Put(F, "ff 14 25").PutUInt32(F + 3, unchecked((uint)(D + 16))))
            .Accepts("a direct call of what the entry holds", s => s.PutRelative(F, "e8", G).Put(F + 5, "66 90"))
            .Accepts("no-ops, and the entry does nothing", s => s.PutUInt64(D + 16, H).Put(F, "0f 1f 80 00 00 00 00"))
            .Refuses("a direct call of something else", s => s.PutRelative(F, "e8", H).Put(F + 5, "66 90"), MatchReason.Different, F)
            .Refuses("no-ops, and the entry does something", s => s.Put(F, "0f 1f 80 00 00 00 00"), MatchReason.Different, F)
            .Accepts("a direct call that is counted", s =>
            {
                s.Role("template", SymbolRole.CallCount);
                s.At("template", H + 0x40).PutRelative(H + 0x40, "65 48 c1 3d", D + 0x80 - 1).Put(H + 0x48, "05");
                s.PutRelative(G - 9, "65 48 c1 3d", D + 0x80 - 1).Put(G - 1, "05");
                s.PutRelative(F, "e8", G - 9).Put(F + 5, "66 90");
            })
            .Refuses(
                "a direct call, and the kernel has two tables",
                s => s.At("pv_ops", E).PutRelative(F, "e8", G).Put(F + 5, "66 90"),
                MatchReason.Different,
                F
            )
            .Refuses("another entry", s => s.Put(F, "ff 14 25").PutUInt32(F + 3, unchecked((uint)(D + 24))), MatchReason.Conflict, F + 3);

    private static VectorGroup ParavirtNothing() =>
        VectorGroup
            .Of("paravirt call of nothing", [OpCode.Paravirt, SymbolRole.ParavirtBug], s =>
            {
                uint table = s.Global("pv_ops");
                s.Role("paravirt_BUG", SymbolRole.ParavirtBug);
                s.At("pv_ops", D).At("paravirt_BUG", H).At("g", G).PutUInt64(D, 0);
                s.Function(p => p.Paravirt(0, 5, table, o => o.Literal("ff 15 00 00 00"))).PutRelative(F, "e8", H);
            })
            .Accepts("a call of the function that says so", s => { })
            .Refuses("a call of another function", s => s.PutRelative(F, "e8", G), MatchReason.Different, F);

    // The kernel has two tables of the name; the code before the site tells which.
    private static VectorGroup ParavirtTables() =>
        VectorGroup
            .Of("paravirt call behind a use of its table", [OpCode.Paravirt], s =>
            {
                uint table = s.Global("pv_ops");
                s.At("pv_ops", D).At("pv_ops", E).PutUInt64(D, G).PutUInt64(E, H);
                s.Function(p =>
                    p.Literal("48 c7 c0").Field(FieldKind.Abs32S, table).Paravirt(0, 5, table, o => o.Literal("ff 15 00 00 00"))
                );
                s.Put(F, "48 c7 c0").PutUInt32(F + 3, unchecked((uint)D));
            })
            .Accepts("a direct call of what this one holds", s => s.PutRelative(F + 7, "e8", G))
            .Refuses("a direct call of what the other holds", s => s.PutRelative(F + 7, "e8", H), MatchReason.Different, F + 7);

    private static VectorGroup Locks() =>
        VectorGroup
            .Of("lock prefix", [OpCode.Lock], s => s.Function(p => p.Lock().Literal("ff 00 c3")).Put(F, "f0 ff 00 c3"))
            .Accepts("it is there", s => { })
            .Accepts("one processor", s => s.Put(F, "3e"))
            .Refuses("another prefix", s => s.Put(F, "66"), MatchReason.Different, F);

    private static VectorGroup JumpLabels() =>
        VectorGroup
            .Of("jump label", [OpCode.JumpLabel, OpCode.Key], s =>
            {
                uint key = s.Symbol("key", SymbolFlags.Named),
                    label = s.Symbol();
                s.Export(key);
                s.Function(p => p.Label(label).Literal("55").JumpLabel(0, 5, label, key).Literal("c3"));
                s.At("key", D).Put(F, "55" + Nop5 + "c3").Entry("jump", F + 1, F, D);
            })
            .Accepts("a no-op", s => { }, D)
            .Accepts("a no-op of two bytes", s => s.Put(F, "55 66 90 c3"), D)
            .Accepts("a jump", s => s.PutRelative(F + 1, "e9", F), D)
            .Accepts("a jump of two bytes", s => s.Put(F, "55 eb fd c3"), D)
            .Refuses("no entry in the kernel's table", s => s.Without("jump", F + 1), MatchReason.Different, F + 1)
            .Refuses("a jump that is not the entry's", s => s.PutRelative(F + 1, "e9", F + 1), MatchReason.Different, F + 1)
            .Refuses("an entry with another target", s => Entry(s, F + 6, D), MatchReason.Conflict, F + 1)
            .Refuses("an entry with another key", s => Entry(s, F, E), MatchReason.Conflict, F + 1)
            .Refuses("an entry with the other sense", s => Entry(s, F, D + 1), MatchReason.Different, F + 1)
            .Refuses("a no-op of four bytes", s => s.Put(F + 1, "0f 1f 40 00 90"), MatchReason.Different, F + 1);

    private static VectorSetting Entry(VectorSetting s, ulong target, ulong key) =>
        s.Without("jump", F + 1).Entry("jump", F + 1, target, key);

    // Bit 1 of a key says that the entry is of init code; it is no part of the address.
    private static VectorGroup JumpLabelFlags() =>
        VectorGroup
            .Of("jump label of the other sense", [OpCode.JumpLabel, OpCode.Key], s =>
            {
                uint key = s.Symbol("key", SymbolFlags.Named),
                    label = s.Symbol();
                s.Export(key);
                s.Function(p => p.JumpLabel(1, 2, label, key).Label(label).Literal("c3")).At("key", D).Put(F, "eb 00 c3");
            })
            .Accepts("the entry has it too", s => s.Entry("jump", F, F + 2, D + 3), D)
            .Refuses("the entry has it not", s => s.Entry("jump", F, F + 2, D), MatchReason.Different, F);

    private static VectorSetting StaticCall(VectorSetting s, BranchKind kind, int length)
    {
        uint key = s.Symbol("key", SymbolFlags.Named),
            trampoline = s.Global("trampoline");
        s.Export(key);
        s.Function(p => p.StaticCall(kind, length, trampoline, key).Literal("c3")).Put(F + (ulong)length, "c3");
        return s.At("key", D).At("trampoline", H).At("g", G).Entry("call", F, D);
    }

    private static VectorGroup StaticCalls() =>
        VectorGroup
            .Of("static call", [OpCode.StaticCall, OpCode.Key, BranchKind.Call, SymbolRole.StaticReturn0], s =>
            {
                s.Role("return0", SymbolRole.StaticReturn0);
                StaticCall(s, BranchKind.Call, 5).At("return0", G + 0x40).PutUInt64(D, G);
            })
            .Accepts("a call of what the key holds", s => s.PutRelative(F, "e8", G), D)
            .Accepts(
                "a call of what the key holds that is counted",
                s =>
                {
                    s.Role("template", SymbolRole.CallCount);
                    s.At("template", H + 0x40).PutRelative(H + 0x40, "65 48 c1 3d", D + 0x80 - 1).Put(H + 0x48, "05");
                    s.PutRelative(G - 9, "65 48 c1 3d", D + 0x80 - 1).Put(G - 1, "05");
                    s.PutRelative(F, "e8", G - 9);
                },
                D
            )
            .Accepts("a call of the trampoline", s => s.PutRelative(F, "e8", H), D)
            .Accepts("a no-op, and the key holds nothing", s => s.Put(F, Nop5).PutUInt64(D, 0), D)
            .Accepts("xor eax, eax, and the key holds what returns 0", s => s.Put(F, "2e 2e 2e 31 c0").PutUInt64(D, G + 0x40), D)
            .Refuses("a call of something else", s => s.PutRelative(F, "e8", G + 0x40), MatchReason.Conflict, F)
            .Refuses("a no-op, and the key holds something", s => s.Put(F, Nop5), MatchReason.Different, F)
            .Refuses("xor eax, eax, and the key holds something else", s => s.Put(F, "2e 2e 2e 31 c0"), MatchReason.Different, F)
            .Refuses("no entry in the kernel's table", s => s.PutRelative(F, "e8", G).Without("call", F), MatchReason.Different, F)
            .Refuses(
                "an entry with another key",
                s => s.PutRelative(F, "e8", G).PutUInt64(E, G).Without("call", F).Entry("call", F, E),
                MatchReason.Conflict,
                F
            );

    private static VectorGroup StaticWarnings() =>
        VectorGroup
            .Of("static call of what warns", [OpCode.StaticCall, OpCode.Key, BranchKind.Call, SymbolRole.WarnTrap], s =>
            {
                s.Role("warn", SymbolRole.WarnTrap);
                StaticCall(s, BranchKind.Call, 5).At("warn", G + 0x80).PutUInt64(D, G + 0x80);
            })
            .Accepts("a trap", s => s.Put(F, "67 48 0f b9 3a"), D)
            .Accepts("a call of what the key holds", s => s.PutRelative(F, "e8", G + 0x80), D)
            .Refuses("a trap, and the key holds something else", s => s.Put(F, "67 48 0f b9 3a").PutUInt64(D, G), MatchReason.Different, F)
            .Refuses("a trap through another register", s => s.Put(F, "67 48 0f b9 32"), MatchReason.Different, F);

    private static VectorGroup StaticTailCalls() =>
        VectorGroup
            .Of("static tail call", [OpCode.StaticCall, OpCode.Key, BranchKind.Jmp, SymbolRole.ReturnThunk], s =>
            {
                s.Role("__x86_return_thunk", SymbolRole.ReturnThunk);
                StaticCall(s, BranchKind.Jmp, 5).At("__x86_return_thunk", G + 0x40).PutUInt64(D, 0);
            })
            .Accepts("a return, and the key holds nothing", s => s.Put(F, "c3 cc cc cc cc"), D)
            .Accepts("a jump to the return thunk, and the key holds nothing", s => s.PutRelative(F, "e9", G + 0x40), D)
            .Refuses(
                "a jump to the return thunk, and the key holds something",
                s => s.PutRelative(F, "e9", G + 0x40).PutUInt64(D, G),
                MatchReason.Conflict,
                F
            )
            .Refuses("a return, and the key holds something", s => s.Put(F, "c3 cc cc cc cc").PutUInt64(D, G), MatchReason.Different, F);

    private static VectorGroup ConditionalTailCalls() =>
        VectorGroup
            .Of("conditional static tail call", [OpCode.StaticCall, OpCode.Key, SymbolRole.StaticReturn], s =>
            {
                s.Role("__static_call_return", SymbolRole.StaticReturn);
                StaticCall(s, (BranchKind)4, 6).At("__static_call_return", G + 0x40).PutUInt64(D, 0);
            })
            .Accepts("it goes to what returns, and the key holds nothing", s => s.PutRelative(F, "0f 84", G + 0x40), D)
            .Refuses("it goes elsewhere, and the key holds nothing", s => s.PutRelative(F, "0f 84", G), MatchReason.Conflict, F);

    private static VectorGroup Redirects() =>
        VectorGroup
            .Of("redirect", [ObjectFlags.Replaced, ObjectFlags.EndsInCall, OpCode.Fentry, OpCode.Lock], s =>
                s.At("__fentry__", G)
                    .Entry("tracer", G)
                    .Function(
                        p => p.Fentry().Lock().Literal("ff 00 e8 00 00 00 00"),
                        ObjectFlags.Replaced | ObjectFlags.EndsInCall,
                        redirect: true
                    )
                    .Put(F, Nop5 + "f0 ff 00 e8 00 00 00 00")
            )
            .Accepts("a jump behind the fentry site", s => { })
            .Accepts("a handler, since the lock prefix may come back", s => s.Put(F + 5, "3e"))
            .Refuses("other code", s => s.Put(F + 6, "fe"), MatchReason.Different, F + 6);

    private static VectorGroup RedirectsWithoutFentry() =>
        VectorGroup
            .Of("redirect without a fentry site", [ObjectFlags.Replaced, OpCode.Endbr, OpCode.JumpLabel, OpCode.Key], s =>
            {
                uint label = s.Symbol(),
                    key = s.Symbol("key", SymbolFlags.Named);
                s.At("key", D).Put(F, "f3 0f 1e fa");
                s.Function(
                    p => p.Endbr().Nops(0).JumpLabel(0, 2, label, key).Label(label).Literal("c3"),
                    ObjectFlags.Replaced,
                    redirect: true
                );
            })
            .Accepts("a jump behind the ENDBR", s => s.Put(F + 4, "0f 1f 44 00 00 66 90 c3").Entry("jump", F + 9, F + 11, D))
            .Refuses(
                "a jump label where the jump would be",
                s => s.Put(F + 4, "66 90 c3").Entry("jump", F + 4, F + 6, D),
                MatchReason.NoRoom,
                F + 4
            )
            .Refuses(
                "a jump label at the jump's end",
                s => s.Put(F + 4, "0f 1f 00 66 90 c3").Entry("jump", F + 7, F + 9, D),
                MatchReason.NoRoom,
                F + 4
            );

    private static VectorGroup ShortFunctions() =>
        VectorGroup
            .Of("redirect of a short function", [ObjectFlags.Replaced, OpCode.Literal], s => { })
            .Accepts("five bytes", s => Short(s, "31 c0 5d 90 c3"))
            .Refuses("four bytes", s => Short(s, "31 c0 5d c3"), MatchReason.NoRoom, F);

    private static void Short(VectorSetting s, string code) =>
        s.Function(p => p.Literal(code), ObjectFlags.Replaced, redirect: true).Put(F, code);

    private static VectorGroup Ranges() =>
        VectorGroup
            .Of("part of a function", [ObjectFlags.Replaced], s => s.Function(p => p.Literal("c3"), ObjectFlags.Replaced).Put(F, "c3"))
            .Accepts("no redirect is written there", s => { })
            .Refuses("other code", s => s.Put(F, "c2"), MatchReason.Different, F);

    // Only an alternative is filled up with breakpoints.
    private static VectorGroup JumpOutsideOfSites() =>
        VectorGroup
            .Of("jump outside of an alternative", [OpCode.Branch, BranchKind.Jmp, OpCode.Literal], s =>
            {
                uint label = s.Symbol();
                s.Function(p => p.Label(label).Literal("55").Branch(BranchKind.Jmp, 5, label).Literal("c3"));
            })
            .Accepts("shorter", s => s.Put(F, "55 eb fd c3"))
            .Refuses("shorter, and breakpoints", s => s.Put(F, "55 eb fd cc cc cc c3"), MatchReason.Different, F + 3);
}
