// SPDX-License-Identifier: MIT
// An ELF core of a whole machine: /proc/kcore, what a kdump kernel writes, or qemu's dump-guest-memory. They differ in what
// their segments mean: kcore and kdump name virtual addresses, qemu (without paging) physical ones. Nothing is read before it
// is asked for: /proc/kcore is as large as the address space.
using System.Buffers.Binary;
using System.Text;

namespace Ksplice.Build.Kernel;

/// <summary>A core file's segments and notes.</summary>
internal sealed class CoreFile : IDisposable
{
    private const int HeaderSize = 64;
    private const int ProgramHeaderSize = 56;
    private const int CoreType = 4;
    private const int MaximalNotes = 1 << 24;

    private readonly Microsoft.Win32.SafeHandles.SafeFileHandle _file;

    private CoreFile(Microsoft.Win32.SafeHandles.SafeFileHandle file) => _file = file;

    /// <summary>One loadable segment: where its bytes are in the file, and where they were.</summary>
    public readonly record struct Segment(long Offset, ulong Virtual, ulong Physical, ulong Size);

    /// <summary>One note.</summary>
    public readonly record struct Note(string Owner, uint Type, byte[] Data);

    /// <summary>The loadable segments.</summary>
    public IReadOnlyList<Segment> Segments { get; private set; } = [];

    /// <summary>The notes of all note segments.</summary>
    public IReadOnlyList<Note> Notes { get; private set; } = [];

    /// <summary>Opens a core file.</summary>
    /// <exception cref="InvalidDataException">It is none of a 64-bit x86 machine.</exception>
    public static CoreFile Open(string path)
    {
        CoreFile core = new(File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        try
        {
            core.ReadHeaders();
            return core;
        }
        catch
        {
            core.Dispose();
            throw;
        }
    }

    public void Dispose() => _file.Dispose();

    /// <summary>Fills <paramref name="to"/> from a place in the file, or returns false where it ends or cannot be read.</summary>
    public bool TryRead(long offset, Span<byte> to)
    {
        while (!to.IsEmpty)
        {
            int count;
            try
            {
                count = RandomAccess.Read(_file, to, offset);
            }
            catch (IOException)
            {
                return false; // /proc/kcore, where nothing is mapped
            }
            if (count == 0)
                return false;
            to = to[count..];
            offset += count;
        }
        return true;
    }

    private void ReadHeaders()
    {
        byte[] header = new byte[HeaderSize];
        if (
            !TryRead(0, header)
            || !header.AsSpan(0, 4).SequenceEqual("\u007fELF"u8)
            || BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(16)) != CoreType
            || header[4] != 2
            || header[5] != 1
            || BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(18)) != 62
        )
            throw new InvalidDataException("it is no ELF core of an x86-64 machine");
        long table = BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(32));
        int count = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(56));
        byte[] headers = new byte[count * ProgramHeaderSize];
        if (
            table < HeaderSize
            || BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(54)) != ProgramHeaderSize
            || count == 0xffff
            || !TryRead(table, headers)
        )
            throw new InvalidDataException("its program headers cannot be read");
        List<Segment> segments = [];
        List<Note> notes = [];
        for (int at = 0; at < headers.Length; at += ProgramHeaderSize)
        {
            var one = headers.AsSpan(at, ProgramHeaderSize);
            uint type = BinaryPrimitives.ReadUInt32LittleEndian(one);
            long offset = BinaryPrimitives.ReadInt64LittleEndian(one[8..]);
            ulong size = BinaryPrimitives.ReadUInt64LittleEndian(one[32..]);
            if (offset < 0 || size > long.MaxValue)
                throw new InvalidDataException($"its program header {at / ProgramHeaderSize} is malformed");
            if (type == 1 && size != 0)
                segments.Add(
                    new Segment(
                        offset,
                        BinaryPrimitives.ReadUInt64LittleEndian(one[16..]),
                        BinaryPrimitives.ReadUInt64LittleEndian(one[24..]),
                        size
                    )
                );
            else if (type == 4)
                ReadNotes(offset, size, notes);
        }
        (Segments, Notes) = (segments, notes);
    }

    private void ReadNotes(long offset, ulong size, List<Note> notes)
    {
        if (size > MaximalNotes)
            throw new InvalidDataException($"its notes take {size} bytes");
        byte[] bytes = new byte[size];
        if (!TryRead(offset, bytes))
            throw new InvalidDataException("its notes cannot be read");
        for (var rest = bytes.AsSpan(); rest.Length >= 12; )
        {
            uint name = BinaryPrimitives.ReadUInt32LittleEndian(rest),
                data = BinaryPrimitives.ReadUInt32LittleEndian(rest[4..]);
            uint type = BinaryPrimitives.ReadUInt32LittleEndian(rest[8..]);
            ulong start = 12 + ((name + 3ul) & ~3ul),
                end = start + ((data + 3ul) & ~3ul);
            if (start + data > (ulong)rest.Length)
                throw new InvalidDataException("a note leads outside of its segment");
            notes.Add(
                new Note(
                    Encoding.Latin1.GetString(rest.Slice(12, (int)name)).TrimEnd('\0'),
                    type,
                    rest.Slice((int)start, (int)data).ToArray()
                )
            );
            rest = rest[(int)Math.Min(end, (ulong)rest.Length)..];
        }
    }
}
