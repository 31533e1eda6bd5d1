// SPDX-License-Identifier: MIT
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>Which thing is which, where names do not tell, and where what a name means has changed.</summary>
public sealed class CorrelationTests
{
    // The compiler might as well have numbered these two the other way round.
    private static ElfObject Swapped(ElfObject elf, string stem)
    {
        string[] names =
        [
            .. elf
                .Symbols.Select(symbol => symbol.Name)
                .Where(name => name.StartsWith(stem, StringComparison.Ordinal))
                .Distinct()
                .Order(StringComparer.Ordinal),
        ];
        Assert.True(names.Length == 2, $"{stem}: {string.Join(' ', names)}");
        return elf with
        {
            Symbols =
            [
                .. elf.Symbols.Select(symbol =>
                    symbol.Name == names[0] ? symbol with { Name = names[1] }
                    : symbol.Name == names[1] ? symbol with { Name = names[0] }
                    : symbol
                ),
            ],
        };
    }

    private static string Replace(string source, string old, string now)
    {
        Assert.Contains(old, source, StringComparison.Ordinal);
        return source.Replace(old, now, StringComparison.Ordinal);
    }

    private const string StaticLocals = """
        noinline int f(int a) { static int n; return n += a; }
        noinline int g(int a) { static int n; return n ^= a; }
        """;

    private const string FunctionNames = """
        noinline int f(int a) { return printk(__func__, a) + 1; }
        noinline int gg(int a) { return printk(__func__, a) + 2; }
        """;

    private const string UniqueIds = """
        static int __UNIQUE_ID_once7, __UNIQUE_ID_once8;
        noinline int f(int a) { return __UNIQUE_ID_once7 += a; }
        noinline int g(int a) { return __UNIQUE_ID_once8 ^= a; }
        """;

    // The same text in both: content does not tell, users do.
    private const string Twins = """
        noinline int f(int a) { static int n; return n += a; }
        noinline int g(int a) { static int n; return n += a; }
        """;

    private const string Clones = """
        static noinline int part(int a, int by) { for (int i = 0; i < by; i++) a += probe(a + i) * 3; return a; }
        int f(int a) { return part(a, 4); }
        int f2(int a) { return part(a, 4) ^ 8; }
        int g(int a) { return part(a, 5) + 1; }
        int g2(int a) { return part(a, 5) ^ 9; }
        """;

    [Theory]
    [InlineData(StaticLocals, "n.", "^= a", "^= a + 1", "g")]
    [InlineData(FunctionNames, "__func__.", "+ 2", "+ 3", "gg")]
    [InlineData(UniqueIds, "__UNIQUE_ID_once", "^= a", "^= a + 1", "g")]
    [InlineData(Twins, "n.", "g(int a) { static int n; return n +=", "g(int a) { static int n; return n -=", "g")]
    public void Numbers_may_be_swapped(string source, string stem, string old, string now, string changed)
    {
        var pre = CPair.Compile(source);
        Assert.True(CPair.Compare(pre, Swapped(pre, stem)).Accepted.IsEmpty);
        var pair = CPair.Compare(pre, Swapped(CPair.Compile(Replace(source, old, now)), stem));
        Assert.Equal([changed], pair.Replaced);
        // The variable is the one that the function had before.
        var user = pre
            .Sections.Single(section => section.Name == ".text." + changed)
            .Relocations.Select(relocation => pre.Symbols[relocation.SymbolIndex])
            .First(symbol => !symbol.IsUndefined);
        Assert.Contains(pair.Accepted.Needed.OfType<LocalSymbol>(), needed => needed.PreSection == user.SectionIndex);
    }

    [Fact]
    public void Numbers_of_clones_may_be_swapped_and_one_of_them_changed()
    {
        string[] options = ["-fipa-cp-clone", "--param=ipa-cp-eval-threshold=1", "-O3"];
        var pre = CPair.Compile(Clones, options);
        Assert.True(CPair.Compare(pre, Swapped(pre, "part.constprop.")).Accepted.IsEmpty);
        Assert.Equal(
            2,
            CPair
                .Compare(pre, CPair.Compile(Replace(Clones, "* 3", "* 5"), options))
                .Replaced.Count(name => name.StartsWith("part.constprop.", StringComparison.Ordinal))
        );
    }

    private const string Partial = """
        static int part(int *p, int a) {
            if (!p) return a;
            probe(a); probe(*p);
            for (int i = 0; i < a; i++) a += probe(i) * 3 + p[i];
            printk("%d", a); return a + *p; }
        int f(int *p, int a) { return part(p, a) + 1; }
        int g(int *p, int a) { return part(p, a + 2) + 2; }
        int h(int *p, int a) { return part(p, a + 3) + 3; }
        """;

