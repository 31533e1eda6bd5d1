// SPDX-License-Identifier: MIT
// Every function of shipped modules, compiled from the source and found in the module's file as it would stand in memory.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public sealed class ModuleMatchTests(ITestOutputHelper output)
{
    /// <summary>One unit, ten units, exports of other modules; tests/long/match-modules names more.</summary>
    public static TheoryData<string> Names =>
        [
            .. Environment.GetEnvironmentVariable("KSPLICE_MATCH_MODULES") is { Length: > 0 } names
                ? names.Split(' ')
                : ["virtio_net", "fuse", "nfnetlink_queue"],
        ];

    [Theory]
    [MemberData(nameof(Names))]
    public async Task Matches_the_functions_of_a_module_at_their_symbols_in_its_file(string name)
    {
        var module = await ModulesUnderTest.LoadAsync(name);
        ModuleMemory memory = new(module, new ImageMemory(KernelUnderTest.Image));
        var kernel = await KernelUnderTest.PreparedAsync();
        List<string> problems = [];
        int matched = 0,
            ambiguous = 0,
            noRoom = 0,
            total = 0;
        foreach (var unit in kernel.Units.Units.Where(unit => unit.Module == name && !unit.IsAssembly))
        {
            var pre = await KernelObjects.CompileAsync(unit.Source);
            foreach (var function in UnitMatch.Functions(pre))
            {
                total++;
                DiagnosticBag refused = [];
                var data = UnitMatch.Build(pre, unit.Source, function, [], refused);
                var result = data is null ? null : MatchInterpreter.Match(data.Bytes, memory);
                if (result is { IsMatch: true })
                {
                    matched++;
                    Assert.All(result.Ranges, range => Assert.True(module.IsText(range.Start, range.End), range.Name));
                    Assert.Contains(result.Functions[0].Start, module.Find(function.Name));
                }
                else if (result?.Failure?.Reason == MatchReason.Ambiguous)
                    ambiguous++;
                else if (result?.Failure?.Reason == MatchReason.NoRoom)
                    noRoom++;
                else
                    problems.Add(result?.Failure?.ToString() ?? string.Join(' ', refused));
            }
        }
        output.WriteLine(
            $"{name}: {total} functions, {matched} matched, {ambiguous} ambiguous, {noRoom} without room for a redirect, "
                + $"{problems.Count} not matched"
        );
        Assert.True(problems.Count == 0, string.Join('\n', problems));
        Assert.True(matched >= total * 0.9, $"{matched} of {total}");
    }
}
