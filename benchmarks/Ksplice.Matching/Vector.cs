// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;

namespace Ksplice.Matching;

/// <summary>Match data of single functions, each asked for all that it refers to in its own unit.</summary>
internal sealed record Vector(string Unit, string Function, byte[] Data)
{
    /// <summary>Those of the functions of <paramref name="units"/>.</summary>
    public static async Task<List<Vector>> OfAsync(UnitRun run, IReadOnlyList<CompilationUnit> units, CancellationToken cancellation)
    {
        List<Vector> vectors = [];
        foreach (var unit in units)
        {
            if (await run.CompileAsync(unit, [], cancellation) is { } pre)
                vectors.AddRange(Of(pre, unit.Source));
        }
        return vectors;
    }

    private static IEnumerable<Vector> Of(ElfObject pre, string unit)
    {
        var graph = ObjectGraph.Of(pre);
        foreach (var function in graph.Nodes.Where(node => node is { Kind: NodeKind.Function, Role: SectionRole.Code, IsAnonymous: false }))
        {
            RunSymbol[] exports =
            [
                .. function
                    .References.Select(reference => reference.Target)
                    .OfType<ObjectNode>()
                    .Distinct()
                    .Where(node =>
                        node
                            is {
                                Kind: NodeKind.Function or NodeKind.Data,
                                IsAnonymous: false,
                                IsGlobal: false,
                                Role: SectionRole.Code or SectionRole.Data
                            }
                    )
                    .Select(node => new LocalSymbol(unit, node.Name, node.Section.Index, node.Start)),
            ];
            // What only a rewritten site leads to cannot be asked for.
            if (
                (
                    MatchDataBuilder.Build(graph, unit, function, redirect: true, exports, [])
                    ?? MatchDataBuilder.Build(graph, unit, function, redirect: true, [], [])
                ) is
                { } data
            )
                yield return new Vector(unit, function.Name, data.Bytes);
        }
    }

    /// <summary>Random changes to what the vectors match, as many of each kind.</summary>
    public static List<(int Vector, Mutation? Change)> MutationsOf(IReadOnlyList<Vector> vectors, IMatchMemory memory, int count, int seed)
    {
        Random random = new(seed);
        var matched = vectors
            .Select((vector, index) => (index, Places: MatchInterpreter.Locate(vector.Data, memory)))
            .Where(vector => vector.Places.Count != 0)
            .ToList();
        List<(int, Mutation?)> changes = [];
        foreach (string kind in Mutation.Kinds)
        {
            for (int made = 0; made < count / Mutation.Kinds.Length; )
            {
                var (index, places) = matched[random.Next(matched.Count)];
                if (Mutation.TryMake(kind, places, memory, random) is not { } mutation)
                    continue;
                changes.Add((index, mutation));
                made++;
            }
        }
        return changes;
    }
}
