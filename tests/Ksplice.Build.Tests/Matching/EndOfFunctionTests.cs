// SPDX-License-Identifier: MIT
// K13: which functions end in a call, as objdump sees it.
using System.Text.RegularExpressions;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Elf;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public sealed partial class EndOfFunctionTests
{
    [GeneratedRegex(@"^[0-9a-f]+ <([^>]+)>:\n((?:.+\n)+)", RegexOptions.Multiline)]
    private static partial Regex Listed { get; }

    [Fact]
    public async Task The_end_of_a_function_may_be_a_return_address_only_if_its_last_instruction_is_a_call()
    {
        const string Unit = "kernel/exit.c";
        var cancellation = TestContext.Current.CancellationToken;
        var pre = await KernelObjects.CompileAsync(Unit);
        string path = Path.GetTempFileName();
        try
        {
            await File.WriteAllBytesAsync(path, ElfWriter.Write(pre), cancellation);
            var listing = await Cli.Wrap("objdump").WithArguments(["-d", "--no-show-raw-insn", path]).ExecuteBufferedAsync(cancellation);
            var calls = Listed
                .Matches(listing.StandardOutput)
                .ToLookup(
                    match => match.Groups[1].Value,
                    match => Regex.IsMatch(match.Groups[2].Value.TrimEnd().Split('\n')[^1], @"^\s*[0-9a-f]+:\s+(notrack\s+)?call\b")
                );
            Dictionary<bool, int> counts = new() { [false] = 0, [true] = 0 };
            foreach (var function in UnitMatch.Functions(pre).Where(function => calls[function.Name].Count() == 1))
            {
                var result = CheckedMatchData.CheckData(UnitMatch.Build(pre, Unit, function, [], [])!.Bytes)!.Objects[0];
                bool ends = (result.Flags & ObjectFlags.EndsInCall) != 0;
                Assert.True(calls[function.Name].Single() == ends, $"{function.Name}: {ends}");
                counts[ends]++;
            }
            Assert.True(counts[false] > 20 && counts[true] > 3, string.Join(' ', counts));
        }
        finally
        {
            File.Delete(path);
        }
    }
}
