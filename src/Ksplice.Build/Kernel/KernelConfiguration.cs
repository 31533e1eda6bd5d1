// SPDX-License-Identifier: MIT
namespace Ksplice.Build.Kernel;

/// <summary>A kernel's .config.</summary>
/// <param name="options">The values of the options that are set, by name.</param>
public sealed class KernelConfiguration(IReadOnlyDictionary<string, string> options)
{
    /// <summary>The options that are set.</summary>
    public IReadOnlyDictionary<string, string> Options => options;

    /// <summary>True if <paramref name="option"/>, <c>CONFIG_…</c>, is built in.</summary>
    public bool Has(string option) => options.GetValueOrDefault(option) == "y";

    /// <summary>Reads the file at <paramref name="path"/>.</summary>
    public static KernelConfiguration Read(string path) =>
        new(
            File.ReadLines(path)
                .Where(line => line.StartsWith("CONFIG_", StringComparison.Ordinal))
                .Select(line => line.Split('=', 2))
                .Where(parts => parts.Length == 2)
                .GroupBy(parts => parts[0], StringComparer.Ordinal)
                .ToDictionary(group => group.Key, group => group.Last()[1], StringComparer.Ordinal)
        );
}
