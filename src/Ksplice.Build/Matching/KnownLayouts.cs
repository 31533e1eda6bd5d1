// SPDX-License-Identifier: MIT
// The layouts of tables that match programs, the core and the loader of modules agree on. Differencing takes the layouts of other
// releases as well; an update for such a kernel is refused here, before anything is written.
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Matching;

internal static class KnownLayouts
{
    // The one table to whose entries code may lead (K29).
    private const string BugTable = "__bug_table";

    private static readonly ILookup<string, (int Size, ulong[] Relocations)> Layouts = (
        (IEnumerable<(string, int, ulong[])>)
            [
                ("__jump_table", 16, [0, 4, 8]),
                ("__ex_table", 12, [0, 4]),
                ("__bug_table", 16, [0, 4, 8]),
                ("__bug_table", 12, [0, 4]),
                ("__bug_table", 8, [0]),
                (".altinstructions", 12, [0, 4]),
                (".altinstructions", 14, [0, 4]),
            ]
    ).ToLookup(layout => layout.Item1, layout => (layout.Item2, layout.Item3), StringComparer.Ordinal);

    /// <summary>What of the code, of its parts or of their entries is of a layout that is not known; null if nothing is.</summary>
    public static string? Problem(ObjectNode code)
    {
        foreach (var node in code.Parts.Prepend(code))
        {
            if (node.Kind == NodeKind.Auxiliary && Problem(node.Section.Name, []) is { } section)
                return section;
            if (Problem("", node.References.Select(reference => reference.Entry?.Table.Name)) is { } leads)
                return leads;
            foreach (var entry in node.Entries)
            {
                if (Problem(entry.Section.Name, (int)entry.Size, entry.References.Select(reference => reference.Offset)) is { } problem)
                    return problem;
            }
        }
        return null;
    }

    /// <summary>The same of a piece of new code.</summary>
    public static string? Problem(CarriedPiece piece) =>
        piece.Kind == CarriedKind.SpecialEntry
            ? Problem(piece.OutputSection, piece.Data.Length, piece.References.Select(reference => reference.Offset))
            : Problem(piece.OutputSection, piece.References.Select(reference => reference.EntryOf));

    // A piece of code, and the tables to whose entries it leads.
    private static string? Problem(string section, IEnumerable<string?> tables) =>
        section is ".fixup" or ".text..refcount" ? $"it has code in {section}"
        : tables.FirstOrDefault(table => table is not (null or BugTable)) is { } table ? $"it has the address of an entry of {table}"
        : null;

    private static string? Problem(string section, int size, IEnumerable<ulong> relocations) =>
        Layouts.Contains(section) && !Layouts[section].Any(layout => layout.Size == size && relocations.SequenceEqual(layout.Relocations))
            ? $"an entry of {section} has {size} bytes with relocations at {string.Join(", ", relocations)}"
            : null;
}
