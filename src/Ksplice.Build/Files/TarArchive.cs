// SPDX-License-Identifier: MIT
using System.Formats.Tar;

namespace Ksplice.Build.Files;

/// <summary>Writes archives: entries have no times and no owners, so equal content makes equal bytes.</summary>
public static class TarArchive
{
    /// <summary>The bytes of an archive (ustar) with the files in that order.</summary>
    public static byte[] Write(IEnumerable<(string Path, ReadOnlyMemory<byte> Content)> files)
    {
        ArgumentNullException.ThrowIfNull(files);
        using MemoryStream bytes = new();
        using (TarWriter tar = new(bytes, TarEntryFormat.Ustar, leaveOpen: true))
        {
            foreach (var (path, content) in files)
                tar.WriteEntry(
                    new UstarTarEntry(TarEntryType.RegularFile, path)
                    {
                        ModificationTime = DateTimeOffset.UnixEpoch,
                        Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead,
                        DataStream = new MemoryStream(content.ToArray()),
                    }
                );
        }
        return bytes.ToArray();
    }
}
