// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public class ImageMatchTests
{
    [Theory]
    [InlineData("fs/proc/task_mmu.c")]
    [InlineData("kernel/printk/printk.c")]
    [InlineData("fs/open.c")]
    [InlineData("kernel/sys.c")]
    [InlineData("mm/mmap.c")]
    [InlineData("mm/vmscan.c")] // lru_gen_look_around: plain code right behind an alternative
    [InlineData("net/core/sock.c")]
    [InlineData("arch/x86/kernel/process.c")]
    public async Task Matches_the_functions_of_a_unit_at_their_symbols_in_the_shipped_image(string unit)
    {
        var pre = await KernelObjects.CompileAsync(unit);
        var memory = new ImageMemory(KernelUnderTest.Image);
        List<string> problems = [];
        int matched = 0,
            total = 0;
        foreach (var function in UnitMatch.Functions(pre))
        {
            total++;
            DiagnosticBag diagnostics = new();
            var data = UnitMatch.Build(pre, unit, function, [], diagnostics);
            var result = data is null ? null : MatchInterpreter.Match(data.Bytes, memory);
            if (result is { IsMatch: true })
            {
                matched++;
                Assert.Contains(result.Functions[0].Start, memory.Candidates(function.Name));
                continue;
            }
            // Copies that nothing tells apart, a live site where the redirect would be, a weak function that another unit overrides.
            if (
                result?.Failure?.Reason is MatchReason.Ambiguous or MatchReason.NoRoom
                || function.Symbols[0].Binding == ElfSymbolBinding.Weak
            )
                continue;
            problems.Add(result?.Failure?.ToString() ?? string.Join(' ', diagnostics));
        }
        Assert.Empty(problems);
        Assert.True(matched >= total * 0.95, $"{matched} of {total}");
    }
}
