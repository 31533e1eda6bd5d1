// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

/// <summary>Functions and other code of the kernel's own assembly, matched against the shipped image.</summary>
public sealed class AssemblyMatchTests(ITestOutputHelper output)
{
    [Fact]
    public async Task Every_function_of_the_kernels_assembly_matches_at_its_symbol_in_the_shipped_image()
    {
        var memory = new ImageMemory(KernelUnderTest.Image);
        int matched = 0,
            total = 0,
            withoutRoom = 0;
        List<string> problems = [];
        foreach (string unit in await KernelObjects.AssemblyAsync())
        {
            var pre = await KernelObjects.CompileAsync(unit);
            foreach (
                var function in ObjectGraph
                    .Of(pre)
                    .Nodes.Where(node =>
                        node is { Kind: NodeKind.Function or NodeKind.Fragment, Role: SectionRole.Code, IsAnonymous: false }
                    )
            )
            {
                total++;
                DiagnosticBag diagnostics = [];
                var data = UnitMatch.Build(pre, unit, function, [], diagnostics);
                var result = data is null ? null : MatchInterpreter.Match(data.Bytes, memory);
                if (result is { IsMatch: true })
                {
                    matched++;
                    Assert.Contains(result.Functions[0].Start, memory.Candidates(function.Name));
                    continue;
                }
                // No room for a jump, or bytes that are two instructions at once, as the return thunks' are.
                bool small = function.Size < 5 && result?.Failure?.Reason == MatchReason.NoRoom;
                bool twice =
                    unit == "arch/x86/lib/retpoline.S"
                    && diagnostics.Any(diagnostic =>
                        diagnostic.Message.Contains("into the middle of an instruction", StringComparison.Ordinal)
                    );
                withoutRoom += small ? 1 : 0;
                if (!small && !twice)
                    problems.Add($"{unit}: {function.Name}: {result?.Failure?.ToString() ?? string.Join(' ', diagnostics)}");
            }
        }
        output.WriteLine($"{matched} of {total} matched");
        Assert.Empty(problems);
        Assert.NotEqual(0, withoutRoom);
        Assert.True(matched >= total * 0.95, $"{matched} of {total}");
    }
}
