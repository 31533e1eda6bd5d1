// SPDX-License-Identifier: MIT
// Reads a .BTF section and checks all of it: header, bounds, kinds, every type id and every name. What comes out can be
// walked without another check.

using System.Buffers.Binary;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Analysis;

/// <summary>The reader of BTF.</summary>
public static class BtfReader
{
    private const ushort Magic = 0xeb9f;
    private const int HeaderSize = 24;

    /// <summary>Reads the .BTF section of <paramref name="value"/>, or gives null if it has none.</summary>
    public static BtfTypes? Read(ElfObject value)
    {
        foreach (var section in value.Sections)
        {
            if (section.Name == ".BTF")
                return Read(section.Data, value.Name + "(.BTF)");
        }
        return null;
    }

    /// <summary>Reads the .BTF section of a kernel's image, or gives null if it has none.</summary>
    public static BtfTypes? Read(KernelImage image)
    {
        ArgumentNullException.ThrowIfNull(image);
        return image.FindSection(".BTF") is { } section ? Read(section, image.Path + "(.BTF)") : null;
    }

    /// <summary>Reads the bytes of a .BTF section; <paramref name="name"/> is for messages.</summary>
    /// <exception cref="ElfFormatException">The bytes are not well-formed BTF.</exception>
    public static BtfTypes Read(ReadOnlyMemory<byte> section, string name)
    {
        var bytes = section.Span;
        if (bytes.Length < HeaderSize)
            ElfFormatException.Throw(name, 0, $"a BTF header takes {HeaderSize} bytes, there are {bytes.Length}");
        if (BinaryPrimitives.ReadUInt16LittleEndian(bytes) != Magic)
            ElfFormatException.Throw(name, 0, "the BTF magic number is missing");
        if (bytes[2] != 1)
            ElfFormatException.Throw(name, 2, $"BTF version {bytes[2]} is not known");
        var header = Word(bytes, 4);
        if (header < HeaderSize || header > bytes.Length)
            ElfFormatException.Throw(name, 4, $"a BTF header of {header} bytes");
        var types = Range(bytes.Length, header, Word(bytes, 8), Word(bytes, 12), name, 8);
        var strings = Range(bytes.Length, header, Word(bytes, 16), Word(bytes, 20), name, 16);
        if (strings.Size == 0 || bytes[strings.Start] != 0 || bytes[strings.Start + strings.Size - 1] != 0)
            ElfFormatException.Throw(name, strings.Start, "the BTF strings do not start and end with a zero byte");

        var offsets = new List<int>(types.Size / 16) { 0 };
        for (var at = types.Start; at < types.Start + types.Size; )
        {
            var left = types.Start + types.Size - at;
            var size = left < 12 ? -1 : TypeSize(Word(bytes, at + 4));
            if (size < 0)
                ElfFormatException.Throw(
                    name,
                    at,
                    left < 12 ? "a BTF type is cut off" : $"BTF kind {(Word(bytes, at + 4) >> 24) & 0x1f} is not known"
                );
            if (size > left)
                ElfFormatException.Throw(name, at, "a BTF type is cut off");
            offsets.Add(at);
            at += size;
        }
        var result = new BtfTypes(name, section, [.. offsets], strings.Start);
        for (var id = 1; id < offsets.Count; id++)
            Check(result, id, offsets[id], strings.Size);
        return result;
    }

    private static (int Start, int Size) Range(int length, uint header, uint offset, uint size, string name, int field)
    {
        var room = (uint)length - header;
        if (offset > room || size > room - offset)
            ElfFormatException.Throw(name, field, $"BTF data at {offset}, {size} bytes, is outside of the section");
        return ((int)(header + offset), (int)size);
    }

    private static int TypeSize(uint info)
    {
        var length = (int)(info & 0xffff);
        return (BtfKind)((info >> 24) & 0x1f) switch
        {
            BtfKind.Int or BtfKind.Variable or BtfKind.DeclarationTag => 16,
            BtfKind.Array => 24,
            BtfKind.Struct or BtfKind.Union or BtfKind.DataSection or BtfKind.Enum64 => 12 + (length * 12),
            BtfKind.Enum or BtfKind.FunctionPrototype => 12 + (length * 8),
            BtfKind.Pointer
            or BtfKind.Forward
            or BtfKind.Typedef
            or BtfKind.Volatile
            or BtfKind.Const
            or BtfKind.Restrict
            or BtfKind.Function
            or BtfKind.Float
            or BtfKind.TypeTag => 12,
            _ => -1,
        };
    }

    private static void Check(BtfTypes types, int id, int offset, int stringsSize)
    {
        void CheckName(int at)
        {
            if (types.Word(id, at) >= stringsSize)
                ElfFormatException.Throw(types.Name, offset + at, $"the name of BTF type {id} is outside of the strings");
        }

        void CheckType(int at)
        {
            if (types.Word(id, at) >= types.Count)
                ElfFormatException.Throw(
                    types.Name,
                    offset + at,
                    $"BTF type {id} refers to type {types.Word(id, at)}, the last is {types.Count - 1}"
                );
        }

        CheckName(0);
        var kind = types.KindOf(id);
        var length = types.Length(id);
        switch (kind)
        {
            case BtfKind.Array:
                CheckType(12);
                CheckType(16);
                break;
            case BtfKind.Struct or BtfKind.Union:
                for (var i = 0; i < length; i++)
                {
                    CheckName(12 + (i * 12));
                    CheckType(16 + (i * 12));
                }
                break;
            case BtfKind.DataSection:
                for (var i = 0; i < length; i++)
                    CheckType(12 + (i * 12));
                break;
            case BtfKind.Enum or BtfKind.Enum64:
                for (var i = 0; i < length; i++)
                    CheckName(12 + (i * (kind == BtfKind.Enum ? 8 : 12)));
                break;
            case BtfKind.FunctionPrototype:
                CheckType(8);
                for (var i = 0; i < length; i++)
                {
                    CheckName(12 + (i * 8));
                    CheckType(16 + (i * 8));
                }
                break;
            case BtfKind.Int or BtfKind.Float or BtfKind.Forward:
                break;
            default:
                CheckType(8);
                break;
        }
    }

    private static uint Word(ReadOnlySpan<byte> bytes, int offset) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[offset..]);
}
