// SPDX-License-Identifier: MIT
// What a patch may do to the Makefile of a folder: change its lists of objects (obj-y, obj-$(CONFIG_X), foo-y, foo-objs), comments and
// empty lines. Whether the new lists only add objects is seen in what kbuild would then run (Kernel/AddedUnits.cs). All else in a Makefile
// (flags, conditions, rules) may decide how files are made that are there already, and those commands kbuild does not print.
using System.Text.RegularExpressions;

namespace Ksplice.Build.Patching;

/// <summary>Reads the lists of objects of a Makefile.</summary>
internal static partial class ObjectList
{
    /// <summary>
    /// The first line that differs between <paramref name="before"/> and <paramref name="after"/> and is no part of a list of objects, as
    /// it stands, with its place in the patch if that brought it; null if there is none.
    /// </summary>
    public static SourceLine? Foreign(SourceText before, SourceText after)
    {
        var kept = after.Lines.Select(line => line.OriginalLine).ToHashSet();
        return Foreign(after, line => line.OriginalLine == 0) ?? Foreign(before, line => !kept.Contains(line.OriginalLine));
    }

    /// <summary>
    /// The options on which an object depends: those of the list that a line brought by the patch puts <paramref name="source"/> into, and
    /// null if there is no such line.
    /// </summary>
    public static IReadOnlyList<string>? OptionsOf(string makefile, IEnumerable<string> patched, string source)
    {
        var name = Path.ChangeExtension(Path.GetRelativePath(Path.GetDirectoryName(makefile)!, source), ".o");
        var lines = patched.Where(line => WordPattern().Matches(line).Any(word => word.Value == name)).ToList();
        return lines.Count == 0
            ? null
            : [.. lines.SelectMany(line => OptionPattern().Matches(line)).Select(option => option.Value).Distinct(StringComparer.Ordinal)];
    }

    private static SourceLine? Foreign(SourceText text, Func<SourceLine, bool> counts)
    {
        List<SourceLine> statement = [];
        foreach (var line in text.Lines)
        {
            statement.Add(line);
            if (line.Text.TrimEnd('\r', '\n').EndsWith('\\'))
                continue;
            if (statement.Exists(part => counts(part)) && !IsList(statement))
                return statement.Find(part => counts(part));
            statement.Clear();
        }
        return statement.Exists(part => counts(part)) ? statement.Find(part => counts(part)) : null;
    }

    private static bool IsList(List<SourceLine> statement)
    {
        var text = string.Concat(statement.Select(line => line.Text.TrimEnd('\r', '\n', '\\') + " "));
        if (text.IndexOf('#', StringComparison.Ordinal) is >= 0 and var comment)
            text = text[..comment];
        return string.IsNullOrWhiteSpace(text) || (ListPattern().Match(text) is { Success: true } list && !OtherList().IsMatch(list.Value));
    }

    // A list of objects, with words that are objects; $(addprefix folder/, a.o b.o) is one way to write several.
    [GeneratedRegex(
        @"^ *(?<name>[\w./-]+)-(?:y|m|objs|\$\(CONFIG_\w+\))\s*[:+]?=(?:\s|[\w./-]+\.o(?=[\s)])|\$\(addprefix\s+[\w./-]+\s*,|\))*$"
    )]
    private static partial Regex ListPattern();

    [GeneratedRegex(
        @"^ *(?:[\w-]*flags|extra|always|hostprogs|userprogs|targets|subdir|generic|generated|mandatory|header|dtb|clean|no-clean)-"
    )]
    private static partial Regex OtherList();

    [GeneratedRegex(@"[\w./-]+")]
    private static partial Regex WordPattern();

    [GeneratedRegex(@"CONFIG_\w+")]
    private static partial Regex OptionPattern();
}
