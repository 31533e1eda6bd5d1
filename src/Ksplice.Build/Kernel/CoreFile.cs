// SPDX-License-Identifier: MIT
// An ELF core of a whole machine: /proc/kcore, what a kdump kernel writes, or qemu's dump-guest-memory. They differ in what
// their segments mean: kcore and kdump name virtual addresses, qemu (without paging) physical ones. Nothing but headers and notes is read
// before it is asked for: /proc/kcore is as large as the address space.
using Ksplice.Build.Elf;
using Microsoft.Win32.SafeHandles;

namespace Ksplice.Build.Kernel;

/// <summary>A core file's segments and notes, and its bytes.</summary>
internal sealed class CoreFile : IDisposable
{
    private readonly SafeFileHandle _file;

    private CoreFile(SafeFileHandle file, string path)
    {
        _file = file;
        var headers = ImageFile.ReadCore((offset, to) => RandomAccess.Read(file, to, offset), path);
        Segments = [.. headers.Segments.Where(segment => segment.FileSize != 0)];
        Notes = headers.Notes;
    }

    /// <summary>The loadable segments that have bytes in the file.</summary>
    public IReadOnlyList<LoadSegment> Segments { get; }

    /// <summary>The notes of all note segments.</summary>
    public IReadOnlyList<CoreNote> Notes { get; }

    /// <summary>Opens a core file.</summary>
    /// <exception cref="ElfFormatException">It is none of a 64-bit x86 machine, or its headers are malformed.</exception>
    public static CoreFile Open(string path)
    {
        var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        try
        {
            return new CoreFile(file, path);
        }
        catch
        {
            file.Dispose();
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
}
