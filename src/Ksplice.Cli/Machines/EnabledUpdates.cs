// SPDX-License-Identifier: MIT
// The updates that are applied at every boot: a folder for each, the package's verified files under its number and id, and a
// systemd unit that runs `ksplice restore`. The numbers keep the order, as one update may go on top of another.
using System.Globalization;
using System.Text.Json;
using Ksplice.Build.Generation;
using Ksplice.Cli.Packages;

namespace Ksplice.Cli.Machines;

/// <summary>What is stored of an update.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Folder">Its package.</param>
public sealed record EnabledUpdate(string Id, string Folder)
{
    /// <summary>Its name in the store: in the order of these names all are applied.</summary>
    public string Entry => Path.GetFileName(Folder);

    /// <summary>The kernel that it is for; null if its manifest is damaged.</summary>
    public string? Release
    {
        get
        {
            try
            {
                return UpdateManifest.FromJson(File.ReadAllBytes(Path.Combine(Folder, UpdateManifest.FileName))).Kernel.Release;
            }
            catch (Exception problem) when (problem is IOException or UnauthorizedAccessException or JsonException)
            {
                return null;
            }
        }
    }
}

/// <summary>
/// The store below <paramref name="root"/>, and the unit in systemd's folder: the administrator's, <paramref name="units"/>, unless the
/// command was installed with a unit of its own in <paramref name="packagedUnits"/>.
/// </summary>
public sealed class EnabledUpdates(string root, string units, string packagedUnits)
{
    private const string Unit = "ksplice.service",
        Unfinished = ".new";
    private const UnixFileMode Private = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private string Wanted => Path.Combine(units, "multi-user.target.wants", Unit);

    /// <summary>In the order in which they are applied.</summary>
    public IReadOnlyList<EnabledUpdate> All =>
        !Directory.Exists(root)
            ? []
            :
            [
                .. Directory
                    .GetDirectories(root)
                    .Order(StringComparer.Ordinal)
                    .Select(path => (Path: path, Parts: Path.GetFileName(path).Split('-')))
                    .Where(entry =>
                        entry.Parts.Length == 2
                        && !entry.Parts[1].EndsWith(Unfinished, StringComparison.Ordinal)
                        && int.TryParse(entry.Parts[0], NumberStyles.None, CultureInfo.InvariantCulture, out _)
                    )
                    .Select(entry => new EnabledUpdate(entry.Parts[1], entry.Path)),
            ];

    /// <summary>False if this user may not look.</summary>
    public bool IsReadable
    {
        get
        {
            try
            {
                return All.Count >= 0;
            }
            catch (UnauthorizedAccessException)
            {
                return false;
            }
        }
    }

    /// <summary>The package of an enabled update; null if it is not enabled, or this user may not look.</summary>
    public KnownPackage? Find(string id) =>
        IsReadable && All.FirstOrDefault(update => update.Id == id) is { } found ? KnownPackage.Read(found.Folder) : null;

    /// <summary>Stores a verified package behind all others, and has the unit run; false if it is there already.</summary>
    public bool Add(UpdatePackage package, string command)
    {
        var all = All;
        var isNew = all.All(update => update.Id != package.Manifest.Id);
        if (isNew)
            Store(
                package,
                all.Count == 0 ? 1 : 1 + int.Parse(Path.GetFileName(all[^1].Folder).Split('-')[0], CultureInfo.InvariantCulture)
            );
        // A unit that came with the command is wanted already.
        if (File.Exists(Path.Combine(packagedUnits, Unit)))
            return isNew;
        Directory.CreateDirectory(Path.GetDirectoryName(Wanted)!);
        var unit = Path.Combine(units, Unit);
        File.WriteAllText(unit + Unfinished, UnitText(command));
        File.Move(unit + Unfinished, unit, overwrite: true);
        if (!Path.Exists(Wanted))
            File.CreateSymbolicLink(Wanted, Path.Combine("..", Unit));
        return isNew;
    }

    /// <summary>Forgets an update; false if it is not there. The unit goes with the last one.</summary>
    public bool Remove(string id)
    {
        if (All.FirstOrDefault(update => update.Id == id) is not { } found)
            return false;
        Directory.Move(found.Folder, found.Folder + Unfinished);
        if (All.Count == 0 && Directory.Exists(Path.GetDirectoryName(Wanted)))
        {
            File.Delete(Wanted);
            File.Delete(Path.Combine(units, Unit));
        }

        DeleteUnfinished();

        return true;
    }

    private void Store(UpdatePackage package, int number)
    {
        var folder = Path.Combine(root, string.Create(CultureInfo.InvariantCulture, $"{number:d6}-{package.Manifest.Id}"));
        var unfinished = folder + Unfinished;
        Directory.CreateDirectory(root, Private);
        DeleteUnfinished();
        foreach (var (path, content) in package.Files)
        {
            var target = Path.Combine(unfinished, path);
            Directory.CreateDirectory(Path.GetDirectoryName(target)!, Private);
            using var file = new FileStream(target, FileMode.CreateNew);
            file.Write(content.Span);
            file.Flush(flushToDisk: true);
        }

        // The files' names have to be on the disk before the folder has its own, and that before the command says so.
        foreach (var part in Directory.GetDirectories(unfinished, "*", SearchOption.AllDirectories).Append(unfinished))
            Machine.SyncDirectory(part);
        Directory.Move(unfinished, folder);
        Machine.SyncDirectory(root);
    }

    // What a command that was killed was about to store or had begun to forget.
    private void DeleteUnfinished()
    {
        foreach (var folder in Directory.GetDirectories(root, "*" + Unfinished))
            Directory.Delete(folder, recursive: true);
    }

    // systemd.service(5): in quotes a blank is one, a backslash and a quote want a backslash, and % and $ are doubled.
    private static string Quote(string command) =>
        '"' + command.Replace("\\", "\\\\").Replace("\"", "\\\"").Replace("%", "%%").Replace("$", "$$") + '"';

    private static string UnitText(string command)
    {
        using StreamReader text = new(typeof(EnabledUpdates).Assembly.GetManifestResourceStream(Unit)!);
        return text.ReadToEnd().Replace("/usr/bin/ksplice", Quote(command), StringComparison.Ordinal);
    }
}
