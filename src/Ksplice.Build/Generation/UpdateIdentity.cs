// SPDX-License-Identifier: MIT
// What an update's author says of it beside its name. It is shown on terminals and is part of file names, so only what is harmless there
// is taken, by the build and by who reads a package.
using System.Text.RegularExpressions;

namespace Ksplice.Build.Generation;

/// <summary>The forms of an update's version, description and advisories.</summary>
public static partial class UpdateIdentity
{
    /// <summary>True if <paramref name="version"/> may be part of a file name, on every file system.</summary>
    public static bool IsVersion(string version) => Versions().IsMatch(version);

    /// <summary>True if <paramref name="description"/> is one line of text.</summary>
    public static bool IsDescription(string description)
    {
        ArgumentNullException.ThrowIfNull(description);
        return description.Length != 0 && !description.Any(char.IsControl);
    }

    /// <summary>True if <paramref name="advisory"/> is an id such as CVE-2022-0847, DSA-5092-1 or RHSA-2022:0819.</summary>
    public static bool IsAdvisory(string advisory) => Advisories().IsMatch(advisory);

    [GeneratedRegex(@"^[0-9A-Za-z][0-9A-Za-z.+~-]{0,63}\z")]
    private static partial Regex Versions();

    [GeneratedRegex(@"^(?:CVE-[0-9]{4}-[0-9]{4,19}|(?!CVE-)[A-Z]{2,16}(?:-[0-9A-Za-z:.]{1,32}){1,6})\z")]
    private static partial Regex Advisories();
}
