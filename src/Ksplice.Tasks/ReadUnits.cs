// SPDX-License-Identifier: MIT
using Ksplice.Build.Targets;
using Microsoft.Build.Framework;
using TaskItem = Microsoft.Build.Utilities.TaskItem;

namespace Ksplice.Tasks;

/// <summary>Makes items of the list of units.</summary>
public sealed class ReadUnits : KspliceTask
{
    /// <summary>The list that <see cref="ApplyPatches"/> wrote.</summary>
    [Required]
    public string UnitsFile { get; set; } = "";

    /// <summary>The folder for objects.</summary>
    [Required]
    public string ObjectFolder { get; set; } = "";

    /// <summary>The units: source path, with Module (vmlinux for the kernel itself), Pre and Post (the objects) and Because.</summary>
    [Output]
    public ITaskItem[] Units { get; set; } = [];

    /// <summary>The update's id.</summary>
    [Output]
    public string UpdateId { get; set; } = "";

    /// <inheritdoc/>
    protected override Task<bool> RunAsync(CancellationToken cancellation)
    {
        var list = UnitList.Open(UnitsFile);
        UpdateId = list.Id;
        Units =
        [
            .. list.Units.Select(unit =>
            {
                TaskItem item = new(unit.Source);
                string stem = Path.Combine(ObjectFolder, Path.ChangeExtension(unit.Source, null));
                item.SetMetadata("Module", unit.Module ?? UpdateTarget.KernelName);
                item.SetMetadata("Because", unit.Because);
                item.SetMetadata("Pre", stem + ".pre.o");
                item.SetMetadata("Post", stem + ".post.o");
                return (ITaskItem)item;
            }),
        ];
        return Task.FromResult(true);
    }
}
