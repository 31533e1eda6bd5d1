// SPDX-License-Identifier: MIT
// Reads DWARF's encodings from a section of a relocatable object (DWARF 5, section 7).
using System.Buffers.Binary;
using System.Text;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Dwarf;

/// <summary>A place in a debug section.</summary>
internal ref struct DwarfCursor(ElfObject elf, ElfSection section)
{
    private readonly ReadOnlySpan<byte> _data = section.Data.Span;

    /// <summary>Bytes from the start of the section.</summary>
    public int Position { get; set; }

    public readonly bool AtEnd => Position >= _data.Length;

    /// <summary>Bytes up to the end of the section.</summary>
    public readonly int Left => Math.Max(_data.Length - Position, 0);

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
        for (int shift = 0; ; )
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

    /// <summary>A string up to its terminating zero.</summary>
    public string String()
    {
        int start = Position;
        while (Byte() != 0) { }
        return Encoding.UTF8.GetString(_data[start..(Position - 1)]);
    }

    /// <summary>
    /// The value of a constant or reference; the length of a block, which is passed over; else nothing of use (section 7.5.6, table 7.6).
    /// </summary>
    /// <param name="form">DW_FORM_…</param>
    /// <param name="constant">The value of DW_FORM_implicit_const, which the abbreviation holds.</param>
    /// <exception cref="ElfFormatException">The form is not known.</exception>
    public ulong Value(ulong form, long constant = 0)
    {
        switch (form)
        {
            case 0x0b or 0x0c or 0x11 or 0x25 or 0x29:
                return Byte();
            case 0x05 or 0x12 or 0x26 or 0x2a:
                return UInt16();
            case 0x27 or 0x2b:
                Skip(3);
                return 0;
            case 0x06 or 0x0e or 0x10 or 0x13 or 0x17 or 0x1c or 0x1d or 0x1f or 0x28 or 0x2c:
                return UInt32();
            case 0x01 or 0x07 or 0x14 or 0x20 or 0x24:
                return UInt64();
            case 0x1e:
                Skip(16);
                return 0;
            case 0x0d:
                return (ulong)Signed();
            case 0x0f or 0x15 or 0x1a or 0x1b or 0x22 or 0x23:
                return Unsigned();
            case 0x19:
                return 1;
            case 0x21:
                return (ulong)constant;
            case 0x08:
                String();
                return 0;
            case 0x03:
                return Block(UInt16());
            case 0x04:
                return Block(UInt32());
            case 0x0a:
                return Block(Byte());
            case 0x09 or 0x18:
                return Block(Unsigned());
            default:
                throw new ElfFormatException(elf.Name, Position, $"section {section.Name} uses form 0x{form:x}, which is not known");
        }
    }

    private ulong Block(ulong length)
    {
        Skip(length);
        return length;
    }

    /// <exception cref="ElfFormatException">The section ends before.</exception>
    private ReadOnlySpan<byte> Take(ulong count)
    {
        if (Position < 0 || count > (ulong)(_data.Length - Math.Min(Position, _data.Length)))
            throw new ElfFormatException(
                elf.Name,
                Position,
                $"section {section.Name} ends within a value of {count} bytes at 0x{Position:x}"
            );
        var taken = _data.Slice(Position, (int)count);
        Position += (int)count;
        return taken;
    }
}
