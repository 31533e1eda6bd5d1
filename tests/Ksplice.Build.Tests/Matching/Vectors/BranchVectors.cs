// SPDX-License-Identifier: MIT
using Ksplice.Build.Matching;
using static Ksplice.Build.Tests.Matching.VectorSetting;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Branches, and those that the kernel leads through thunks.</summary>
internal static class BranchVectors
{
    private const string CountCall = "65 48 c1 3d";

    public static IEnumerable<VectorGroup> Groups()
    {
        foreach (var group in Branches())
            yield return group;
        yield return Returns();
        yield return ReturnPointer();
        yield return Retpolines();
        yield return HighRegisters();
        yield return Thunks(BranchKind.Call, SymbolRole.CallThunks);
        yield return Thunks(BranchKind.Jmp, SymbolRole.JumpThunks);
        yield return CountedCalls();
    }

    private static IEnumerable<VectorGroup> Branches()
    {
        (BranchKind Kind, string Short, string Near, string Other)[] encodings =
        [
            ((BranchKind)4, "74", "0f 84", "75"),
            ((BranchKind)13, "7d", "0f 8d", "7c"),
            (BranchKind.Jmp, "eb", "e9", "74"),
            (BranchKind.Call, "", "e8", "e9"),
            (BranchKind.Loopne, "e0", "", "e1"),
            (BranchKind.Loope, "e1", "", "e2"),
            (BranchKind.Loop, "e2", "", "e3"),
            (BranchKind.Jrcxz, "e3", "", "e0"),
            (BranchKind.CsJmp, "2e eb", "2e e9", "2e e8"),
            (BranchKind.CsCall, "", "2e e8", "2e e9"),
        ];
        foreach (var (kind, one, far, other) in encodings)
        {
            int length = Hex(far).Length + 4;
            var group = VectorGroup.Of($"branch {kind}", [OpCode.Branch, kind], s =>
            {
                uint label = s.Symbol();
                s.Function(p => p.Label(label).Literal("55").Branch(kind, length, label).Literal("c3")).Put(F, "55");
            });
            // Back to the function's start.
            void Write(VectorSetting s, string encoding, bool isShort, int back)
            {
                int end = 1 + Hex(encoding).Length + (isShort ? 1 : 4);
                s.Put(F + 1, encoding).Put(F + (ulong)end, "c3");
                if (isShort)
                    s.Memory.Put(F + (ulong)end - 1, [(byte)-(end - back)]);
                else
                    s.PutUInt32(F + (ulong)end - 4, (uint)-(end - back));
            }
            if (one.Length != 0)
                group.Accepts("short", s => Write(s, one, true, 0));
            if (far.Length != 0)
                group.Accepts("near", s => Write(s, far, false, 0));
            bool isShort = far.Length == 0;
            group.Refuses("another target", s => Write(s, isShort ? one : far, isShort, 1), MatchReason.Conflict, F + 1);
            if (kind is BranchKind.CsJmp or BranchKind.CsCall)
                group.Refuses("another prefix", s => Write(s, "3e" + far[2..], false, 0), MatchReason.Different, F + 1);
            group.Refuses("another branch", s => Write(s, other, isShort, 0), MatchReason.Different, F + 1);
            yield return group;
        }
    }

    private static VectorGroup Returns() =>
        VectorGroup
            .Of("return", [OpCode.Return, SymbolRole.ReturnThunk], s =>
            {
                s.Role("__x86_return_thunk", SymbolRole.ReturnThunk);
                s.Role("other_return_thunk", SymbolRole.ReturnThunk);
                s.At("__x86_return_thunk", G)
                    .At("other_return_thunk", G + 0x10)
                    .At("g", H)
                    .Function(p => p.Literal("5d").Return())
                    .Put(F, "5d");
            })
            .Accepts("a jump to the thunk", s => s.PutRelative(F + 1, "e9", G))
            .Accepts("a jump to another thunk of the kernel's", s => s.PutRelative(F + 1, "e9", G + 0x10))
            .Accepts("a return", s => s.Put(F + 1, "c3 cc cc cc cc"))
            .Refuses("a jump to a function", s => s.PutRelative(F + 1, "e9", H), MatchReason.Different, F + 1)
            .Refuses("a call of the thunk", s => s.PutRelative(F + 1, "e8", G), MatchReason.Different, F + 1)
            .Refuses("a return that pops", s => s.Put(F + 1, "c2 08 00 cc cc"), MatchReason.Different, F + 1)
            .Refuses("code behind a return", s => s.Put(F + 1, "c3 cc 90 cc cc"), MatchReason.Different, F + 1);

    private static VectorGroup ReturnPointer() =>
        VectorGroup
            .Of("pointer to the return thunk", [OpCode.Return, SymbolRole.ReturnThunk, SymbolRole.ReturnPointer], s =>
            {
                s.Role("__x86_return_thunk", SymbolRole.ReturnThunk);
                s.Role("other_return_thunk", SymbolRole.ReturnThunk);
                s.Role("x86_return_thunk", SymbolRole.ReturnPointer);
                s.At("__x86_return_thunk", G).At("other_return_thunk", G + 0x10).At("x86_return_thunk", D);
                s.Function(p => p.Return()).PutRelative(F, "e9", G);
            })
            .Accepts("it is where the return goes", s => s.PutUInt64(D, G))
            .Refuses("it is another thunk", s => s.PutUInt64(D, G + 0x10), MatchReason.Different, F);

