// SPDX-License-Identifier: MIT
// A project for several kernels makes an update for each, and one archive of all: plain tar, since its parts are packed already. It has the
// update's archive in a folder for each release, by the name that `uname -r` shows, and the table of results.
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Files;
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Shows what was built for each of several kernels, and packs it if nothing is missing.</summary>
public sealed class PackReleases : KspliceTask
{
    private const string TableName = "updates.txt";

    /// <summary>The project, as the place of errors.</summary>
    [Required]
    public string ProjectFile { get; set; } = "";

    /// <summary>The releases that the project names.</summary>
    public ITaskItem[] Releases { get; set; } = [];

    /// <summary>What was built: the packages, with KernelRelease, UpdateId and Archive.</summary>
    public ITaskItem[] Updates { get; set; } = [];

    /// <summary>The archive to write.</summary>
    [Required]
    public string Output { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        var built = Updates.ToDictionary(update => update.GetMetadata("KernelRelease"), StringComparer.Ordinal);
        string[] releases = [.. Releases.Select(release => release.ItemSpec)];
        if (releases.Length == 0)
        {
            Diagnostics.Report(ProjectDiagnostics.NoRelease, new(ProjectFile));
            return Task.FromResult(false);
        }
        int width = releases.Max(release => release.Length);
        string Built(string release) => built.TryGetValue(release, out var update) ? Path.GetFileName(update.ItemSpec) : "";
        string table = string.Concat(releases.Select(release => $"{release.PadRight(width)}  {Built(release)}\n"));
        if (releases.Any(release => !built.ContainsKey(release)))
        {
            if (File.Exists(Output))
                File.Delete(Output);
            Diagnostics.Report(ProjectDiagnostics.ReleasesMissing, new(ProjectFile), Path.GetFileName(Output));
            return Task.FromResult(false);
        }
        Log.LogMessageFromText($"{Path.GetFileNameWithoutExtension(ProjectFile)} -> {Output}", MessageImportance.High);
        foreach (string line in table.TrimEnd().Split('\n'))
            Log.LogMessageFromText("  " + line, MessageImportance.High);
        var archives = built
            .OrderBy(pair => pair.Key, StringComparer.Ordinal)
            .Select(pair => (Release: pair.Key, Archive: pair.Value.GetMetadata("Archive")))
            .Select(one => ($"{one.Release}/{Path.GetFileName(one.Archive)}", (ReadOnlyMemory<byte>)File.ReadAllBytes(one.Archive)));
        AtomicFile.WriteIfDifferent(Output, TarArchive.Write([.. archives, (TableName, Encoding.UTF8.GetBytes(table))]));
        return Task.FromResult(true);
    }
}
