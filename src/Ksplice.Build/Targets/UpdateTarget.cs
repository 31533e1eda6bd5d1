// SPDX-License-Identifier: MIT
// One thing that an update changes, the kernel itself or a loadable module, and the names that follow from it. The core
// knows targets by name; the index only keeps the names of two targets' modules and exports apart.
using System.Globalization;

namespace Ksplice.Build.Targets;

/// <summary>
/// A target of an update, in the update's fixed order, which is that of loading: the kernel first, then modules by name, but none before
/// one whose new code it uses.
/// </summary>
/// <param name="UpdateId">The update's id.</param>
/// <param name="Name"><see cref="KernelName"/>, or the module's name as the kernel has it.</param>
/// <param name="Index">Its place among the update's targets.</param>
/// <param name="Count">How many targets the update has.</param>
public sealed record UpdateTarget(string UpdateId, string Name, int Index, int Count)
{
    /// <summary>What the kernel itself is called.</summary>
    public const string KernelName = "vmlinux";

    /// <summary>True if it is the kernel itself.</summary>
    public bool IsKernel => Name == KernelName;

    /// <summary>True if it is a module that may be loaded after the update (<see cref="LateTarget"/>).</summary>
    public bool IsLate { get; init; }

    /// <summary>The helper's module name.</summary>
    public string Helper => HelperOf(UpdateId, Index);

    /// <summary>The primary's module name.</summary>
    public string Primary => PrimaryOf(UpdateId, Index);

    /// <summary>The name of the helper of target <paramref name="index"/>.</summary>
    public static string HelperOf(string updateId, int index) =>
        string.Create(CultureInfo.InvariantCulture, $"ksplice_{updateId}_{index}_helper");

    /// <summary>The name of the primary of target <paramref name="index"/>.</summary>
    public static string PrimaryOf(string updateId, int index) =>
        string.Create(CultureInfo.InvariantCulture, $"ksplice_{updateId}_{index}_primary");

    /// <summary>The name of the data module of an update, which all its targets share.</summary>
    public static string DataOf(string updateId) => $"ksplice_{updateId}_data";

    /// <summary>The name of the helper's export <paramref name="export"/>; names sort as indexes do.</summary>
    public string ExportName(int export) => string.Create(CultureInfo.InvariantCulture, $"ksp_{UpdateId}_{Index}_{export:d4}");

    /// <summary>The name of export <paramref name="export"/> of the primary, for those of other targets.</summary>
    public string LentName(int export) => string.Create(CultureInfo.InvariantCulture, $"ksp_{UpdateId}_{Index}_new_{export:d4}");
}
