// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Matching;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Match data of single functions of real objects, as if each were replaced.</summary>
internal static class UnitMatch
{
    /// <summary>The functions that a running kernel still has.</summary>
    public static IEnumerable<ObjectNode> Functions(ElfObject pre) =>
        ObjectGraph.Of(pre).Nodes.Where(node => node is { Kind: NodeKind.Function, Role: SectionRole.Code, IsAnonymous: false });

    public static MatchData? Build(
        ElfObject pre,
        string unit,
        ObjectNode function,
        IReadOnlyList<RunSymbol> exports,
        DiagnosticBag diagnostics
    ) => MatchDataBuilder.Build([Diff(pre, unit, [function]) with { Needed = exports }], exports, diagnostics);

    /// <summary>The same difference, with new code that calls <paramref name="symbol"/> or takes its address.</summary>
    public static ObjectDiff Using(ObjectDiff diff, RunSymbol symbol, bool isBranch) =>
        diff with
        {
            Needed = [symbol],
            Carried =
            [
                new CarriedPiece(
                    CarriedKind.Function,
                    "user",
                    false,
                    default,
                    ".text",
                    ElfSectionType.ProgBits,
                    ElfSectionFlags.Alloc,
                    16,
                    default,
                    [new CarriedReference(1, ElfRelocationType.Plt32, -1, symbol, -4, isBranch) { TakesAddress = !isBranch }]
                ),
            ],
        };

    /// <summary>A difference that replaces <paramref name="functions"/>.</summary>
    public static ObjectDiff Diff(ElfObject pre, string unit, IEnumerable<ObjectNode> functions)
    {
        var replaced = functions.Select(function =>
        {
            ObjectRange[] ranges =
            [
                function.Range,
                .. function.Parts.Where(part => part.Kind == NodeKind.ColdPart).Select(part => part.Range),
            ];
            return new ReplacedFunction(
                function.Name,
                function.IsGlobal,
                ranges,
                ranges,
                0,
                new FunctionChange(FunctionDifference.Text, 0, function.Name, "for the test")
            );
        });
        return new ObjectDiff
        {
            Unit = unit,
            Pre = pre,
            Post = pre,
            Replaced = [.. replaced],
            NewFunctions = [],
            RemovedFunctions = [],
            Carried = [],
            Needed = [],
            StaticKeys = [],
            Pins = [],
        };
    }
}
