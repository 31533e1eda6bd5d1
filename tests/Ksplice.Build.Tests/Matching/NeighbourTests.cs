// SPDX-License-Identifier: MIT
// Functions of one name with one code: which is the file's is told by what stands beside it. The witness is another way to
// the same answer: code of the file that calls the function, and whose name the kernel has once.
using Ksplice.Build.Differencing;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public class NeighbourTests
{
    private static readonly ImageMemory Memory = new(KernelUnderTest.Image);

    [Theory]
    [InlineData("fs/ext4/readpage.c")]
    [InlineData("arch/x86/kernel/tsc_sync.c")]
    [InlineData("arch/x86/kernel/cpu/centaur.c")]
    [InlineData("kernel/sched/build_policy.c")]
    public async Task The_copy_beside_the_files_own_functions_is_the_one_that_the_files_code_calls(string unit)
    {
        var pre = await KernelObjects.CompileAsync(unit);
        var graph = ObjectGraph.Of(pre);
        int compared = 0;
        foreach (
            var function in graph.Nodes.Where(node =>
                node is { Kind: NodeKind.Function, Role: SectionRole.Code } && Memory.Candidates(node.Name).Count > 1
            )
        )
        {
            var caller = function
                .Referrers.Select(reference => reference.Holder.Root)
                .FirstOrDefault(holder =>
                    holder is { Kind: NodeKind.Function, Role: SectionRole.Code } && Memory.Candidates(holder.Name).Count == 1
                );
            if (caller is null)
                continue;
            var own = MatchInterpreter.Match(MatchDataBuilder.Build(graph, unit, function, redirect: false, [], [])!.Bytes, Memory);
            LocalSymbol symbol = new(unit, function.Name, function.Section.Index, function.Start);
            var called = MatchInterpreter.Match(MatchDataBuilder.Build(graph, unit, caller, redirect: false, [symbol], [])!.Bytes, Memory);
            Assert.True(own.IsMatch, own.Failure?.ToString());
            Assert.True(called.IsMatch, called.Failure?.ToString());
            Assert.Equal(Assert.Single(called.Exports), own.Ranges[0].Start);
            compared++;
        }
        Assert.NotEqual(0, compared);
    }

    [Fact]
    public async Task No_equal_copy_stands_in_for_the_files_own_function_when_that_was_changed()
    {
        const string Unit = "kernel/printk/printk.c";
        var pre = await KernelObjects.CompileAsync(Unit);
        var data = UnitMatch.Build(pre, Unit, UnitMatch.Functions(pre).Single(function => function.Name == "cpu_online"), [], [])!;
        var place = MatchInterpreter.Match(data.Bytes, Memory).Functions[0];
        ChangedMemory changed = new(Memory);
        changed.Write(place.Start + 5, [0xcc]);
        var failure = MatchInterpreter.Match(data.Bytes, changed).Failure;
        Assert.NotNull(failure);
        Assert.Equal(MatchReason.Different, failure.Reason);
        Assert.Equal(place.Start + 5, failure.Address);
        // The others are as they were.
        Assert.Contains(Memory.Candidates("cpu_online"), address => address != place.Start);
    }

    [Fact]
    public async Task A_weak_function_that_another_file_overrides_is_not_matched_even_if_the_bytes_are_equal()
    {
        // The strong arch_cpu_idle_enter is laid over with the weak one's code.
        const string Unit = "kernel/sched/build_policy.c";
        var pre = await KernelObjects.CompileAsync(Unit);
        var function = UnitMatch.Functions(pre).Single(function => function.Name == "arch_cpu_idle_enter");
        var data = UnitMatch.Build(pre, Unit, function, [], [])!;
        ulong strong = Assert.Single(Memory.Candidates(function.Name));
        byte[] weak = [0x0f, 0x1f, 0x44, 0x00, 0x00, 0xc3, 0xcc, 0xcc, 0xcc, 0xcc];
        Assert.Equal(weak.Length, (int)function.Size);
        ChangedMemory changed = new(Memory);
        changed.Write(strong, weak);
        Assert.Equal(MatchReason.NotInSequence, MatchInterpreter.Match(data.Bytes, changed).Failure!.Reason);
    }
}
