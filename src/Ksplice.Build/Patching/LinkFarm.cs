// SPDX-License-Identifier: MIT
// The files behind a PostTree: making the farm of links, and moving single paths between "as in the pre tree" and
// "patched". Links in the pre tree that are relative are made anew with the same text, so that they lead to the patched
// file where there is one.

using System.IO.Enumeration;
using System.Text.Json;
using System.Text.Json.Serialization;
using Ksplice.Build.Files;

namespace Ksplice.Build.Patching;

/// <summary>What a post tree says about itself.</summary>
/// <param name="Format">Version of this record and of the farm's layout.</param>
/// <param name="SourceRoot">The pre tree.</param>
/// <param name="SourceStamp">The pre tree's root folder's time stamp, which tells a tree that was unpacked anew.</param>
/// <param name="Complete">False while a run is in progress, and after one that was cut off.</param>
/// <param name="Folders">The folders that are real, in ordinal order, others being links themselves; null if all are real.</param>
/// <param name="Patched">The paths that may differ from the pre tree, in ordinal order.</param>
internal sealed record LinkFarmState(
    int Format,
    string SourceRoot,
    long SourceStamp,
    bool Complete,
    IReadOnlyList<string>? Folders,
    IReadOnlyList<string> Patched
);

[JsonSourceGenerationOptions(WriteIndented = true, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(LinkFarmState))]
internal sealed partial class LinkFarmJson : JsonSerializerContext;

/// <summary>A farm of links to a source tree.</summary>
/// <param name="sourceRoot">The pre tree.</param>
/// <param name="root">The farm.</param>
/// <param name="folders">The folders that have to be real, null for all of them.</param>
internal sealed class LinkFarm(string sourceRoot, string root, IReadOnlySet<string>? folders)
{
    /// <summary>The state file's name in the farm's root.</summary>
    public const string StateName = ".ksplice-tree.json";

    private const int Format = 2;

    // No unit of an x86 kernel includes anything below these.
    private static readonly string[] s_skipped = ["Documentation", "LICENSES", "samples", ".git", "debian"];

    private readonly string[]? _folders = folders?.Order(StringComparer.Ordinal).ToArray();

    /// <summary>The state as last read or saved.</summary>
    public LinkFarmState State { get; private set; } = new(Format, sourceRoot, 0, false, null, []);

    /// <summary>Finds the farm or makes it. False if its place is taken by something else.</summary>
    public bool Open(CancellationToken cancellationToken)
    {
        var stamp = Directory.GetLastWriteTimeUtc(sourceRoot).Ticks;
        if (Directory.Exists(root) || File.Exists(root))
        {
            var statePath = Path.Combine(root, StateName);
            if (!File.Exists(statePath))
            {
                if (File.Exists(root) || Directory.EnumerateFileSystemEntries(root).Any())
                    return false;
                Directory.Delete(root);
            }
            else if (
                ReadState(root) is { Format: Format } state
                && state.SourceRoot == sourceRoot
                && state.SourceStamp == stamp
                && IsLaidOutAs(state)
            )
            {
                State = state;
                return true;
            }
            else
                Directory.Delete(root, recursive: true);
        }
        State = State with { SourceStamp = stamp, Folders = _folders };
        Create(cancellationToken);
        return true;
    }

    private bool IsLaidOutAs(LinkFarmState state) =>
        state.Folders is null || _folders is null
            ? state.Folders is null && _folders is null
            : state.Folders.SequenceEqual(_folders, StringComparer.Ordinal);

    /// <summary>Writes the state file.</summary>
    public void Save(bool complete, IReadOnlyList<string> patched)
    {
        var state = State with { Complete = complete, Patched = patched };
        if (state.Complete == State.Complete && state.Patched.SequenceEqual(State.Patched, StringComparer.Ordinal))
            return;
        WriteState(root, state);
        State = state;
    }

    /// <summary>Makes <paramref name="path"/> what it is in the pre tree.</summary>
    public void Restore(string path)
    {
        var source = Path.Combine(sourceRoot, path);
        var target = Path.Combine(root, path);
        if (!File.Exists(source))
        {
            File.Delete(target);
            RemoveEmptyFolders(Path.GetDirectoryName(path) ?? "");
            return;
        }
        if (new FileInfo(target).LinkTarget == source)
            return;
        MakeFolder(path);
        var temporary = Temporary(target);
        File.Delete(temporary);
        File.CreateSymbolicLink(temporary, source);
        File.Move(temporary, target, overwrite: true);
    }

