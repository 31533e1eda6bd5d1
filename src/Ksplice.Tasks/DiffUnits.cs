// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Updates;
using Microsoft.Build.Framework;
using TaskItem = Microsoft.Build.Utilities.TaskItem;

namespace Ksplice.Tasks;

/// <summary>Finds what the patches change in the code, and writes a report for each unit.</summary>
public sealed class DiffUnits : UpdateTask
{
    /// <summary>The folder for reports.</summary>
    [Required]
    public string ReportFolder { get; set; } = "";

    /// <summary>The reports, with Unit.</summary>
    [Output]
    public ITaskItem[] Reports { get; set; } = [];

    private protected override bool RunStage(CancellationToken cancellation)
    {
        if (TakeSilently(Update.Differences(cancellation)) is not { } diffs || Take(Update.Targets(cancellation)) is null)
            return false;
        List<ITaskItem> reports = [];
        foreach (var diff in diffs)
        {
            string path = Path.Combine(ReportFolder, Path.ChangeExtension(diff.Unit, ".json"));
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, UnitDescription.Of(diff).ToJson());
            TaskItem report = new(path);
            report.SetMetadata("Unit", diff.Unit);
            reports.Add(report);
            foreach (var function in diff.Replaced)
                Log.LogMessage(MessageImportance.Normal, "{0}: {1} is replaced: {2}", diff.Unit, function.Name, function.Why.Detail);
        }
        Reports = [.. reports];
        if (Record is not null)
            StageRecord.Write(Record, "", Objects, reports.Select(report => report.ItemSpec));
        return true;
    }

    /// <inheritdoc/>
    protected override Diagnostic Locate(Diagnostic diagnostic) => InPatch(diagnostic);
}
