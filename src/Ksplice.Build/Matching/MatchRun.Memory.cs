// match/memory.c once more: reading run memory, an aligned block at a time.
using System.Buffers.Binary;

namespace Ksplice.Build.Matching;

internal sealed partial class MatchRun
{
    public const int BlockSize = 64;

    private readonly byte[] _window = new byte[BlockSize];
    private ulong _block = 1;

    public bool Get(ulong address, Span<byte> to)
    {
        while (!to.IsEmpty)
        {
            ulong block = address & ~(ulong)(BlockSize - 1);
            int skip = (int)(address - block), part = Math.Min(BlockSize - skip, to.Length);
            if (_block != block)
            {
                _block = 1;
                if (!Memory.TryRead(block, _window))
                    return false;
                _block = block;
            }
            _window.AsSpan(skip, part).CopyTo(to);
            to = to[part..];
            address += (ulong)part;
        }
        return true;
    }

    public bool GetUInt64(ulong address, out ulong value)
    {
        Span<byte> bytes = stackalloc byte[8];
        bool read = Get(address, bytes);
        value = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        return read;
    }

    public bool GetInt32(ulong address, out int value)
    {
        Span<byte> bytes = stackalloc byte[4];
        bool read = Get(address, bytes);
        value = BinaryPrimitives.ReadInt32LittleEndian(bytes);
        return read;
    }
}