    /// <summary>
    /// Makes <paramref name="path"/> a file of its own with <paramref name="content"/>, or takes it away if that is null.
    /// </summary>
    public void Put(string path, byte[]? content)
    {
        var target = Path.Combine(root, path);
        if (content is null)
        {
            File.Delete(target);
            return;
        }
        var info = new FileInfo(target);
        if (
            info.Exists
            && info.LinkTarget is null
            && info.Length == content.Length
            && File.ReadAllBytes(target).AsSpan().SequenceEqual(content)
        )
            return;
        MakeFolder(path);
        var temporary = Temporary(target);
        File.Delete(temporary);
        File.WriteAllBytes(temporary, content);
        File.Move(temporary, target, overwrite: true);
    }

    private static string Temporary(string target) =>
        Path.Combine(Path.GetDirectoryName(target)!, ".ksplice-new." + Path.GetFileName(target));

    private void MakeFolder(string path) => Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(root, path))!);

    /// <summary>Folders that only a patch's new files were in go with them.</summary>
    private void RemoveEmptyFolders(string folder)
    {
        for (; folder.Length != 0 && !Directory.Exists(Path.Combine(sourceRoot, folder)); folder = Path.GetDirectoryName(folder) ?? "")
        {
            var path = Path.Combine(root, folder);
            if (!Directory.Exists(path))
                continue;
            if (Directory.EnumerateFileSystemEntries(path).Any())
                return;
            Directory.Delete(path);
        }
    }

    /// <summary>What the farm at <paramref name="root"/> says about itself; null if its state file is damaged.</summary>
    /// <exception cref="IOException">There is no such farm.</exception>
    public static LinkFarmState? ReadState(string root)
    {
        try
        {
            return JsonFile.Parse(File.ReadAllBytes(Path.Combine(root, StateName)), LinkFarmJson.Default.LinkFarmState);
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private static void WriteState(string folder, LinkFarmState state)
    {
        var path = Path.Combine(folder, StateName);
        AtomicFile.Write(path, JsonSerializer.SerializeToUtf8Bytes(state, LinkFarmJson.Default.LinkFarmState));
    }

    private void Create(CancellationToken cancellationToken)
    {
        var temporary = root + ".new";
        if (Directory.Exists(temporary))
            Directory.Delete(temporary, recursive: true);
        Directory.CreateDirectory(temporary);
        LinkFolder(temporary, "", parallel: true, cancellationToken);
        State = State with { Complete = true, Patched = [] };
        WriteState(temporary, State);
        Directory.Move(temporary, root);
    }

    private void LinkFolder(string destination, string folder, bool parallel, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var target = Path.Combine(destination, folder);
        Directory.CreateDirectory(target);
        var inner = new List<string>();
        foreach (var entry in Entries(folder))
        {
            var path = folder.Length == 0 ? entry.Name : $"{folder}/{entry.Name}";
            if (!entry.IsFolder)
                File.CreateSymbolicLink(Path.Combine(target, entry.Name), LinkText(path, entry.IsLink));
            else if (s_skipped.Contains(path, StringComparer.Ordinal) || PatchedPath.IsOtherArchitecture(path + "/"))
                continue;
            else if (folders is null || folders.Contains(path))
                inner.Add(path);
            else
                File.CreateSymbolicLink(Path.Combine(target, entry.Name), Path.Combine(sourceRoot, path));
        }
        Parallel.ForEach(
            inner,
            new ParallelOptions { CancellationToken = cancellationToken, MaxDegreeOfParallelism = parallel ? -1 : 1 },
            path => LinkFolder(destination, path, parallel: false, cancellationToken)
        );
    }

    private string LinkText(string path, bool isLink)
    {
        var source = Path.Combine(sourceRoot, path);
        if (!isLink || new FileInfo(source).LinkTarget is not { } text || Path.IsPathRooted(text))
            return source;
        var leadsTo = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(source)!, text));
        return leadsTo.StartsWith(sourceRoot + "/", StringComparison.Ordinal) ? text : leadsTo;
    }

    /// <summary>
    /// The entries of a folder. Asking an entry for its attributes costs two system calls; what it takes to tell links apart
    /// is in the directory itself, so a folder is read once with and once without its links.
    /// </summary>
    private List<(string Name, bool IsFolder, bool IsLink)> Entries(string folder)
    {
        var path = Path.Combine(sourceRoot, folder);
        var entries = Enumerate(path, FileAttributes.ReparsePoint).Select(entry => (entry.Name, entry.IsFolder, false)).ToList();
        var names = entries.Select(entry => entry.Name).ToHashSet(StringComparer.Ordinal);
        entries.AddRange(
            Enumerate(path, FileAttributes.None).Where(entry => !names.Contains(entry.Name)).Select(entry => (entry.Name, false, true))
        );
        return entries;
    }

    private static FileSystemEnumerable<(string Name, bool IsFolder)> Enumerate(string path, FileAttributes skipped) =>
        new(
            path,
            static (ref FileSystemEntry entry) => (entry.FileName.ToString(), entry.IsDirectory),
            new EnumerationOptions { AttributesToSkip = skipped, IgnoreInaccessible = false }
        );
}
