// Reads DWARF's encodings from a section of a relocatable object (DWARF 5, section 7).
using System.Buffers.Binary;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

/// <summary>A place in a debug section.</summary>
internal ref struct DwarfCursor(ElfObject elf, ElfSection section)
{
    private readonly ReadOnlySpan<byte> _data = section.Data.Span;

    /// <summary>Bytes from the start of the section.</summary>
    public int Position { get; set; }

    public readonly bool AtEnd => Position >= _data.Length;

    public byte Byte() => Take(1)[0];

    public ushort UInt16() => BinaryPrimitives.ReadUInt16LittleEndian(Take(2));

    public uint UInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(4));

    public ulong UInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(8));

    /// <summary>An unsigned LEB128 (section 7.6).</summary>
    public ulong Unsigned()
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte next = Byte();
            if (shift < 64)
                value |= (ulong)(next & 0x7f) << shift;
            if ((next & 0x80) == 0)
                return value;
        }
    }

    /// <summary>A signed LEB128.</summary>
    public long Signed()
    {
        long value = 0;
        for (int shift = 0; ;)
        {
            byte next = Byte();
            if (shift < 64)
                value |= (long)(next & 0x7f) << shift;
            shift += 7;
            if ((next & 0x80) == 0)
                return shift < 64 && (next & 0x40) != 0 ? value | (-1L << shift) : value;
        }
    }

    public void Skip(ulong count) => Take(count);

    /// <exception cref="ElfFormatException">The section ends before.</exception>
    private ReadOnlySpan<byte> Take(ulong count)
    {
        if (Position < 0 || count > (ulong)(_data.Length - Math.Min(Position, _data.Length)))
            throw new ElfFormatException(elf.Name, Position, $"section {section.Name} ends within a value of {count} bytes at 0x{Position:x}");
        var taken = _data.Slice(Position, (int)count);
        Position += (int)count;
        return taken;
    }
}
