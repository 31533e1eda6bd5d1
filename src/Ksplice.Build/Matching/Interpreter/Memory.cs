// SPDX-License-Identifier: MIT
// match/memory.c: reading run memory, an aligned block at a time.
using System.Buffers.Binary;

namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Run
{
    private const int BlockSize = 64;

    /// <summary>The bytes at <paramref name="address"/> up to the end of their block; none if they cannot be read.</summary>
    public ReadOnlySpan<byte> Look(ulong address)
    {
        ulong block = address & ~(ulong)(BlockSize - 1);
        if (_block != block)
        {
            _block = 1;
            if (!Memory.TryRead(block, _window))
                return [];
            _block = block;
        }
        return _window.AsSpan((int)(address - block));
    }

    public bool Get(ulong address, Span<byte> to)
    {
        while (!to.IsEmpty)
        {
            var found = Look(address);
            if (found.IsEmpty)
                return false;
            int part = Math.Min(found.Length, to.Length);
            found[..part].CopyTo(to);
            to = to[part..];
            address += (ulong)part;
        }
        return true;
    }

    public bool GetUInt64(ulong address, out ulong value)
    {
        if (BinaryPrimitives.TryReadUInt64LittleEndian(Look(address), out value))
            return true;
        Span<byte> bytes = stackalloc byte[8];
        bool read = Get(address, bytes);
        value = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        return read;
    }

    public bool GetInt32(ulong address, out int value)
    {
        if (BinaryPrimitives.TryReadInt32LittleEndian(Look(address), out value))
            return true;
        Span<byte> bytes = stackalloc byte[4];
        bool read = Get(address, bytes);
        value = BinaryPrimitives.ReadInt32LittleEndian(bytes);
        return read;
    }
}
