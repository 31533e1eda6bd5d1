// SPDX-License-Identifier: MIT
// match/code.c once more: no-ops and relative branches.
namespace Ksplice.Build.Matching;

internal sealed partial class MatchRun
{
    private const int MaximalNop = 15;

    public int NopLength(ulong address, ulong limit)
    {
        Span<byte> code = stackalloc byte[MaximalNop];
        int length = 0;
        while (length < MaximalNop && address + (ulong)length < limit && Get(address + (ulong)length, code.Slice(length, 1)))
            length++;
        return ProgramWriter.NopLength(code[..length]);
    }

    public int BranchAt(ulong at, byte kind, out ulong target)
    {
        target = 0;
        Span<byte> code = stackalloc byte[2];
        int prefix = 0;
        if (kind is (byte)BranchKind.CsJmp or (byte)BranchKind.CsCall)
        {
            if (!Get(at, code[..1]) || code[0] != 0x2e)
                return 0;
            prefix = 1;
            kind = (byte)(kind == (byte)BranchKind.CsJmp ? BranchKind.Jmp : BranchKind.Call);
        }
        if (!Get(at + (ulong)prefix, code))
            return 0;
        if (
            (kind < 16 && code[0] == (0x70 | kind))
            || (kind == (byte)BranchKind.Jmp && code[0] == 0xeb)
            || (kind is >= (byte)BranchKind.Loopne and <= (byte)BranchKind.Jrcxz && code[0] == 0xe0 + kind - (byte)BranchKind.Loopne)
        )
        {
            target = at + (ulong)prefix + 2 + (ulong)(long)(sbyte)code[1];
            return prefix + 2;
        }
        if (kind < 16 && code[0] == 0x0f && code[1] == (0x80 | kind))
            prefix += 2;
        else if ((kind == (byte)BranchKind.Jmp && code[0] == 0xe9) || (kind == (byte)BranchKind.Call && code[0] == 0xe8))
            prefix += 1;
        else
            return 0;
        if (!GetInt32(at + (ulong)prefix, out int far))
            return 0;
        target = at + (ulong)prefix + 4 + (ulong)(long)far;
        return prefix + 4;
    }
}
