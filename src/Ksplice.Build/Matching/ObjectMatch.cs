// SPDX-License-Identifier: MIT
// A whole object against a kernel: each of its functions is matched as if an update replaced it, and nothing else.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Matching.Interpreter;

namespace Ksplice.Build.Matching;

/// <summary>One function of an object, matched alone.</summary>
/// <param name="Name">The function's symbol.</param>
/// <param name="IsWeak">True if another unit may define it instead.</param>
/// <param name="Data">What was looked for; null if no match data could be made.</param>
/// <param name="Result">What was found; null if no match data could be made.</param>
/// <param name="HasRoom">False if it stands there, but no redirect could be written.</param>
/// <param name="Problems">Why there is no match data.</param>
public sealed record FunctionMatch(string Name, bool IsWeak, MatchData? Data, MatchResult? Result, bool HasRoom, DiagnosticBag Problems);

/// <summary>Matches the functions of an object.</summary>
public static class ObjectMatch
{
    /// <summary>Matches every function of <paramref name="pre"/> that a running kernel still has.</summary>
    /// <param name="pre">The object.</param>
    /// <param name="unit">Its source, for messages.</param>
    /// <param name="memory">The kernel.</param>
    /// <param name="wanted">The names of the functions to match; null for all.</param>
    /// <exception cref="ElfFormatException">The object is malformed.</exception>
    public static IEnumerable<FunctionMatch> Run(ElfObject pre, string unit, IMatchMemory memory, IReadOnlySet<string>? wanted = null)
    {
        ArgumentNullException.ThrowIfNull(pre);
        ArgumentNullException.ThrowIfNull(memory);
        var graph = ObjectGraph.Of(pre);
        foreach (var function in graph.Nodes.Where(node => node is { Kind: NodeKind.Function, Role: SectionRole.Code, IsAnonymous: false }))
        {
            if (wanted?.Contains(function.Name) == false)
                continue;
            DiagnosticBag problems = [];
            var data = MatchDataBuilder.Build(graph, unit, function, redirect: true, [], problems);
            var result = data is null ? null : MatchInterpreter.Match(data.Bytes, memory);
            bool room = result?.Failure?.Reason != MatchReason.NoRoom;
            if (!room)
            {
                data = MatchDataBuilder.Build(graph, unit, function, redirect: false, [], problems)!;
                result = MatchInterpreter.Match(data.Bytes, memory);
            }
            yield return new FunctionMatch(
                function.Name,
                function.Symbols[0].Binding == ElfSymbolBinding.Weak,
                data,
                result,
                room,
                problems
            );
        }
    }
}
