// SPDX-License-Identifier: MIT
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Analysis;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Analysis;

public class SymbolAnalyzerTests
{
    private const string Exports = """
        struct inner { int a; }; struct outer { struct inner *in; }; struct other { int b; };
        int takes(struct outer *o) { return probe(1); } int simple(struct other *o, int n) { return n; }
        static int own(struct inner *in) { return in->a; }
        void also(struct inner *in) { use(own); use(in); }
        section("___ksymtab_gpl+takes") static void *const e1 = takes; section("___ksymtab_gpl+simple") static void *const e2 = simple;

        """;

    [Fact]
    public void A_changed_type_names_the_exports_whose_type_leads_to_it()
    {
        var found = PatchedKernel
            .OfC(Exports, Exports.Replace("struct inner { int a; }", "struct inner { int a; int more; }", StringComparison.Ordinal))
            .Analyze();
        string message = found.Of("KSP5016").Message;
        Assert.StartsWith("struct inner is part of the type of takes, exported", message, StringComparison.Ordinal);
        Assert.DoesNotContain(
            PatchedKernel.OfC(Exports, Exports.Replace("probe(1)", "probe(2)", StringComparison.Ordinal)).Analyze(),
            diagnostic => diagnostic.Id == "KSP5016"
        );
    }

    // The kernel's own tool says whose checksum changes.
    [Fact]
    public async Task Exports_whose_checksum_changes_are_those_that_genksyms_tells()
    {
        const string file = "lib/klist.c",
            old = "struct klist_iter {",
            now = "struct klist_iter { long added;";
        var kernel = await KernelUnderTest.PreparedAsync();
        var unit = kernel.Units.Find(file)!;
        string[] arguments =
        [
            .. unit.Compiler.Where(argument =>
                argument is not ("-c" or "-o") && argument != unit.Object && !argument.StartsWith("-Wp,-M", StringComparison.Ordinal)
            ),
            "-E",
            "-D__GENKSYMS__",
        ];
        var cancellation = TestContext.Current.CancellationToken;
        string source = (
            await Cli.Wrap(kernel.Release.Compiler)
                .WithArguments(arguments)
                .WithWorkingDirectory(kernel.OutputDirectory)
                .ExecuteBufferedAsync(cancellation)
        ).StandardOutput;
        Assert.Contains(old, source, StringComparison.Ordinal);
        async Task<HashSet<string>> SumsAsync(string text) =>
            [
                .. (
                    await (
                        text
                        | Cli.Wrap(Path.Combine(kernel.OutputDirectory, "scripts/genksyms/genksyms")).WithArguments(["-r", "/dev/null"])
                    ).ExecuteBufferedAsync(cancellation)
                ).StandardOutput.Split('\n', StringSplitOptions.RemoveEmptyEntries),
            ];
        var (before, after) = (await SumsAsync(source), await SumsAsync(source.Replace(old, now, StringComparison.Ordinal)));
        Assert.InRange(before.Count, 10, 30);
        var expected = before
            .Except(after)
            .Select(line => line.Split(' ').First(word => word.StartsWith("klist_", StringComparison.Ordinal)))
            .Order(StringComparer.Ordinal)
            .ToList();
        Assert.InRange(expected.Count, 1, before.Count - 1);

        var pre = await KernelObjects.CompileAsync(file);
        AnalyzedUnit changed = new(file, null, pre, pre);
        Assert.Equal(
            expected,
            SymbolAnalyzer
                .Exports(changed)
                .Where(export => SymbolAnalyzer.Reaches(changed.PreTypes!, export, "struct klist_iter"))
                .Order(StringComparer.Ordinal)
        );
    }

    [Fact]
    public async Task The_kernel_may_not_need_a_loadable_module()
    {
        const string file = "fs/proc/version.c",
            start = "static int version_proc_show(struct seq_file *m, void *v)\n{\n";
        var kernel = await KernelUnderTest.PreparedAsync();
        var (name, module) = KernelExports
            .Read(kernel.Release.ModuleSymvers, [])!
            .ModuleOf.OrderBy(export => export.Key, StringComparer.Ordinal)
            .First();
        foreach (bool ofModule in (bool[])[true, false])
        {
            string symbol = ofModule ? name : "dump_stack";
            var update = await PatchedKernel.ChangeAsync([file], (file, start, $"extern void {symbol}(void);\n{start}\t{symbol}();\n"));
            var found = update.Analyze().Where(diagnostic => diagnostic.Id == "KSP5017").ToList();
            if (ofModule)
                Assert.Contains(
                    $"'{name}', which only the loadable module {module} exports",
                    Assert.Single(found).Message,
                    StringComparison.Ordinal
                );
            else
                Assert.Empty(found);
        }
    }

    // elfcorehdr_free is weak in fs/proc/vmcore.c.
    [Theory]
    [InlineData("elfcorehdr_free", "the name of a weak function of the running kernel")]
    [InlineData("dump_stack", "the name of a function of the running kernel")]
    [InlineData("surely_nobody_has_this", null)]
    public async Task A_new_function_does_not_take_the_place_of_one_that_others_call(string name, string? message)
    {
        const string file = "fs/proc/version.c",
            start = "static int version_proc_show(struct seq_file *m, void *v)\n{\n";
        var update = await PatchedKernel.ChangeAsync(
            [file],
            (file, start, $"void {name}(void);\nnoinline void {name}(void) {{ barrier(); }}\n{start}")
        );
        var found = update.Analyze().Where(diagnostic => diagnostic.Id == "KSP5022").ToList();
        if (message is null)
            Assert.Empty(found);
        else
            Assert.Contains(message, Assert.Single(found).Message, StringComparison.Ordinal);
    }
}
