using System.Text.Json;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Microsoft.Build.Framework;
using TaskItem = Microsoft.Build.Utilities.TaskItem;

namespace Ksplice.Tasks;

/// <summary>Finds what the patches change in the code, and writes a report for each unit.</summary>
public sealed class DiffUnits : KspliceTask
{
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };

    /// <summary>The units, with Pre and Post.</summary>
    [Required]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The folder for reports.</summary>
    [Required]
    public string ReportFolder { get; set; } = "";

    /// <summary>The reports, with Unit.</summary>
    [Output]
    public ITaskItem[] Reports { get; set; } = [];

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        if (UnitDiffs.Find(Units, Diagnostics) is not { } diffs)
            return Task.FromResult(false);
        _ = UnitDiffs.Split("", Units, diffs, Diagnostics);
        if (Diagnostics.HasErrors)
            return Task.FromResult(false);
        List<ITaskItem> reports = [];
        foreach (var diff in diffs)
        {
            string path = Path.Combine(ReportFolder, Path.ChangeExtension(diff.Unit, ".json"));
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, JsonSerializer.Serialize(Describe(diff), Indented) + "\n");
            TaskItem report = new(path);
            report.SetMetadata("Unit", diff.Unit);
            reports.Add(report);
            foreach (var function in diff.Replaced)
                Log.LogMessage(MessageImportance.Normal, "{0}: {1} is replaced: {2}", diff.Unit, function.Name, function.Why.Detail);
        }
        Reports = [.. reports];
        if (Record is not null)
            StageRecord.Write(Record, "", UnitDiffs.Objects(Units), reports.Select(report => report.ItemSpec));
        return Task.FromResult(true);
    }

    private static object? Describe(InstructionText? instruction) =>
        instruction is null
            ? null
            : new
            {
                offset = instruction.Offset,
                instruction = instruction.Text,
                source = instruction.Source?.ToString(),
            };

    private static object Describe(ObjectDiff diff) =>
        new
        {
            unit = diff.Unit,
            replaced = FunctionExplanation
                .Of(diff)
                .Select(explained => new
                {
                    name = explained.Function.Name,
                    why = explained.Reason.ToString(),
                    inlined = explained.Inlined,
                    part = explained.Function.Why.Part,
                    offset = explained.Function.Why.Offset,
                    detail = explained.Function.Why.Detail,
                    pre = Describe(explained.Pre),
                    post = Describe(explained.Post),
                }),
            added = diff.NewFunctions.Select(function => function.Name),
            removed = diff.RemovedFunctions,
            needs = diff.Needed.Select(symbol => symbol.DisplayName),
            pinnedBy = diff.Pins.Select(pin => $"{pin.Holder} holds the address of {pin.Target}"),
        };
}
