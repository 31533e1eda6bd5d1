// SPDX-License-Identifier: MIT
// The compiler numbers what has no name of its own: static locals (x.123), clones (f.isra.0), __UNIQUE_ID_…45. A number
// means nothing across two compilations; what is left of the name does.
using System.Text.RegularExpressions;

namespace Ksplice.Build.Differencing;

/// <summary>What of a symbol's name survives another compilation.</summary>
internal static partial class SymbolNames
{
    [GeneratedRegex(@"\.\d+(?=\.|$)")]
    private static partial Regex NumberedPart();

    [GeneratedRegex(@"\d+(?=\.|$)")]
    private static partial Regex TrailingNumber();

    /// <summary>The name without the compiler's numbers; equal to <paramref name="name"/> if it has none.</summary>
    public static string Base(string name)
    {
        if (name.StartsWith("__UNIQUE_ID_", StringComparison.Ordinal) || name.StartsWith(".L", StringComparison.Ordinal))
            return TrailingNumber().Replace(name, "#");
        return name.Contains('.', StringComparison.Ordinal) ? NumberedPart().Replace(name, ".#") : name;
    }

    /// <summary>
    /// True for the statics that a macro declares at each of its places, and that mean that place and nothing else: the flag of a message
    /// that is given once, a class of locks, the limit of a message's rate.
    /// </summary>
    public static bool IsOfAPlace(string name) =>
        name.Split('.').Any(part => part is "__warned" or "__already_done" or "__print_once" or "__key" or "_rs");

    /// <summary>True for the names that such a macro gives the limit of a message's rate.</summary>
    public static bool IsRateLimit(string name) => name.Split('.').Contains("_rs");

    /// <summary>True for the names that objtool gives the no-ops before functions.</summary>
    public static bool IsPadding(string name) => name.StartsWith("__pfx_", StringComparison.Ordinal);

    /// <summary>True for the out-of-line part of a function; <paramref name="parent"/> is the function's name.</summary>
    public static bool IsColdPart(string name, out string parent)
    {
        int at = name.IndexOf(".cold", StringComparison.Ordinal);
        if (at > 0 && (at + 5 == name.Length || name[at + 5] == '.'))
        {
            parent = name[..at];
            return true;
        }
        parent = "";
        return false;
    }
}
