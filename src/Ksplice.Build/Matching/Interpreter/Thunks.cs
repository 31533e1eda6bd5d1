// SPDX-License-Identifier: MIT
// match/thunks.c: calls and indirect branches that the kernel leads through other code.
using System.Buffers.Binary;

namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Run
{
    private const int ThunkSize = 32;
    private const int CountSize = 9;

    private bool FindRole(SymbolRole role, out ulong address)
    {
        var symbols = Data.Symbols;
        for (int i = 0; i < symbols.Length; i++)
        {
            if (symbols[i].Role == role && FindUnique((uint)i, out address) == 1)
                return true;
        }
        address = 0;
        return false;
    }

    private ulong CountedAt(ulong address)
    {
        Span<byte> found = stackalloc byte[CountSize];
        return Get(address, found) && found[..4].SequenceEqual<byte>([0x65, 0x48, 0xc1, 0x3d]) && found[^1] == 5
            ? address + CountSize + (ulong)BinaryPrimitives.ReadInt32LittleEndian(found[4..])
            : 0;
    }

    /// <summary>The function that a call of <paramref name="target"/> calls.</summary>
    public ulong Called(ulong target)
    {
        _count ??= FindRole(SymbolRole.CallCount, out ulong template) ? CountedAt(template) : 0;
        return _count != 0 && CountedAt(target) == _count ? target + CountSize : target;
    }

    private bool IsJumpThrough(ulong address, int number)
    {
        int prefix = number >= 8 ? 1 : 0;
        Span<byte> code = stackalloc byte[prefix + 3];
        return Get(address, code)
            && (prefix == 0 || code[0] == 0x41)
            && code[prefix] == 0xff
            && code[prefix + 1] == (0xe0 | (number & 7))
            && code[prefix + 2] == 0xcc;
    }

    /// <summary>Does a branch to <paramref name="target"/> go where register <paramref name="number"/> points?</summary>
    public bool IsThunkOf(ulong target, int number, bool jump) =>
        (FindRole(jump ? SymbolRole.JumpThunks : SymbolRole.CallThunks, out ulong table) && target == table + (ulong)(number * ThunkSize))
        || IsJumpThrough(target, number);
}
