// SPDX-License-Identifier: MIT
using Microsoft.Build.Framework;

namespace Ksplice.Tasks;

/// <summary>Deletes each stage's record that does not hold any more, so that the stage runs again.</summary>
public sealed class VerifyRecords : KspliceTask
{
    /// <summary>The records, in the order of the stages.</summary>
    [Required]
    public ITaskItem[] Records { get; set; } = [];

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        foreach (var item in Records)
        {
            string path = item.GetMetadata("FullPath");
            if (!File.Exists(path) || StageRecord.Staleness(path, null) is not { } why)
                continue;
            Log.LogMessage(MessageImportance.Normal, "{0} runs again: {1}", Path.GetFileNameWithoutExtension(path), why);
            File.Delete(path);
        }
        return Task.FromResult(true);
    }
}