    [Fact]
    public void What_is_split_off_is_a_function_of_its_own()
    {
        var pre = CPair.Compile(Partial);
        string name = Assert.Single(pre.Symbols, symbol => symbol.Name.StartsWith("part.part.", StringComparison.Ordinal)).Name;
        var pair = CPair.Compare(pre, CPair.Compile(Replace(Partial, "* 3", "* 5")));
        Assert.Equal([name], pair.Replaced);
        // With another number in front of it.
        pair = CPair.Compare(
            pre,
            pre with
            {
                Symbols = [.. pre.Symbols.Select(symbol => symbol.Name == name ? symbol with { Name = "part.part.7" } : symbol)],
            }
        );
        Assert.True(pair.Accepted.IsEmpty);
    }

    private const string Cold = """
        extern void fail(const char *) __attribute__((cold));
        noinline int f(int a) { if (a > 100) { fail("too many"); probe(17); } return probe(a); }
        noinline int g(int a) { if (a > 100) { fail("too many"); probe(17); } return probe(a) + 1; }
        """;

    [Fact]
    public void Cold_parts_that_are_alike_go_with_their_own_function()
    {
        var pair = CPair.Compare(Cold, "int other(int a) { return probe(a) * 7; }\n" + Replace(Cold, "probe(a) + 1", "probe(a) + 2"));
        Assert.Equal(["g"], pair.Replaced);
        Assert.Contains("g.cold", pair.Carried);
        Assert.DoesNotContain("f.cold", pair.Carried);
    }

