// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Kernel;

/// <summary>Reads bytes at an offset of a file: as many as there are, zero of them at its end.</summary>
internal delegate int ReadAt(long offset, Span<byte> to);

/// <summary>
/// A file as ELFSharp gets to see it. Headers and notes that were checked come from memory, so that it reads what was checked, even where
/// the file changes meanwhile (/proc/kcore).
/// </summary>
/// <param name="read">The file.</param>
internal sealed class ImageStream(ReadAt read) : Stream
{
    private readonly List<(long Start, byte[] Bytes)> _kept = [];
    private long _position;

    public override bool CanRead => true;

    public override bool CanSeek => true;

    public override bool CanWrite => false;

    /// <summary>Of no meaning; ELFSharp asks only whether the file is shorter than an ELF header.</summary>
    public override long Length => long.MaxValue;

    public override long Position
    {
        get => _position;
        set => _position = value >= 0 ? value : throw new IOException("a place in front of the file");
    }

    /// <summary>Bytes of the file itself, or null where it ends before. Nothing is allocated for bytes that are not there.</summary>
    public byte[]? TryRead(long offset, int size)
    {
        if (size != 0 && read(offset + size - 1, stackalloc byte[1]) == 0)
            return null;
        byte[] bytes = new byte[size];
        for (int at = 0, count; at < size; at += count)
        {
            if ((count = read(offset + at, bytes.AsSpan(at))) == 0)
                return null;
        }
        return bytes;
    }

    /// <summary>Shows <paramref name="bytes"/> at <paramref name="start"/>, whatever the file has there.</summary>
    public void Keep(long start, byte[] bytes) => _kept.Add((start, bytes));

    public override int Read(Span<byte> buffer)
    {
        int count = 0;
        foreach (var (start, bytes) in _kept)
        {
            if (_position >= start && _position - start < bytes.Length)
            {
                var rest = bytes.AsSpan((int)(_position - start));
                count = Math.Min(rest.Length, buffer.Length);
                rest[..count].CopyTo(buffer);
                break;
            }
        }
        if (count == 0)
            count = read(_position, buffer);
        _position += count;
        return count;
    }

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override long Seek(long offset, SeekOrigin origin) =>
        Position =
            origin == SeekOrigin.Begin ? offset
            : origin == SeekOrigin.Current ? _position + offset
            : throw new NotSupportedException();

    public override void Flush() { }

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
}
