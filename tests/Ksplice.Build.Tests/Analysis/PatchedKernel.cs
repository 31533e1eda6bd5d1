// SPDX-License-Identifier: MIT
// Units of the stock kernel before and after a change of its source, as a build makes them, and two versions of a small C file.
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Tests.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Analysis;

internal static class PatchedKernel
{
    /// <summary>Changes texts of the kernel's source (each must be there) and compiles <paramref name="units"/> before and after.</summary>
    public static async Task<AnalyzedUpdate> ChangeAsync(string[] units, params (string File, string Old, string New)[] changes)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        using TestTree tree = new();
        string diff = "";
        foreach (var file in changes.GroupBy(change => change.File))
        {
            string text = File.ReadAllText(Path.Combine(kernel.SourceDirectory, file.Key), System.Text.Encoding.Latin1);
            tree.Write("a/" + file.Key, text);
            foreach (var (_, old, now) in file)
            {
                int at = text.IndexOf(old, StringComparison.Ordinal);
                Assert.True(at >= 0, $"{file.Key} does not hold '{old}'");
                text = text[..at] + now + text[(at + old.Length)..];
            }
            tree.Write("b/" + file.Key, text);
            diff += tree.Run("diff", "-u", "a/" + file.Key, "b/" + file.Key).Output;
        }
        DiagnosticBag bag = [];
        var patch = Patches.Parse(diff);
        var post = PostTree.Write(
            kernel.SourceDirectory,
            tree["post"],
            [patch],
            bag,
            cancellationToken: TestContext.Current.CancellationToken
        );
        Assert.True(post is not null, string.Join('\n', bag));
        UnitCompiler compiler = new(kernel, NullLogger.Instance);
        var analyzed = await Task.WhenAll(
            units.Select(async source =>
            {
                var unit = kernel.Units.Find(source)!;
                var compiled = await compiler.CompileAsync(
                    unit,
                    post.Root,
                    tree[unit.Object],
                    ["-I" + Repository.At("src", "Ksplice.Kernel", "include")],
                    bag,
                    TestContext.Current.CancellationToken
                );
                Assert.True(compiled is not null, string.Join('\n', bag));
                return new AnalyzedUnit(
                    source,
                    unit.Module,
                    await KernelObjects.CompileAsync(source),
                    ElfObject.Read(File.ReadAllBytes(compiled.Object), source)
                );
            })
        );
        return new AnalyzedUpdate(
            [patch],
            analyzed,
            new RunningKernel(
                KernelUnderTest.Image,
                KernelExports.Read(kernel.Release.ModuleSymvers, [])!.ModuleOf,
                KernelConfiguration.Read(kernel.Release.Config)
            ),
            kernel.SourceDirectory
        );
    }

    /// <summary>Two versions of a C file; without a kernel.</summary>
    public static AnalyzedUpdate OfC(string pre, string post) =>
        new([], [new AnalyzedUnit(CPair.Unit, null, CPair.Compile(pre, "-g", "-gbtf"), CPair.Compile(post, "-g", "-gbtf"))]);

    /// <summary>What the project's analyzers find, by paths of the source tree.</summary>
    public static IReadOnlyList<Diagnostic> Analyze(this AnalyzedUpdate update) =>
        [
            .. AnalyzerDriver
                .Run(AnalyzerDriver.BuiltIn, update, TestContext.Current.CancellationToken)
                .Select(found => found with { Location = found.Location is { } place ? Unmarked(place) : null }),
        ];

    private static SourceLocation Unmarked(SourceLocation place) => place with { Path = LineDirectives.PathOf(place.Path) };

    /// <summary>The one report of a rule.</summary>
    public static Diagnostic Of(this IReadOnlyList<Diagnostic> found, string id)
    {
        var these = found.Where(diagnostic => diagnostic.Id == id).ToList();
        Assert.True(these.Count == 1, $"{these.Count} of {id}:\n{string.Join('\n', found)}");
        return these[0];
    }
}
