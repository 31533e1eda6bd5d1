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

    /// <summary>
    /// In what <paramref name="other"/> differs: at most <paramref name="shown"/> options and how many more; empty if in none.
    /// </summary>
    /// <param name="other">Another configuration.</param>
    /// <param name="shown">How many options to name.</param>
    /// <param name="counts">The options that count; null for all.</param>
    public string DifferenceTo(KernelConfiguration other, int shown, Func<string, bool>? counts = null)
    {
        ArgumentNullException.ThrowIfNull(other);
        string[] differing =
        [
            .. Options
                .Keys.Union(other.Options.Keys, StringComparer.Ordinal)
                .Where(option => Options.GetValueOrDefault(option) != other.Options.GetValueOrDefault(option))
                .Where(option => counts?.Invoke(option) != false)
                .Order(StringComparer.Ordinal),
        ];
        return string.Join(", ", differing.Take(shown).Select(option => $"{option} is {Of(this, option)}, there {Of(other, option)}"))
            + (differing.Length > shown ? $" and {differing.Length - shown} more" : "");

        static string Of(KernelConfiguration configuration, string option) => configuration.Options.GetValueOrDefault(option) ?? "not set";
    }

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
