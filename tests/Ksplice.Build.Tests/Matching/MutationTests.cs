// SPDX-License-Identifier: MIT
// A small run of benchmarks/Ksplice.Matching's mutations: changed code and constants are refused, every one.
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Matching;

namespace Ksplice.Build.Tests.Matching;

public class MutationTests
{
    [Fact]
    public async Task No_changed_function_is_accepted()
    {
        const string Unit = "kernel/sys.c";
        ImageMemory memory = new(KernelUnderTest.Image);
        var functions = ObjectMatch
            .Run(await KernelObjects.CompileAsync(Unit), Unit, memory)
            .Where(function => function.Result is { IsMatch: true })
            .Select(function => (function.Name, function.Data!.Bytes, Places: MatchInterpreter.Locate(function.Data.Bytes, memory)))
            .ToList();
        Random random = new(1);
        ChangedMemory changed = new(memory);
        foreach (string kind in Mutation.Kinds)
        {
            for (int tried = 0; tried < 100; )
            {
                var (name, data, places) = functions[random.Next(functions.Count)];
                if (Mutation.TryMake(kind, places, memory, random) is not { } mutation)
                    continue;
                tried++;
                changed.Write(mutation.Address, mutation.Bytes);
                Assert.False(
                    MatchInterpreter.Match(data, changed).IsMatch,
                    $"{kind} in {name} at {mutation.Address:x}: {Convert.ToHexString(mutation.Bytes)}"
                );
                changed.Restore();
            }
        }
    }
}
