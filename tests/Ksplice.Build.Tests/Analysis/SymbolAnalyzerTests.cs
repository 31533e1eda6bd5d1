using Ksplice.Build.Analysis;
using Ksplice.Build.Generation;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Analysis;

public class SymbolAnalyzerTests
{
    private const string Exports = """
        struct inner { int a; }; struct outer { struct inner *in; }; struct other { int b; };
        int takes(struct outer *o) { return probe(1); } int simple(struct other *o, int n) { return n; } static int own(struct inner *in) { return in->a; }
        void also(struct inner *in) { use(own); use(in); }
        section("___ksymtab_gpl+takes") static void *const e1 = takes; section("___ksymtab_gpl+simple") static void *const e2 = simple;

        """;

    [Fact]
    public void A_changed_type_names_the_exports_whose_type_leads_to_it()
    {
        var found = PatchedKernel.OfC(Exports, Exports.Replace("struct inner { int a; }", "struct inner { int a; int more; }", StringComparison.Ordinal)).Analyze();
        string message = found.Of("KSP5016").Message;
        Assert.StartsWith("struct inner is part of the type of takes, exported", message, StringComparison.Ordinal);
        Assert.DoesNotContain(PatchedKernel.OfC(Exports, Exports.Replace("probe(1)", "probe(2)", StringComparison.Ordinal)).Analyze(), diagnostic => diagnostic.Id == "KSP5016");
    }

    [Fact]
    public async Task The_kernel_may_not_need_a_loadable_module()
    {
        const string file = "fs/proc/version.c", start = "static int version_proc_show(struct seq_file *m, void *v)\n{\n";
        var kernel = await KernelUnderTest.PreparedAsync();
        var (name, module) = ModuleExports.Read(kernel.Release.ModuleSymvers).OrderBy(export => export.Key, StringComparer.Ordinal).First();
        foreach (bool ofModule in (bool[])[true, false])
        {
            string symbol = ofModule ? name : "dump_stack";
            var update = await PatchedKernel.ChangeAsync([file], (file, start, $"extern void {symbol}(void);\n{start}\t{symbol}();\n"));
            var found = update.Analyze().Where(diagnostic => diagnostic.Id == "KSP5017").ToList();
            if (ofModule)
                Assert.Contains($"'{name}', which only the loadable module {module} exports", Assert.Single(found).Message, StringComparison.Ordinal);
            else
                Assert.Empty(found);
        }
    }
}
