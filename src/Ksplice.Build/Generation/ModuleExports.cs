// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Generation;

/// <summary>What loadable modules export, by Module.symvers.</summary>
public static class ModuleExports
{
    /// <summary>The module that exports each symbol that is not vmlinux's; malformed lines say nothing.</summary>
    public static IReadOnlyDictionary<string, string> Read(string path) =>
        File.ReadLines(path)
            .Select(line => line.Split('\t'))
            .Where(fields => fields.Length > 3 && fields[2] != "vmlinux")
            .GroupBy(fields => fields[1], StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => Path.GetFileName(group.First()[2]), StringComparer.Ordinal);
}
