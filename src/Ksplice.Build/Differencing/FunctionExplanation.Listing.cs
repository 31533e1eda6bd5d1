// SPDX-License-Identifier: MIT
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>The instructions of a replaced function.</summary>
/// <param name="Explanation">Why it is replaced.</param>
/// <param name="Pre">The instructions before: the body, then its parts, a list each.</param>
/// <param name="Post">The instructions after.</param>
public sealed record FunctionListing(
    FunctionExplanation Explanation,
    IReadOnlyList<IReadOnlyList<InstructionText>> Pre,
    IReadOnlyList<IReadOnlyList<InstructionText>> Post
);

public sealed partial record FunctionExplanation
{
    /// <summary>The instructions of each function that <paramref name="diff"/> replaces, in its order.</summary>
    /// <exception cref="ElfFormatException">The debug data of an object is malformed.</exception>
    public static IReadOnlyList<FunctionListing> List(ObjectDiff diff)
    {
        var explanations = Of(diff);
        if (explanations.Count == 0)
            return [];
        var (before, after) = (new Side(diff.Pre), new Side(diff.Post));
        return
        [
            .. explanations.Select(explanation => new FunctionListing(
                explanation,
                [.. explanation.Function.Pre.Select(range => List(before, range))],
                [.. explanation.Function.Post.Select(range => List(after, range))]
            )),
        ];
    }

    private static List<InstructionText> List(Side side, ObjectRange range)
    {
        Code code = new(side, range);
        List<InstructionText> listing = [];
        while (code.Show(code.Next()) is { } instruction)
            listing.Add(instruction);
        return listing;
    }
}
