// SPDX-License-Identifier: MIT
using System.Buffers.Binary;
using System.Text;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>ELF files of memory, written by hand.</summary>
internal static class ElfFiles
{
    public const int HeaderSize = 64;
    public const int ProgramHeaderSize = 56;

    /// <summary>Where the fields of an ELF header are.</summary>
    public const int SectionHeaders = 40;
    public const int ProgramHeaderCount = 56;
    public const int SectionHeaderEntry = 58;
    public const int SectionHeaderCount = 60;
    public const int SectionNames = 62;

    /// <summary>A note as it stands in a file; sizes that are not given are those of the data.</summary>
    public static byte[] Note(string owner, uint type, byte[] data, int? nameSize = null, int? dataSize = null)
    {
        byte[] name = [.. Encoding.ASCII.GetBytes(owner), 0];
        byte[] note = new byte[12 + Align(name.Length) + Align(data.Length)];
        BinaryPrimitives.WriteInt32LittleEndian(note, nameSize ?? name.Length);
        BinaryPrimitives.WriteInt32LittleEndian(note.AsSpan(4), dataSize ?? data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(note.AsSpan(8), type);
        name.CopyTo(note, 12);
        data.CopyTo(note, 12 + Align(name.Length));
        return note;

        static int Align(int size) => (size + 3) & ~3;
    }

    /// <summary>A core: its header, a program header for the notes, one for each piece of memory, then notes and memory.</summary>
    public static void WriteCore(Stream to, byte[] notes, params (ulong Virtual, ulong Physical, ReadOnlyMemory<byte> Bytes)[] pieces)
    {
        byte[] head = new byte[HeaderSize + (ProgramHeaderSize * (pieces.Length + 1))];
        "\u007fELF"u8.CopyTo(head);
        (head[4], head[5], head[6], head[16], head[18], head[20]) = (2, 1, 1, 4, 62, 1);
        BinaryPrimitives.WriteUInt64LittleEndian(head.AsSpan(32), HeaderSize);
        BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(52), HeaderSize);
        BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(54), ProgramHeaderSize);
        BinaryPrimitives.WriteUInt16LittleEndian(head.AsSpan(ProgramHeaderCount), (ushort)(pieces.Length + 1));
        ulong offset = (ulong)head.Length;
        Put(0, 4, 0, 0, (ulong)notes.Length);
        for (int i = 0; i < pieces.Length; i++)
            Put(i + 1, 1, pieces[i].Virtual, pieces[i].Physical, (ulong)pieces[i].Bytes.Length);
        to.Write(head);
        to.Write(notes);
        foreach (var (_, _, bytes) in pieces)
            to.Write(bytes.Span);

        void Put(int index, uint type, ulong address, ulong physical, ulong size)
        {
            var entry = head.AsSpan(HeaderSize + (index * ProgramHeaderSize));
            BinaryPrimitives.WriteUInt32LittleEndian(entry, type);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[8..], offset);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[16..], address);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[24..], physical);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[32..], size);
            BinaryPrimitives.WriteUInt64LittleEndian(entry[40..], size);
            offset += size;
        }
    }

    /// <summary>The same as bytes.</summary>
    public static byte[] Core(byte[] notes, params (ulong Virtual, ulong Physical, ReadOnlyMemory<byte> Bytes)[] pieces)
    {
        MemoryStream file = new();
        WriteCore(file, notes, pieces);
        return file.ToArray();
    }
}
