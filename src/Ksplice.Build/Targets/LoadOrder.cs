// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Targets;

/// <summary>The order of an update's targets, in which their primaries are loaded; they are unloaded the other way round.</summary>
internal static class LoadOrder
{
    /// <summary>
    /// The kernel first, then modules by name, but none before a target of which it uses something. A target that uses itself in the end
    /// is left out, and so is what uses such a one.
    /// </summary>
    public static IReadOnlyList<string> Of(IReadOnlyCollection<string> targets, ILookup<string, string> usesOf)
    {
        List<string> ordered = [],
            rest = [.. targets.OrderByDescending(name => name == UpdateTarget.KernelName).ThenBy(name => name, StringComparer.Ordinal)];
        while (rest.Find(name => !usesOf[name].Except(ordered, StringComparer.Ordinal).Any()) is { } next)
        {
            ordered.Add(next);
            rest.Remove(next);
        }
        return ordered;
    }
}
