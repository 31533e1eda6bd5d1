// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Tests.Analysis;

/// <summary>Data of each kind, changed: one rule and not two, and the same change where it must not be one.</summary>
public class DataRuleTests
{
    private const string Prelude = """
        struct ops { int (*open)(int); int mode; }; struct ctl_table { const char *procname; void *data; int maxlen; };
        struct kernel_param { const char *name; void *arg; }; enum kind { A, B, C };
        static int one(int a) { return a; } static int two(int a) { return a + 1; } void both(void) { use(one); use(two); }

        """;

    [Theory]
    [InlineData("KSP3043", "x", "const struct ops x = { one, 1 };", "const struct ops x = { two, 1 };", ".open changes from one to two")]
    [InlineData(
        "KSP3044",
        "x",
        "int x = 1; section(\"__param\") static const struct kernel_param p = { 0, &x };",
        "int x = 2; section(\"__param\") static const struct kernel_param p = { 0, &x };",
        "from 1 to 2"
    )]
    [InlineData(
        "KSP3045",
        "x",
        "struct ctl_table x[] = { { \"a\", 0, 4 }, { } };",
        "struct ctl_table x[] = { { \"a\", 0, 8 }, { } };",
        "[0].maxlen changes from 4 to 8"
    )]
    [InlineData(
        "KSP3046",
        "x",
        "section(\".data..ro_after_init\") int x = 1;",
        "section(\".data..ro_after_init\") int x = 2;",
        "text_poke_kgdb()"
    )]
    [InlineData("KSP3047", "x", "section(\".data..percpu\") int x = 1;", "section(\".data..percpu\") int x = 2;", "Each CPU")]
    [InlineData(
        "KSP3048",
        "x",
        "int f(int a) { static int x = 1; x += a; return x; }",
        "int f(int a) { static int x = 2; x += a; return x; }",
        "kept its state"
    )]
    [InlineData("KSP3049", "x", "const struct ops x = { one, 1 };", "const struct ops x = { one, 2 };", ".mode changes from 1 to 2")]
    [InlineData(
        "KSP3050",
        "x",
        "enum shade { DARK, LIGHT, N }; const int x[N] = { 1, 2 }; int f(enum shade s) { return x[s]; }",
        "enum shade { DARK, LIGHT, MORE, N }; const int x[N] = { 1, 2, 3 }; int f(enum shade s) { return x[s]; }",
        "no entry for the new constant"
    )]
    [InlineData("KSP3001", "x", "int x = 1;", "int x = 2;", "from 1 to 2")]
    [InlineData("KSP3001", "x", "int x = 1; int *const table[1] = { &x };", "int x = 2; int *const table[1] = { &x };", "from 1 to 2")]
    [InlineData("KSP3001", "x", "struct ops x = { one, 1 };", "struct ops x = { one, 2 };", ".mode changes")]
    [InlineData("KSP3049", "x", "const int x[2] = { 1, 2 };", "const int x[3] = { 1, 2, 3 };", "'x'")]
    public void A_change_of_data_has_one_name(string rule, string name, string pre, string post, string words)
    {
        var unit = PatchedKernel.OfC(Prelude + pre, Prelude + post).Units[0];
        DiagnosticBag bag = [];
        Assert.Null(UpdateJudgement.Compare(unit, bag));
        var refusal = Assert.Single(bag, diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
        Assert.Equal(rule, refusal.Id);
        Assert.Contains(words, refusal.Message, StringComparison.Ordinal);
        Assert.Equal(name, refusal.Object!.Split('.')[0]);

        // What is acknowledged under that name goes through, in every stage that compares.
        DiagnosticBag acknowledged = [];
        acknowledged.Acknowledge(new(rule, refusal.Object, "the hook writes it", "test"));
        Assert.NotNull(UpdateJudgement.Compare(unit, acknowledged));
    }

    [Theory]
    [InlineData(
        "const struct ops x = { one, 1 }; int f(int a) { return probe(1); }",
        "const struct ops x = { one, 1 }; int f(int a) { return probe(2); }"
    )]
    [InlineData(
        "int f(int a) { static const char x[] = \"old\"; use((void *)x); return 0; }",
        "int f(int a) { static const char x[] = \"new\"; use((void *)x); return 1; }"
    )]
    [InlineData(
        "int x = 1; section(\"__param\") static const struct kernel_param p = { 0, &x }; int f(int a) { return x; }",
        "int x = 1; section(\"__param\") static const struct kernel_param p = { 0, &x }; int f(int a) { return x + 1; }"
    )]
    [InlineData(
        "enum shade { DARK, LIGHT, N }; const int x[N] = { 1, 2 }; int f(enum shade s) { return x[s]; }",
        "enum shade { DARK, LIGHT, N }; const int x[N] = { 1, 2 }; int f(enum shade s) { return x[s] + 1; }"
    )]
    public void Code_that_uses_data_and_constants_of_replaced_functions_is_no_change_of_data(string pre, string post)
    {
        var unit = PatchedKernel.OfC(Prelude + pre, Prelude + post).Units[0];
        DiagnosticBag bag = [];
        Assert.True(UpdateJudgement.Compare(unit, bag) is not null, string.Join('\n', bag));
    }

    [Fact]
    public void Data_that_the_update_brings_is_told_of()
    {
        var found = PatchedKernel
            .OfC(
                "int f(int a) { return a; }",
                "static int count; static int start = 3; int f(int a) { count += a; start++; return count + start; }"
            )
            .Analyze();
        Assert.Equal(
            ["count", "start"],
            found
                .Where(diagnostic => diagnostic.Id == "KSP3051")
                .Select(diagnostic => diagnostic.Message.Split('\'')[1])
                .Order(StringComparer.Ordinal)
        );
        Assert.DoesNotContain(
            PatchedKernel
                .OfC("static int count; int f(int a) { return count += a; }", "static int count; int f(int a) { return count -= a; }")
                .Analyze(),
            diagnostic => diagnostic.Id == "KSP3051"
        );
    }

    [Fact]
    public async Task An_init_function_that_the_patch_has_no_line_of_is_told_with_the_line_that_acknowledges_it()
    {
        const string Unit = "fs/proc/version.c";
        var untouched = await PatchedKernel.ChangeAsync(
            [Unit],
            ("fs/proc/internal.h", "pde->flags |= PROC_ENTRY_PERMANENT;", "pde->flags |= PROC_ENTRY_PERMANENT | 0x40;")
        );
        DiagnosticBag bag = [];
        Assert.Null(UpdateJudgement.Compare(untouched.Units[0], bag, untouched.Patches));
        string message = Assert.Single(bag).Message;
        const string Line = "<KspliceAcknowledge Include=\"KSP3004\" Object=\"proc_version_init\" Reason=\"...\" />";
        Assert.Contains("the patch has no line of it", message, StringComparison.Ordinal);
        Assert.EndsWith(Line, message, StringComparison.Ordinal);
        DiagnosticBag acknowledged = [];
        var words = System.Xml.Linq.XElement.Parse(Line);
        acknowledged.Acknowledge(
            new(words.Attribute("Include")!.Value, words.Attribute("Object")!.Value, words.Attribute("Reason")!.Value, "x.kspproj")
        );
        Assert.NotNull(UpdateJudgement.Compare(untouched.Units[0], acknowledged, untouched.Patches));

        const string Call = "\tpde = proc_create_single(\"version\", 0, NULL, version_proc_show);\n";
        foreach (string now in (string[])[Call + Call, "\tpde = NULL;\n"])
        {
            var touched = await PatchedKernel.ChangeAsync([Unit], (Unit, Call, now));
            bag = [];
            Assert.Null(UpdateJudgement.Compare(touched.Units[0], bag, touched.Patches));
            Assert.EndsWith(
                "do its work in a ksplice_apply hook",
                Assert.Single(bag, diagnostic => diagnostic.Id == "KSP3004").Message,
                StringComparison.Ordinal
            );
        }
    }

    [Theory]
    [InlineData("pr_warn_ratelimited(\"[%s/%d] FS", "pr_warn(\"[%s/%d] FS")]
    [InlineData("\tif (error)\n\t\tur_block = 0;\n", "\tif (error) {\n\t\tpr_warn_ratelimited(\"no block\\n\");\n\t\tur_block = 0;\n\t}\n")]
    public async Task The_rate_limit_of_a_message_comes_and_goes_with_it(string old, string now)
    {
        var update = await PatchedKernel.ChangeAsync(["fs/ioctl.c"], ("fs/ioctl.c", old, now));
        DiagnosticBag bag = [];
        var diff = UpdateJudgement.Compare(update.Units[0], bag, update.Patches);
        Assert.True(diff is not null, string.Join('\n', bag));
        // ioctl_fibmap is inlined into it.
        Assert.Equal(["do_vfs_ioctl"], diff.Replaced.Select(function => function.Name));
    }
}
