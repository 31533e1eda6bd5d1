// SPDX-License-Identifier: MIT
using Ksplice.Build.Matching;
using static Ksplice.Build.Tests.Matching.VectorSetting;

namespace Ksplice.Build.Tests.Matching;

/// <summary>What the kernel's tables say of a trap or a fault.</summary>
internal static class TableVectors
{
    private const int Warning = 0x901,
        Done = 4;

    public static IEnumerable<VectorGroup> Groups() => [LongBugs(), ShortBugs(), Warnings(), EntryAddresses(), NoBugs(), Exceptions()];

    private static VectorGroup LongBugs() =>
        VectorGroup
            .Of("trap", [OpCode.Bug, BugKind.Long, SymbolKind.Content], s =>
            {
                uint file = s.Content("61 2e 63 00");
                s.Function(p => p.Bug(BugKind.Long, file, 12, Warning).Literal("0f 0b c3")).Put(F, "0f 0b c3");
                s.Put(D, "61 2e 63 00").Put(E, "62 2e 63 00");
            })
            .Accepts("the entry is the same", s => s.Entry("bug", F, D, 12, Warning))
            .Accepts("the kernel has warned already", s => s.Entry("bug", F, D, 12, Warning | Done))
            .Refuses("another line", s => s.Entry("bug", F, D, 13, Warning), MatchReason.Different, F)
            .Refuses("another file", s => s.Entry("bug", F, E, 12, Warning), MatchReason.Different, F)
            .Refuses("a crash in place of a warning", s => s.Entry("bug", F, D, 12, Warning - 1), MatchReason.Different, F)
            .Refuses("no entry", s => { }, MatchReason.Different, F);

    private static VectorGroup ShortBugs() =>
        VectorGroup
            .Of("trap without file and line", [OpCode.Bug, BugKind.Short], s =>
                s.Function(p => p.Bug(BugKind.Short, flags: Warning).Literal("0f 0b c3")).Put(F, "0f 0b c3")
            )
            .Accepts("the entry is the same", s => s.Entry("bug", F, 0, 0, Warning))
            .Refuses("other flags", s => s.Entry("bug", F, 0, 0, Warning ^ 2), MatchReason.Different, F);

    private static VectorGroup Warnings() =>
        VectorGroup
            .Of("warning with a format", [OpCode.Bug, BugKind.Format, OpCode.Key, SymbolKind.Content], s =>
            {
                uint file = s.Content("61 2e 63 00"),
                    format = s.Content("25 64 00");
                s.Function(p => p.Warning(file, 12, Warning, format).Literal("0f 0b c3")).Put(F, "0f 0b c3");
                s.Put(D, "61 2e 63 00 25 64 00 25 73 00");
            })
            .Accepts("the entry is the same", s => s.Entry("bug", F, D, 12, Warning, D + 4, E))
            .Accepts("the kernel has warned already", s => s.Entry("bug", F, D, 12, Warning | Done, D + 4, E))
            .Refuses("another format", s => s.Entry("bug", F, D, 12, Warning, D + 7, E), MatchReason.Different, F)
            .Refuses("no format", s => s.Entry("bug", F, D, 12, Warning), MatchReason.Different, F)
            .Refuses("another line", s => s.Entry("bug", F, D, 13, Warning, D + 4, E), MatchReason.Different, F)
            .Refuses("another file", s => s.Entry("bug", F, D + 4, 12, Warning, D + 4, E), MatchReason.Different, F);

    // lea entry(%rip), %rdi; ud2; ret, and the entry, which leads to the ud2.
    private static VectorGroup EntryAddresses() =>
        VectorGroup
            .Of("address of an entry", [OpCode.Field, FieldKind.Bug, OpCode.Bug], s =>
            {
                uint trap = s.Symbol();
                s.Function(p =>
                    p.Literal("48 8d 3d").Field(FieldKind.Bug, trap, -4).Label(trap).Bug(BugKind.Short, flags: Warning).Literal("0f 0b c3")
                );
                s.PutRelative(F, "48 8d 3d", E).Put(F + 7, "0f 0b c3").PutUInt32(E, Distance(F + 7));
            })
            .Accepts("it is the trap's", s => s.Entry("bug", F + 7, 0, 0, Warning, 0, E))
            .Refuses("the trap's is elsewhere", s => s.Entry("bug", F + 7, 0, 0, Warning, 0, E + 8), MatchReason.Different, F + 3)
            .Refuses("the trap has none", s => { }, MatchReason.Different, F + 3)
            .Refuses(
                "it is another trap's",
                s => s.Entry("bug", F + 7, 0, 0, Warning, 0, D).Entry("bug", F + 8, 0, 0, Warning, 0, E).PutUInt32(E, Distance(F + 8)),
                MatchReason.Conflict,
                F + 7
            );

    private static uint Distance(ulong code) => (uint)(code - E);

    private static VectorGroup NoBugs() =>
        VectorGroup
            .Of("trap without an entry", [OpCode.Bug, BugKind.None], s =>
                s.Function(p => p.Literal("55").Bug(BugKind.None).Literal("0f 0b")).Put(F, "55 0f 0b")
            )
            .Accepts("the kernel has none", s => { })
            .Refuses("the kernel has one", s => s.Entry("bug", F + 1, 0, 0, Warning), MatchReason.Different, F + 1);

    private static VectorGroup Exceptions() =>
        VectorGroup
            .Of("fault", [OpCode.Exception, OpCode.Literal], s =>
            {
                uint fixup = s.Symbol();
                s.Function(p => p.Label(fixup).Literal("31 c0 c3").Exception(fixup, 3).Literal("8b 00 c3"));
                s.Put(F, "31 c0 c3 8b 00 c3");
            })
            .Accepts("the entry is the same", s => s.Entry("exception", F + 3, F, 3))
            .Accepts("one more before the function", s => s.Entry("exception", F + 3, F, 3).Entry("exception", F - 1, F, 3))
            .Accepts("one more behind the function", s => s.Entry("exception", F + 3, F, 3).Entry("exception", F + 6, F, 3))
            .Refuses("another handler", s => s.Entry("exception", F + 3, F, 2), MatchReason.Different, F + 3)
            .Refuses("another fixup", s => s.Entry("exception", F + 3, F + 2, 3), MatchReason.Conflict, F + 3)
            .Refuses("no entry", s => { }, MatchReason.Different, F + 3)
            .Refuses("one more", s => s.Entry("exception", F + 3, F, 3).Entry("exception", F + 5, F, 3), MatchReason.Different, F + 6);
}
