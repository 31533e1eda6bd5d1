// SPDX-License-Identifier: MIT
// Objects of another version of the kernel against this one's image: where the code differs, nothing may match.
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;

namespace Ksplice.Matching;

/// <summary>
/// What differs is told apart from matching: the bytes of two objects' functions of one name, without relocated fields, and the
/// names of what these refer to outside of the object.
/// </summary>
internal sealed class OtherVersion(UnitRun mine, UnitRun other, IMatchMemory memory)
{
    public int Units { get; private set; }
    public int Differing { get; private set; }
    public int DifferingMatched { get; private set; }
    public int Same { get; private set; }
    public int SameMatched { get; private set; }

    /// <summary>Why those that are the same do not match, and how many of them.</summary>
    public Dictionary<string, int> Why { get; } = [];

    /// <summary>Functions that only the other version has, and how many of them match.</summary>
    public (int Count, int Matched) Gone { get; private set; }

    /// <summary>Compiles a unit of both versions, and matches the other's.</summary>
    public async Task AddAsync(CompilationUnit unit, CompilationUnit otherUnit, CancellationToken cancellation)
    {
        if (
            await mine.CompileAsync(unit, [], cancellation) is not { } pre
            || await other.CompileAsync(otherUnit, [], cancellation) is not { } old
        )
            return;
        Units++;
        var (now, before) = (Functions(pre), Functions(old));
        foreach (var function in ObjectMatch.Run(old, unit.Source, memory).Where(function => before[function.Name].Count() == 1))
        {
            bool matched = function.Result is { IsMatch: true };
            if (now[function.Name].Count() != 1)
            {
                Gone = (Gone.Count + 1, Gone.Matched + (matched ? 1 : 0));
                if (matched)
                    Console.WriteLine($"matched, though this version's {unit.Source} has no {function.Name}");
                continue;
            }
            bool same = Code(now[function.Name].Single()).SequenceEqual(Code(before[function.Name].Single()));
            (Same, SameMatched) = same ? (Same + 1, SameMatched + (matched ? 1 : 0)) : (Same, SameMatched);
            (Differing, DifferingMatched) = same ? (Differing, DifferingMatched) : (Differing + 1, DifferingMatched + (matched ? 1 : 0));
            if (same && !matched)
                Why[Reason(function.Result?.Failure)] = Why.GetValueOrDefault(Reason(function.Result?.Failure)) + 1;
            if (!same && matched)
                Console.WriteLine($"matched, though it differs: {function.Name} ({unit.Source})");
        }
    }

    private string Reason(MatchFailure? failure) =>
        failure is null ? "no program"
        : failure.Reason == MatchReason.Different && memory.Tables.Bugs.ContainsKey(failure.Address) ? "another entry of the bug table"
        : failure.Reason.ToString();

    private static ILookup<string, ObjectNode> Functions(ElfObject elf) =>
        ObjectGraph
            .Of(elf)
            .Nodes.Where(node => node is { Kind: NodeKind.Function, Role: SectionRole.Code, IsAnonymous: false })
            .ToLookup(node => node.Name);

    private static IEnumerable<string> Code(ObjectNode node) =>
        [Convert.ToHexString(node.MaskedBytes()), .. node.References.Select(reference => $"{reference.Offset} {reference.External}")];
}
