// SPDX-License-Identifier: MIT
// When the vendor ships a kernel with the fix, the update's new code is looked for there. A function that is found was compiled by
// somebody else, from the vendor's own source, to the same code: there is no stronger proof of an update. It is run-pre matching with the
// post object in the place of the pre object. That object is compiled without the line directives of the post tree, since the vendor's
// lines have the numbers of the patched file.
using System.Globalization;
using System.Text;
using Ksplice.Build.Analysis;
using Ksplice.Build.Elf;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;

namespace Ksplice.Build.Updates;

/// <summary>What became of a function of an update in the kernel with the fix.</summary>
public enum FutureVerdict
{
    /// <summary>The kernel has the same code; where several of its functions have the name, at least one is the same.</summary>
    Equal,

    /// <summary>The kernel has a function of the name, with other code.</summary>
    Different,

    /// <summary>The kernel has no function of the name: it was inlined, renamed or removed there.</summary>
    Missing,

    /// <summary>Nothing can be said: the object without line directives has no such function, or it cannot be matched.</summary>
    Unknown,
}

/// <summary>A function that an update replaces or brings, and the kernel with the fix.</summary>
/// <param name="Name">The function.</param>
/// <param name="Verdict">What became of it.</param>
/// <param name="Reason">The first difference, or why there is no verdict; null if it is equal.</param>
public sealed record FutureFunction(string Name, FutureVerdict Verdict, string? Reason);

/// <summary>A unit of an update, and the kernel with the fix.</summary>
/// <param name="Unit">Its source path.</param>
/// <param name="Functions">The functions that the update replaces or brings, in the order of the update's description.</param>
/// <param name="OtherTypes">Types of the unit that the kernel has otherwise, each with a difference: a possible cause.</param>
public sealed record FutureUnit(string Unit, IReadOnlyList<FutureFunction> Functions, IReadOnlyList<string> OtherTypes)
{
    /// <summary>
    /// Looks for the new code of <paramref name="unit"/> in <paramref name="memory"/>.
    /// </summary>
    /// <param name="unit">What the update changes.</param>
    /// <param name="post">The object of the patched source, with objtool's tables, compiled without line directives.</param>
    /// <param name="memory">The kernel with the fix, or a module of it beside its kernel.</param>
    /// <param name="types">That kernel's types; null if it has none.</param>
    /// <exception cref="ElfFormatException">The object is malformed.</exception>
    public static FutureUnit Match(UnitDescription unit, ElfObject post, IMatchMemory memory, BtfTypes? types)
    {
        ArgumentNullException.ThrowIfNull(unit);
        ArgumentNullException.ThrowIfNull(post);
        string[] names = [.. unit.Replaced.Select(function => function.Name), .. unit.New];
        var found = ObjectMatch
            .Run(post, unit.Unit, memory, names.ToHashSet(StringComparer.Ordinal))
            .ToLookup(match => match.Name, StringComparer.Ordinal);
        var postTypes = types is null ? null : BtfReader.Read(post);
        return new(
            unit.Unit,
            [.. names.Select(name => Judge(name, found[name].FirstOrDefault()))],
            postTypes is null ? [] : [.. ImageTypes.Differences(postTypes, types!).Select(type => $"{type.Name}: {type.Difference}")]
        );
    }

    private static FutureFunction Judge(string name, FunctionMatch? match) =>
        match switch
        {
            null => new(name, FutureVerdict.Unknown, "without line directives the compiler makes no function of this name"),
            { Result: null } => new(name, FutureVerdict.Unknown, string.Join("; ", match.Problems.Select(problem => problem.Message))),
            // Several equal copies: an update could not tell which to replace, but all of them are the code that it brings.
            { Result.IsMatch: true } or { Result.Failure.Reason: MatchReason.Ambiguous } => new(name, FutureVerdict.Equal, null),
            { Result.Failure: { Reason: MatchReason.NoCandidate } failure } when failure.Symbol == name => new(
                name,
                FutureVerdict.Missing,
                "it has no function of this name"
            ),
            { Result.Failure: var failure } => new(name, FutureVerdict.Different, Difference(failure!)),
        };

    private static string Difference(MatchFailure failure) =>
        failure.Address == 0
            ? failure.ToString()
            : string.Create(CultureInfo.InvariantCulture, $"its code differs from {failure.Object}+0x{failure.Offset:x} on")
                + (failure.Symbol is null || failure.Symbol == failure.Object ? "" : $", in a reference to {failure.Symbol}")
                + string.Create(CultureInfo.InvariantCulture, $" (0x{failure.Address:x} there)");

    /// <summary>The report for people.</summary>
    /// <param name="kernel">The kernel with the fix, in words.</param>
    /// <param name="units">What was found.</param>
    public static string Report(string kernel, IReadOnlyList<FutureUnit> units)
    {
        ArgumentNullException.ThrowIfNull(units);
        StringBuilder text = new();
        text.Append(kernel).Append('\n');
        foreach (var unit in units.Where(unit => unit.Functions.Count != 0))
        {
            text.Append('\n').Append(unit.Unit).Append('\n');
            foreach (var (name, verdict, reason) in unit.Functions)
                text.Append(
                    CultureInfo.InvariantCulture,
                    $"  {verdict.ToString().ToLowerInvariant(), -9} {name}{(reason is null ? "" : ": " + reason)}\n"
                );
            if (unit.Functions.Any(function => function.Verdict == FutureVerdict.Different) && unit.OtherTypes.Count != 0)
                text.Append(
                    CultureInfo.InvariantCulture,
                    $"  types that this kernel has otherwise: {string.Join("; ", unit.OtherTypes)}\n"
                );
        }
        var (equal, all) = Count(units);
        text.Append(CultureInfo.InvariantCulture, $"\n{equal} of {all} functions are there as the update brings them\n");
        return text.ToString();
    }

    /// <summary>How many functions are equal, of how many.</summary>
    public static (int Equal, int All) Count(IReadOnlyList<FutureUnit> units) =>
        (
            units.Sum(unit => unit.Functions.Count(function => function.Verdict == FutureVerdict.Equal)),
            units.Sum(unit => unit.Functions.Count)
        );
}
