// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Files;

/// <summary>Files that are there whole or not at all: they are written under another name and renamed.</summary>
public static class AtomicFile
{
    /// <summary>Writes <paramref name="content"/>; the folder is made where it is missing.</summary>
    /// <exception cref="IOException">It cannot be written; what was there is there still.</exception>
    public static void Write(string path, ReadOnlySpan<byte> content)
    {
        ArgumentNullException.ThrowIfNull(path);
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        File.WriteAllBytes(path + ".new", content);
        File.Move(path + ".new", path, overwrite: true);
    }

    /// <summary>Writes <paramref name="content"/> unless it is there already, so that the file's time tells when it changed.</summary>
    /// <inheritdoc cref="Write" path="/exception"/>
    public static void WriteIfDifferent(string path, ReadOnlySpan<byte> content)
    {
        if (!File.Exists(path) || !File.ReadAllBytes(path).AsSpan().SequenceEqual(content))
            Write(path, content);
    }
}
