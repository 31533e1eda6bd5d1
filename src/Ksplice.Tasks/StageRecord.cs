// SPDX-License-Identifier: MIT
// When is a stage's output to be trusted? Time stamps miss a file that was replaced by an older one, a truncated object, a
// deleted result. So a stage ends by recording what it read and what it wrote, with digests, and the next build compares
// before MSBuild looks at any time: a record that does not hold is deleted, and with it the stage's claim to be done.
using System.Security.Cryptography;
using System.Text.Json;
using Ksplice.Build.Files;

namespace Ksplice.Tasks;

/// <summary>A file as a stage saw it.</summary>
/// <param name="Path">Its full path.</param>
/// <param name="Size">Bytes.</param>
/// <param name="Time">Its time of last change, in ticks; equal size and time spare the digest.</param>
/// <param name="Sha256">Its digest.</param>
public sealed record RecordedFile(string Path, long Size, long Time, string Sha256)
{
    /// <summary>Takes the file as it is now.</summary>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static RecordedFile Take(string path)
    {
        FileInfo file = new(System.IO.Path.GetFullPath(path));
        return new RecordedFile(file.FullName, file.Length, file.LastWriteTimeUtc.Ticks, Digest(file.FullName));
    }

    /// <summary>In what the file differs from the record, or null.</summary>
    public string? Difference()
    {
        FileInfo file = new(Path);
        if (!file.Exists)
            return $"{Path} is missing";
        if (file.Length == Size && file.LastWriteTimeUtc.Ticks == Time)
            return null;
        return file.Length == Size && Digest(Path) == Sha256 ? null : $"{Path} has changed";
    }

    private static string Digest(string path)
    {
        using var file = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(file));
    }
}

/// <summary>What a stage read and wrote.</summary>
/// <param name="Path">Where the record was written: in a copied project it says nothing, since it names files of the original.</param>
/// <param name="Command">What else the outputs depend on, as a text.</param>
/// <param name="Inputs">The files read.</param>
/// <param name="Outputs">The files written.</param>
public sealed record StageRecord(string Path, string Command, IReadOnlyList<RecordedFile> Inputs, IReadOnlyList<RecordedFile> Outputs)
{
    /// <summary>Writes a record under a temporary name and renames it.</summary>
    public static void Write(string path, string command, IEnumerable<string> inputs, IEnumerable<string> outputs)
    {
        StageRecord record = new(
            System.IO.Path.GetFullPath(path),
            command,
            [.. inputs.Select(RecordedFile.Take)],
            [.. outputs.Select(RecordedFile.Take)]
        );
        AtomicFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(record, TaskFiles.Default.StageRecord));
    }

    /// <summary>Reads a record; null if there is none that can be read.</summary>
    public static StageRecord? Read(string path)
    {
        try
        {
            var record = JsonFile.Read(path, TaskFiles.Default.StageRecord, TaskFiles.Remedy);
            return record.Inputs.Concat(record.Outputs).All(file => System.IO.Path.IsPathFullyQualified(file.Path)) ? record : null;
        }
        catch (Exception problem) when (problem is IOException or DamagedFileException)
        {
            return null;
        }
    }

    /// <summary>Takes a record away, if there is one.</summary>
    public static void Remove(string? path)
    {
        if (path is not null && File.Exists(path))
            File.Delete(path);
    }

    /// <summary>Why the record at <paramref name="path"/> does not hold, or null if it does.</summary>
    public static string? Staleness(string path, string? command)
    {
        if (!File.Exists(path))
            return "it was not made yet";
        if (Read(path) is not { } record)
            return $"its record {path} is damaged";
        if (record.Path != System.IO.Path.GetFullPath(path))
            return $"its record was written at {record.Path}";
        if (command is not null && record.Command != command)
            return "it would be made by another command";
        return record.Inputs.Concat(record.Outputs).Select(file => file.Difference()).FirstOrDefault(difference => difference is not null);
    }
}