    [Fact]
    public void A_new_function_with_names_like_those_of_others_takes_none_of_theirs()
    {
        var pair = CPair.Compare(FunctionNames, "noinline int e(int a) { return printk(__func__, a) + 9; }\n" + FunctionNames);
        Assert.Equal(["e"], pair.New);
        Assert.Empty(pair.Replaced);
        pair = CPair.Compare(StaticLocals, "noinline int e(int a) { static int n; return n -= a; }\n" + StaticLocals);
        Assert.Equal(["e"], pair.New);
        Assert.Empty(pair.Replaced);
        Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.Data);
    }

    [Fact]
    public void A_new_global_variable_is_carried_with_its_users()
    {
        var pair = CPair.Compare("int f(int a) { return probe(a); }", "int limit = 7; int f(int a) { return probe(a) + limit; }");
        Assert.Equal(["f"], pair.Replaced);
        Assert.True(pair.Piece("limit").IsGlobal);
        Assert.DoesNotContain(new GlobalSymbol("limit"), pair.Accepted.Needed);
    }

    [Fact]
    public void A_renamed_function_is_a_new_one_and_its_callers_are_replaced()
    {
        const string Source =
            "static noinline int before(int a) { return probe(a) * 3; } int f(int a) { return before(a) + 1; } "
            + "int g(int a) { return probe(a); }";
        var pair = CPair.Compare(Source, Replace(Source, "before", "after"));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(["after"], pair.New);
        Assert.Equal(["before"], pair.Accepted.RemovedFunctions);
    }

    private const string Moving = "noinline int HOW f(int a) { return probe(a) * 3; } int g(int a) { return f(a) + 1; }";

    private static string In(string section) => Replace(Moving, "HOW", section.Length == 0 ? "" : $"section(\"{section}\")");

    [Theory]
    [InlineData("", ".sched.text")]
    [InlineData(".sched.text", "")]
    [InlineData("", ".text.unlikely")]
    [InlineData(".cpuidle.text", ".ref.text")]
    public void A_function_in_another_section_is_the_same(string before, string after)
    {
        Assert.True(CPair.Compare(In(before), In(after)).Accepted.IsEmpty);
        Assert.Equal(["f"], CPair.Compare(In(before), Replace(In(after), "* 3", "* 5")).Replaced);
    }

    [Theory]
    [InlineData("", ".noinstr.text")]
    [InlineData(".noinstr.text", "")]
    [InlineData(".entry.text", "")]
    public void KSP3013_a_function_that_was_or_is_in_code_that_stays(string before, string after) =>
        CPair.Compare(In(before), Replace(In(after), "* 3", "* 5")).RefusedBy(DifferencingDiagnostics.SectionNotReplaceable, "'f'");

    [Fact]
    public void KSP3009_a_function_that_becomes_init_code() =>
        CPair.Compare(In(""), In(".init.text")).RefusedByAll(DifferencingDiagnostics.InitReference, "f");

    private const string Inlining =
        "static HOW int part(int a) { return probe(a) * 3; } int f(int a) { return part(a) + 1; } int g(int a) { return part(a) + 2; }";

    [Fact]
    public void A_function_that_becomes_inlined_replaces_its_callers_and_stays_behind()
    {
        var pair = CPair.Compare(
            Replace(Inlining, "HOW", "noinline"),
            Replace(Inlining, "HOW", "inline __attribute__((__always_inline__))")
        );
        Assert.Equal(["f", "g"], pair.Replaced);
        Assert.Equal(["part"], pair.Accepted.RemovedFunctions);
    }

    [Fact]
    public void A_function_that_is_inlined_no_longer_is_new()
    {
        var pair = CPair.Compare(
            Replace(Inlining, "HOW", "inline __attribute__((__always_inline__))"),
            Replace(Inlining, "HOW", "noinline")
        );
        Assert.Equal(["f", "g"], pair.Replaced);
        Assert.Equal(["part"], pair.New);
    }

    [Fact]
    public void An_alias_is_another_name_of_the_same_function()
    {
        const string Source =
            "noinline int f(int a) { return probe(a) * 3; } extern int other(int) __attribute__((alias(\"f\"))); "
            + "int g(int a) { return other(a) + 1; }";
        var pair = CPair.Compare(Source, Replace(Source, "* 3", "* 5"));
        Assert.Equal(["f"], pair.Replaced);
        pair = CPair.Compare(Source, Replace(Source, "+ 1", "+ 2"));
        Assert.Equal(["g"], pair.Replaced);
        Assert.All(pair.Accepted.Needed.OfType<GlobalSymbol>(), symbol => Assert.Contains(symbol.Name, (string[])["f", "other"]));
        // A name more is none of the running kernel's business.
        Assert.True(CPair.Compare(Source, Source + " extern int third(int) __attribute__((alias(\"f\")));").Accepted.IsEmpty);
    }

    [Theory]
    [InlineData("__attribute__((weak))", "__attribute__((weak))")]
    [InlineData("__attribute__((weak))", "")]
    [InlineData("", "__attribute__((weak))")]
    public void A_weak_function_is_what_its_name_says(string before, string after)
    {
        const string Source = "WEAK noinline int f(int a) { return probe(a) * 3; } int g(int a) { return f(a) + 1; }";
        Assert.True(CPair.Compare(Replace(Source, "WEAK", before), Replace(Source, "WEAK", after)).Accepted.IsEmpty);
        Assert.Equal(["f"], CPair.Compare(Replace(Source, "WEAK", before), Replace(Replace(Source, "WEAK", after), "* 3", "* 5")).Replaced);
    }

    // What SYSCALL_DEFINE leaves (arch/x86/include/asm/syscall_wrapper.h): one body, inlined into an entry for each ABI.
    [Fact]
    public void A_system_call_is_replaced_in_each_of_its_entries()
    {
        const string Source = """
            struct pt_regs { long di, si, bx, cx; };
            static inline long __do_sys_call(int a, int b) { return probe(a) + b; }
            static inline long __se_sys_call(long a, long b) { return __do_sys_call((int)a, (int)b); }
            long __x64_sys_call(const struct pt_regs *regs) { return __se_sys_call(regs->di, regs->si); }
            long __ia32_sys_call(const struct pt_regs *regs) { return __se_sys_call((unsigned)regs->bx, (unsigned)regs->cx); }
            static struct { const char *name; } meta section("__syscalls_metadata") = { "sys_call" };
            static void *allow section("_error_injection_whitelist") = __x64_sys_call;
            """;
        var pair = CPair.Compare(Source, Replace(Source, "+ b", "- b"));
        Assert.Equal(["__ia32_sys_call", "__x64_sys_call"], pair.Replaced);
        Assert.Equal(["__ia32_sys_call", "__x64_sys_call"], pair.Carried);
    }

    [Fact]
    public void A_new_function_may_be_exported_anew()
    {
        const string Export = "asm(\".section ___ksymtab_gpl+added,\\\"a\\\"\\n .long added - .\\n .text\");";
        var pair = CPair.Compare(
            "int f(int a) { return probe(a); }",
            "int added(int a) { return probe(a) + 1; } int f(int a) { return added(a); }" + Export,
            "-fno-inline"
        );
        Assert.Equal(["added"], pair.New);
        Assert.Equal(DifferencingDiagnostics.ExportChanged, Assert.Single(pair.Diagnostics).Descriptor);
    }
}