    private static VectorGroup Retpolines() =>
        VectorGroup
            .Of("retpoline", [OpCode.Retpoline, BranchKind.Call], s =>
                s.At("__x86_indirect_thunk_0", G).At("g", H).Function(p => p.Retpoline(BranchKind.Call, 0).Literal("c3")).Put(F + 5, "c3")
            )
            .Accepts("a call of the thunk", s => s.PutRelative(F, "e8", G))
            .Accepts("a call through the register", s => s.Put(F, "ff d0 0f 1f 00"))
            .Accepts("a call through the register behind lfence", s => s.Put(F, "0f ae e8 ff d0"))
            .Accepts("a call of code that jumps through the register", s => s.PutRelative(F, "e8", H).Put(H, "ff e0 cc"))
            .Refuses("a call of other code", s => s.PutRelative(F, "e8", H).Put(H, "ff e1 cc"), MatchReason.Conflict, F)
            .Refuses("a call through the register behind mfence", s => s.Put(F, "0f ae f0 ff d0"), MatchReason.Different, F)
            .Refuses("a call through the register behind other code", s => s.Put(F, "0f 1f e8 ff d0"), MatchReason.Different, F)
            .Refuses("a call through another register", s => s.Put(F, "ff d1 0f 1f 00"), MatchReason.Different, F)
            .Refuses("a jump through the register", s => s.Put(F, "ff e0 0f 1f 00"), MatchReason.Different, F)
            .Refuses("code behind the call", s => s.Put(F, "ff d0 55 90 90"), MatchReason.Different, F);

    private static VectorGroup HighRegisters() =>
        VectorGroup
            .Of("retpoline of r11", [OpCode.Retpoline, BranchKind.CsJmp], s =>
                s.At("__x86_indirect_thunk_11", G).Function(p => p.Retpoline(BranchKind.CsJmp, 11))
            )
            .Accepts("a jump to the thunk", s => s.PutRelative(F, "2e e9", G))
            .Accepts("a jump through the register", s => s.Put(F, "41 ff e3 cc 66 90"))
            .Refuses("code behind the jump", s => s.Put(F, "41 ff e3 c3 66 90"), MatchReason.Different, F)
            .Refuses("a jump through ebx", s => s.Put(F, "ff e3 cc 0f 1f 00"), MatchReason.Different, F);

    // The kernel has a table of thunks of 32 bytes, by register.
    private static VectorGroup Thunks(BranchKind kind, SymbolRole role) =>
        VectorGroup
            .Of($"retpoline through {role}", [OpCode.Retpoline, kind, role], s =>
            {
                s.Role("thunk_array", role);
                s.At("__x86_indirect_thunk_3", G).At("thunk_array", H).Function(p => p.Retpoline(kind, 3).Literal("c3")).Put(F + 5, "c3");
            })
            .Accepts("the register's entry", s => s.PutRelative(F, kind == BranchKind.Call ? "e8" : "e9", H + 3 * 32))
            .Refuses(
                "another register's entry",
                s => s.PutRelative(F, kind == BranchKind.Call ? "e8" : "e9", H + 4 * 32).Put(H + 4 * 32, "cc"),
                MatchReason.Conflict,
                F
            );

    // With call depth tracking calls enter at an instruction before the function: sarq $5, %gs:place(%rip).
    private static VectorGroup CountedCalls()
    {
        const ulong Before = G - 9;
        void Count(VectorSetting s, ulong at, ulong place) =>
            s.Put(at, CountCall).PutUInt32(at + 4, (uint)(place - (at + 9))).Put(at + 8, "05");
        return VectorGroup
            .Of("counted call", [OpCode.Branch, BranchKind.Call, SymbolRole.CallCount], s =>
            {
                uint g = s.Symbol("g", SymbolFlags.Named);
                s.Role("template", SymbolRole.CallCount);
                s.At("g", G).At("template", H).Export(g).Function(p => p.Branch(BranchKind.Call, 5, g).Literal("c3"));
                s.PutRelative(F, "e8", Before).Put(F + 5, "c3");
                Count(s, H, D);
            })
            .Accepts("it counts what the kernel's template counts", s => Count(s, Before, D), G)
            .Refuses("it counts something else", s => Count(s, Before, D + 8), MatchReason.Conflict, F)
            .Refuses(
                "it counts in another way",
                s =>
                {
                    Count(s, Before, D);
                    s.Put(Before + 8, "04");
                },
                MatchReason.Conflict,
                F
            )
            .Refuses(
                "a jump is no call",
                s =>
                {
                    Count(s, Before, D);
                    s.At("h", H + 0x40).PutRelative(H + 0x40, "e9", Before);
                    s.Object(
                        "h",
                        p => p.Branch(BranchKind.Jmp, 5, s.Global("g")),
                        ObjectKind.Text,
                        ObjectFlags.None,
                        false,
                        MatchFormat.None,
                        s.Symbol("h", SymbolFlags.Named)
                    );
                },
                MatchReason.Conflict,
                H + 0x40
            )
            .Refuses("nothing is counted", s => s.Put(Before, "90 90 90 90 90 90 90 90 90"), MatchReason.Conflict, F);
    }
}
