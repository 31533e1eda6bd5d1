// SPDX-License-Identifier: MIT
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Matching;

namespace Ksplice.Matching;

/// <summary>Changes matched functions at random, and counts what is still accepted.</summary>
internal sealed class MutationRun(UnitRun units, IMatchMemory memory, int seed)
{
    /// <summary>
    /// Tries <paramref name="count"/> changes, as many of each kind; the functions are those of <paramref name="chosen"/>.
    /// </summary>
    public async Task<string> RunAsync(IReadOnlyList<CompilationUnit> chosen, int count, CancellationToken cancellation)
    {
        List<(string Unit, FunctionMatch Function, IReadOnlyList<ComparedRange> Places)> functions = [];
        foreach (var unit in chosen)
        {
            if (await units.CompileAsync(unit, [], cancellation) is not { } pre)
                continue;
            foreach (var function in ObjectMatch.Run(pre, unit.Source, memory).Where(function => function.Result is { IsMatch: true }))
                functions.Add((unit.Source, function, MatchInterpreter.Locate(function.Data!.Bytes, memory)));
        }
        Random random = new(seed);
        ChangedMemory changed = new(memory);
        StringBuilder csv = new("kind,tried,accepted\n");
        string[] kinds = [.. Mutation.Kinds, .. Mutation.TableKinds];
        foreach (string kind in kinds)
        {
            int tried = 0,
                accepted = 0;
            while (tried < count / kinds.Length)
            {
                cancellation.ThrowIfCancellationRequested();
                var (unit, function, places) = functions[random.Next(functions.Count)];
                if (Change(kind, places, random, changed) is not { } change)
                    continue;
                tried++;
                if (MatchInterpreter.Match(function.Data!.Bytes, changed).IsMatch)
                {
                    accepted++;
                    Console.WriteLine($"accepted: {kind} in {function.Name} ({unit}) at {change}");
                }
                changed.Restore();
            }
            csv.Append(null, $"{kind},{tried},{accepted}\n");
        }
        return csv.ToString();
    }

    // What was changed, or null if there is nothing of the kind in these places.
    private string? Change(string kind, IReadOnlyList<ComparedRange> places, Random random, ChangedMemory changed)
    {
        if (Mutation.TableKinds.Contains(kind))
        {
            if (Mutation.TryMakeEntry(kind, places, memory, random) is not var (code, make))
                return null;
            make(changed);
            return $"{code:x}";
        }
        if (Mutation.TryMake(kind, places, memory, random) is not { } mutation)
            return null;
        changed.Write(mutation.Address, mutation.Bytes);
        return $"{mutation.Address:x}: {Convert.ToHexString(mutation.Bytes)}";
    }
}
