// SPDX-License-Identifier: MIT
// Which functions that stay as they are use a member that changes? The compiler has the first part of the answer: where a
// use is in another place, the code differs and the function is replaced. For the rest, the line table says from which
// lines a function's code comes, those of functions inlined into it included, and the text of those lines whether the
// member's name stands there behind a point or an arrow. Two types may have members of one name, so this finds too much
// rather than too little; it is shown to a person and decides nothing.
using System.Collections.Concurrent;
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Analysis;

/// <summary>A function that uses a member.</summary>
/// <param name="Function">Its name.</param>
/// <param name="Location">Where.</param>
public sealed record MemberUse(string Function, SourceLocation Location);

/// <summary>Finds uses of members in source.</summary>
/// <param name="sourceRoot">The unpatched source tree.</param>
public sealed class MemberUses(string sourceRoot)
{
    private readonly ConcurrentDictionary<string, string[]?> _files = new(StringComparer.Ordinal);

    /// <summary>Uses of <paramref name="member"/> in functions of <paramref name="update"/>'s units that are not replaced.</summary>
    public IReadOnlyList<MemberUse> Outside(AnalyzedUpdate update, IEnumerable<AnalyzedUnit> units, string member)
    {
        Regex use = new($@"(?:->|\.)\s*(?<m>{Regex.Escape(member)})\b");
        List<MemberUse> found = [];
        foreach (var unit in units)
        {
            foreach (var function in unit.Changes.PreFunctions.Where(function => !update.Replaces(function.Name)))
            {
                foreach (var line in unit.PreSource.Lines(function))
                {
                    if (Text(line) is { } text && use.Match(text) is { Success: true } match)
                        found.Add(new(function.Name, line with { Column = match.Groups["m"].Index + 1 }));
                }
            }
        }
        return
        [
            .. found
                .OrderBy(candidate => candidate.Location.Path, StringComparer.Ordinal)
                .ThenBy(candidate => candidate.Location.Line)
                .ThenBy(candidate => candidate.Function, StringComparer.Ordinal),
        ];
    }

    private string? Text(SourceLocation location)
    {
        var lines = _files.GetOrAdd(location.Path, Read);
        return lines is not null && location.Line > 0 && location.Line <= lines.Length ? lines[location.Line - 1] : null;
    }

    private string[]? Read(string path)
    {
        string full = Path.Combine(sourceRoot, path);
        return File.Exists(full) ? File.ReadAllLines(full, System.Text.Encoding.Latin1) : null;
    }
}
