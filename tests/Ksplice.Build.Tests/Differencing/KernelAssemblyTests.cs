// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Tests.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>The kernel's own assembly, patched and compiled as an update's is.</summary>
public sealed partial class KernelAssemblyTests(ITestOutputHelper output)
{
    private static readonly string[] Refusals = ["KSP3007", "KSP3008", "KSP3013", "KSP3040", "KSP3041"];

    [GeneratedRegex(@"^SYM_(?:TYPED_)?FUNC_START\w*\((\w+)\)\n(.*?)^SYM_FUNC_END", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Functions();

    [Theory]
    [InlineData(false, 40)]
    [InlineData(true, 30)]
    public async Task A_change_of_one_function_replaces_that_function(bool ofModules, int expected)
    {
        HashSet<string> replaced = [],
            empty = [];
        Dictionary<string, string> refused = [];
        foreach (string unit in await KernelObjects.AssemblyAsync(ofModules))
        {
            var pre = await KernelObjects.CompileAsync(unit);
            string text = await SourceAsync(unit);
            var functions = Functions()
                .Matches(text)
                .Where(function => pre.Symbols.Any(symbol => symbol.Name == function.Groups[1].Value))
                .ToList();
            // Of the modules one of each unit: all of them take a minute.
            foreach (var function in ofModules ? functions.Take(1) : functions)
            {
                string name = function.Groups[1].Value;
                DiagnosticBag diagnostics = [];
                var diff = Differ.Compare(
                    unit,
                    pre,
                    await CompileAsync(unit, text.Insert(function.Groups[2].Index, "\tnop\n")),
                    diagnostics
                );
                if (diff is null)
                {
                    Assert.All(diagnostics, diagnostic => Assert.Contains(diagnostic.Id, Refusals));
                    refused[name] = diagnostics.First().Message;
                    continue;
                }
                // It may have several names, and one function may hold the size of another.
                var place = pre.Symbols.First(symbol => symbol.Name == name);
                Assert.All(diff.Replaced, other =>
                    Assert.True(
                        (other.Pre[0].Section == place.SectionIndex && other.Pre[0].Offset == place.Value)
                            || functions.Any(there =>
                                there.Groups[1].Value == other.Name && there.Groups[2].Value.Contains(name, StringComparison.Ordinal)
                            ),
                        $"{unit}: {other.Name} is replaced for a change of {name}: {other.Why.Detail}"
                    )
                );
                (diff.IsEmpty ? empty : replaced).Add(name);
            }
        }
        foreach (var (name, why) in refused)
            output.WriteLine($"{name}: {why}");
        output.WriteLine($"{replaced.Count} replaced, {refused.Count} refused");
        // A source may have a function twice, one for another configuration.
        Assert.Subset(replaced, empty);
        Assert.True(replaced.Count >= expected, $"only {string.Join(' ', replaced)}");
        if (ofModules)
            return;
        Assert.Contains("'__put_user_nocheck_4' inside", refused["__put_user_4"], StringComparison.Ordinal);
        Assert.Contains(".noinstr.text", refused["native_save_fl"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Lines_that_move_change_nothing(bool ofModules)
    {
        List<string> changed = [];
        foreach (string unit in await KernelObjects.AssemblyAsync(ofModules))
        {
            string[] lines = (await SourceAsync(unit)).Split('\n');
            // A line at every tenth place where one may stand, in macros, too.
            string edited = string.Join(
                '\n',
                lines.SelectMany((line, i) => i % 10 == 9 && !lines[i - 1].EndsWith('\\') ? ["", line] : new[] { line })
            );
            DiagnosticBag diagnostics = [];
            var diff = Differ.Compare(unit, await KernelObjects.CompileAsync(unit), await CompileAsync(unit, edited), diagnostics);
            if (diff is not { IsEmpty: true })
                changed.Add(
                    $"{unit}: {string.Join(' ', diagnostics)} "
                        + $"{string.Join(' ', diff?.Replaced.Select(function => function.Why.Detail) ?? [])}"
                );
        }
        Assert.Empty(changed);
    }

    private static async Task<string> SourceAsync(string unit)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        return await File.ReadAllTextAsync(Path.Combine(kernel.SourceDirectory, unit), TestContext.Current.CancellationToken);
    }

    private static async Task<ElfObject> CompileAsync(string unit, string edited)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        using var tree = new TestTree();
        tree.Write("edited", edited);
        var (_, patch) = tree.Run(
            "diff",
            "-u",
            "--label",
            "a/" + unit,
            "--label",
            "b/" + unit,
            Path.Combine(kernel.SourceDirectory, unit),
            "edited"
        );
        DiagnosticBag diagnostics = [];
        var post = PostTree.Write(kernel.SourceDirectory, tree["post"], [Patches.Parse(patch)], diagnostics);
        Assert.True(post is not null, string.Join('\n', diagnostics));
        var compiled = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
            kernel.Units.Find(unit)!,
            tree["post"],
            tree["post.o"],
            [],
            diagnostics,
            TestContext.Current.CancellationToken
        );
        Assert.True(compiled is not null, unit + "\n" + string.Join('\n', diagnostics));
        return ElfObject.Read(File.ReadAllBytes(compiled.Object), unit);
    }
}
