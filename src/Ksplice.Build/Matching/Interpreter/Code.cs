// SPDX-License-Identifier: MIT
// match/code.c: the few x86 instructions that must be known, no-ops and relative branches.
namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Run
{
    private const int MaximalNop = 15;

    public int NopLength(ulong address, ulong limit)
    {
        Span<byte> code = stackalloc byte[MaximalNop];
        int length = 0;
        while (length < MaximalNop && address + (ulong)length < limit && Get(address + (ulong)length, code.Slice(length, 1)))
            length++;
        return NopLength(code[..length]);
    }

    // The second half of ksp_nop_length stands alone: the writer of programs asks it of pre code, which is no memory.
    /// <summary>The length of the no-op at the start of <paramref name="code"/>, or 0.</summary>
    public static int NopLength(ReadOnlySpan<byte> code)
    {
        if (code.Length > MaximalNop)
            code = code[..MaximalNop];
        int at = 0;
        while (at < code.Length && code[at] is 0x66 or 0x2e)
            at++;
        if (at < code.Length && code[at] == 0x90)
            return at + 1;
        if (at + 2 >= code.Length || code[at] != 0x0f || code[at + 1] != 0x1f || (code[at + 2] & 0x38) != 0)
            return 0;
        int length = at + 3,
            mode = code[at + 2] >> 6,
            memory = code[at + 2] & 7;
        if (mode != 3 && memory == 4)
        {
            if (length >= code.Length)
                return 0;
            if (mode == 0 && (code[length] & 7) == 5)
                length += 4;
            length++;
        }
        else if (mode == 0 && memory == 5)
        {
            length += 4;
        }
        length += mode switch
        {
            1 => 1,
            2 => 4,
            _ => 0,
        };
        return length <= code.Length ? length : 0;
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

internal sealed partial class Walk
{
    private bool OnlyNops()
    {
        while (_at < _limit)
        {
            int length = run.NopLength(_at, _limit);
            if (length == 0)
                return false;
            _at += (ulong)length;
        }
        return true;
    }
}
