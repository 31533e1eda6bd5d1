// SPDX-License-Identifier: MIT
using System.Reflection;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>One real object for every reason to refuse.</summary>
public sealed class DifferencingDiagnosticsTests
{
    [Theory]
    [InlineData("int limit = 10;", "int limit = 20;", "'limit' changes at offset 0x0")]
    [InlineData("int *where = 0; int a, b;", "extern int a; int *where = &a; int a, b;", "'where'")]
    [InlineData("int a, b; int *where = &a;", "int a, b; int *where = &b;", "a reference to a became one to b")]
    [InlineData("int buffer[4];", "int buffer[8];", "16 bytes became 32")]
    [InlineData(
        "static int many[4]; int f(int i) { return ++many[i]; }",
        "static int many[5]; int f(int i) { return ++many[i]; }",
        "'many'"
    )]
    [InlineData("int limit = 10;", "const int limit = 10;", "section .data.limit became .rodata.limit")]
    [InlineData(
        "const char *names[] = { \"one\", \"two\" };",
        "const char *names[] = { \"one\", \"three\" };",
        "a reference to \"two\" became one to \"three\""
    )]
    [InlineData("int v = 3; int section(\".data..read_mostly\") w = 1;", "int v = 3; int section(\".data..read_mostly\") w = 2;", "'w'")]
    [InlineData(
        "static const int table[] = { 1, 2 }; int f(int i) { return table[i]; } int g(int i) { return table[i] + 1; }",
        "static const int table[] = { 1, 3 }; int f(int i) { return table[i]; } int g(int i) { return table[i] + 2; }",
        "'table'"
    )]
    public void KSP3001_changed_data(string pre, string post, string what) =>
        CPair.Compare(pre, post).RefusedBy(DifferencingDiagnostics.ChangedData, what);

    [Theory]
    [InlineData("static int count; int f(void) { return ++count; }", "int f(void) { return 1; }", "'count'")]
    [InlineData("int f(void) { static int count; return ++count; }", "int f(void) { return 1; }", "'count.0'")]
    [InlineData("int shared = 4;", "", "'shared'")]
    public void KSP3002_removed_data(string pre, string post, string what) =>
        CPair.Compare(pre, post).RefusedBy(DifferencingDiagnostics.RemovedData, what);

    private const string RateLimit =
        "struct ratelimit_state { int interval, burst; }; int limit(struct ratelimit_state *); struct other_state { int a; };";

    // pr_warn_ratelimited has its limit in such a static local.
    [Theory]
    [InlineData("static struct ratelimit_state _rs = { 5, 10 }; if (limit(&_rs)) a++;", true)]
    [InlineData("static struct ratelimit_state mine = { 5, 10 }; if (limit(&mine)) a++;", false)]
    [InlineData("static struct other_state _rs = { 5 }; a += _rs.a++;", false)]
    public void KSP3002_not_for_the_rate_limit_of_a_message(string message, bool accepted)
    {
        string before = $"{RateLimit} int f(int a) {{ {message} return probe(a); }}";
        var pair = CPair.Compare(before, RateLimit + " int f(int a) { return probe(a); }", "-g");
        if (accepted)
            Assert.Equal(["f"], pair.Replaced);
        else
            pair.RefusedBy(DifferencingDiagnostics.RemovedData, "is gone");
        // What comes brings a limit of its own.
        Assert.Equal(["f"], CPair.Compare(RateLimit + " int f(int a) { return probe(a); }", before, "-g").Replaced);
    }

    [Fact]
    public void KSP3003_not_for_the_rate_limits_of_messages()
    {
        const string Message = "{ static struct ratelimit_state _rs = { 5, 10 }; if (limit(&_rs)) probe(a); }";
        var pair = CPair.Compare(
            $"{RateLimit} int f(int a) {{ {Message} {Message} return a; }}",
            $"{RateLimit} int f(int a) {{ probe(a + 1); {Message} {Message} return a; }}",
            "-g"
        );
        Assert.Equal(["f"], pair.Replaced);
    }

    [Fact]
    public void KSP3002_not_for_constants() =>
        Assert.Equal(
            ["f"],
            CPair.Compare("static const int table[] = { 1, 2 }; int f(int i) { return table[i]; }", "int f(int i) { return i; }").Replaced
        );

    [Fact]
    public void KSP3003_static_locals_that_cannot_be_told_apart()
    {
        const string Source = "int f(int a) { { static int n; n += a; a ^= n; } { static int n; n += a; a ^= n; } return a; }";
        CPair
            .Compare(Source, Source.Replace("{ {", "{ probe(a); {", StringComparison.Ordinal))
            .RefusedByAll(DifferencingDiagnostics.Ambiguous, "(used by f)");
    }

    // Where the code before it differs, the same offset is no sign that it is the same variable.
    [Fact]
    public void KSP3003_new_static_local_at_the_offset_of_an_old_one() =>
        CPair
            .Compare(
                "int f(int a) { static int n; a += n; n = a; return a; }",
                "int f(int a) { { static int n; a ^= n; n = a; } { static int n; a += n; n = a; } return a; }"
            )
            .RefusedByAll(DifferencingDiagnostics.Ambiguous, "any of n.0 (used by f)");

    private const string AlikeOnTwoLines =
        "int f(int a) {\n{ static int n; n += a; a ^= n; }\n{ static int n; n += a; a ^= n; }\nreturn a; }";

    // Debug data tells the lines; the first use in the new code is still of the variable on the second line.
    [Theory]
    [InlineData("-gdwarf-4")]
    [InlineData("-gdwarf-5")]
    public void KSP3003_not_where_the_lines_of_the_declarations_tell(string debug)
    {
        var pair = CPair.Compare(AlikeOnTwoLines, AlikeOnTwoLines.Replace("{\n{", "{ probe(a);\n{", StringComparison.Ordinal), debug);
        Assert.Equal(["f"], pair.Replaced);
        var body = pair.Piece("f");
        string[] order =
        [
            .. body.References.Select(reference => reference.Symbol).OfType<LocalSymbol>().Select(symbol => symbol.Name).Distinct(),
        ];
        // In the order of use, the variables are those of the pre object's order of use.
        var section = pair.Accepted.Pre.FindSection(".text.f")!;
        Assert.Equal(
            section
                .Relocations.Select(relocation => pair.Accepted.Pre.Symbols[relocation.SymbolIndex])
                .Select(symbol => pair.Accepted.Pre.Sections[symbol.SectionIndex].Name[".bss.".Length..])
                .Distinct(),
            order
        );
    }

    [Theory]
    [InlineData("{\n{", "{\nprobe(a);\n{")]
    [InlineData("}\n{", "}\nprobe(a);\n{")]
    public void KSP3003_where_the_lines_moved(string before, string after) =>
        CPair
            .Compare(AlikeOnTwoLines, AlikeOnTwoLines.Replace(before, after, StringComparison.Ordinal), "-g")
            .RefusedByAll(DifferencingDiagnostics.Ambiguous, "(used by f)");

    [Fact]
    public void KSP3003_not_where_the_code_up_to_the_use_is_the_same()
    {
        const string Source = "int f(int a) { { static int n; n ^= a; } { static int n; n += a; } probe(a); return probe(3); }";
        var pair = CPair.Compare(Source, Source.Replace("probe(3)", "probe(4)", StringComparison.Ordinal));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(2, pair.Accepted.Needed.OfType<LocalSymbol>().Count());
    }

    [Fact]
    public void KSP3004_changed_init_code() =>
        CPair
            .Compare(
                "int section(\".init.text\") setup(int a) { return probe(a); }",
                "int section(\".init.text\") setup(int a) { return probe(a) + 1; }"
            )
            .RefusedBy(DifferencingDiagnostics.InitChanged, "'setup'");

    [Theory]
    [InlineData("char a[] section(\".modinfo\") = \"license=GPL\";", "char a[] section(\".modinfo\") = \"license=BSD\";", ".modinfo")]
    [InlineData("", "int b section(\".init.data\") = 5;", "it is new")]
    [InlineData("int b section(\".initcall6.init\") = 5;", "", "it is gone")]
    public void KSP3005_changed_boot_time_section(string pre, string post, string what) =>
        CPair.Compare(pre, post).RefusedBy(DifferencingDiagnostics.DroppedSectionChanged, what);

    [Theory]
    [InlineData("int x section(\"__mystery\") = 1;", "int x section(\"__mystery\") = 2;", "changes: bytes 01")]
    [InlineData("", "int x section(\"__mystery\") = 2;", "it is new")]
    [InlineData(
        "extern int x[]; int f(void) { return x[0]; } int x[1] section(\"__mystery\");",
        "extern int x[]; int f(void) { return x[0] + 1; } int x[1] section(\"__mystery\");",
        "is referred to by 'f'"
    )]
    [InlineData(
        "int f(void) { return probe(1); } void *x section(\"__mystery\") = f;",
        "int f(void) { return probe(2); } void *x section(\"__mystery\") = f;",
        "has an entry for 'f'"
    )]
    [InlineData(
        "int section(\".mystery.text\") f(void) { return probe(1); }",
        "int section(\".mystery.text\") f(void) { return probe(2); }",
        ".mystery.text"
    )]
    public void KSP3006_unknown_section(string pre, string post, string what) =>
        CPair.Compare(pre, post).RefusedBy(DifferencingDiagnostics.UnknownSection, what);

    [Theory]
    [InlineData(".byte 0x06", "no instruction can be decoded")]
    [InlineData(".byte 0x06, 0x07\\n.long use", "no instruction can be decoded")]
    [InlineData(".reloc ., R_X86_64_32S, use\\n nop\\n nop\\n nop\\n nop\\n nop", "lies in no instruction's field")]
    public void KSP3007_code_that_cannot_be_moved(string instruction, string what)
    {
        string source = $$"""int f(int a) { if (a > 3) asm volatile("{{instruction}}"); return probe(a); }""";
        CPair
            .Compare(source, source.Replace("> 3", "> 4", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.ImmovableCode, what);
    }

    [Fact]
    public void KSP3007_changed_code_without_a_symbol()
    {
        const string Source = """asm(".section .text.stub,\"ax\"\n movl $3, %eax\n ret\n .text"); int f(int a) { return a; }""";
        CPair
            .Compare(Source, Source.Replace("$3", "$5", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.ImmovableCode, "code without a symbol");
    }

    [Fact]
    public void KSP3008_reference_into_a_function_that_stays()
    {
        string source = """
            asm(".section .text.f,\"ax\"\n .globl f\n .type f,@function\n"
                "f: movl $3, %eax\nmiddle: addl $1, %eax\n ret\n .size f, .-f\n .text");
            noinline int g(int a) { if (a > 3) asm volatile("movq $middle, %rax"); return probe(a); }
            """;
        CPair
            .Compare(source, source.Replace("> 3", "> 4", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.MiddleReference, "f+0x5");
    }

    [Fact]
    public void KSP3008_reference_into_a_function_that_is_replaced()
    {
        const string Source = """
            asm(".section .text.f,\"ax\"\n .globl f\n .type f,@function\n"
                "f: movl $3, %eax\nmiddle: addl $1, %eax\n ret\n .size f, .-f\n .text");
            noinline int g(int a) { asm volatile("movq $middle, %rax"); return probe(a); }
            """;
        CPair
            .Compare(Source, Source.Replace("$3", "$4", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.MiddleReference, "f+0x5");
    }

    [Theory]
    [InlineData(
        "int early section(\".init.data\") = 5; int f(int a) { return early + a; }",
        "'f' of drivers/test/unit.c refers to .init.data in section .init.data"
    )]
    [InlineData(
        "noinline int section(\".init.text\") early(void) { return probe(1); } int f(int a) { return early() + a; }",
        "refers to early in section .init.text"
    )]
    [InlineData(
        "noinline int section(\".exit.text\") early(void) { return probe(1); } int f(int a) { use(early); return 0 + a; }",
        "refers to early in section .exit.text"
    )]
    public void KSP3009_reference_to_init_memory(string source, string what) =>
        CPair
            .Compare(source, source.Replace("+ a", "- a", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.InitReference, what);

    private const string StaticBranch = """
        struct key { long n; void *p; };
        KEY;
        int f(int a) {
            asm goto("1: .byte 0x0f,0x1f,0x44,0x00,0x00\n .pushsection __jump_table,\"aw\"\n .balign 8\n"
                " .long 1b - ., %l[yes] - .\n .quad %c0 - .\n .popsection"
                : : "i"(&key) : : yes);
            return probe(a) + 1;
        yes: return probe(a) + 2;
        }
        """;

    [Theory]
    [InlineData("struct key key section(\".data..ro_after_init\") = { 1 }")]
    [InlineData("static struct key key section(\".data..ro_after_init\") = { 1 }")]
    public void KSP3010_static_key_that_is_read_only(string key)
    {
        string source = StaticBranch.Replace("KEY", key, StringComparison.Ordinal);
        CPair
            .Compare(source, source.Replace("+ 2", "+ 3", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.ReadOnlyKey, "'f' of " + CPair.Unit + " branches on 'key");
    }

    [Theory]
    [InlineData("struct key key = { 1 }")]
    [InlineData("extern struct key key")]
    public void A_static_key_that_can_be_written_is_listed(string key)
    {
        string source = StaticBranch.Replace("KEY", key, StringComparison.Ordinal);
        var pair = CPair.Compare(source, source.Replace("+ 2", "+ 3", StringComparison.Ordinal));
        Assert.Equal(new StaticKeyUse("f", new GlobalSymbol("key"), "__jump_table"), Assert.Single(pair.Accepted.StaticKeys));
        var entry = Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.SpecialEntry);
        Assert.Equal(
            ["f", "f", "key"],
            entry.References.Select(reference => reference.Symbol?.DisplayName ?? pair.Accepted.Carried[reference.Piece].Name)
        );
    }

    [Fact]
    public void KSP3011_new_per_cpu_variable_in_a_section_that_modules_lack()
    {
        const string Pre = "int f(int a) { return a; }";
        CPair.Compare(Pre, "int mine section(\".data..percpu..first\"); " + Pre).RefusedBy(DifferencingDiagnostics.PerCpuSection, "'mine'");
        Assert.Equal(
            ".data..percpu",
            CPair.Compare(Pre, "int mine section(\".data..percpu..read_mostly\") = 3; " + Pre).Piece("mine").OutputSection
        );
    }

    [Theory]
    [InlineData("", "int t section(\"__tracepoints\") = 1;", "is new")]
    [InlineData("int t section(\"__tracepoints\") = 1;", "", "is gone")]
    [InlineData("int t section(\"__tracepoints\") = 1;", "int t section(\"__tracepoints\") = 2;", "changed: bytes 01")]
    public void KSP3012_changed_collected_section(string pre, string post, string what) =>
        CPair.Compare(pre, post).RefusedBy(DifferencingDiagnostics.CollectedChanged, what);

    [Theory]
    [InlineData(".noinstr.text")]
    [InlineData(".entry.text")]
    public void KSP3013_function_that_cannot_be_replaced(string section)
    {
        string source = $"int section(\"{section}\") f(int a) {{ return probe(a) + 1; }}";
        CPair
            .Compare(source, source.Replace("+ 1", "+ 2", StringComparison.Ordinal))
            .RefusedBy(DifferencingDiagnostics.SectionNotReplaceable, section);
    }

    [Theory]
    [InlineData(".static_call.text", "a function pointer")]
    [InlineData(".noinstr.text", "elsewhere")]
    public void KSP3019_new_code_that_only_the_kernel_can_have(string section, string what) =>
        CPair
            .Compare(
                "int f(int a) { return probe(a); }",
                $"noinline int section(\"{section}\") added(int a) {{ return probe(a) + 1; }} int f(int a) {{ return added(a) + 1; }}"
            )
            .RefusedBy(DifferencingDiagnostics.NewFixedCode, what);

    [Theory]
    [InlineData("__bug_table", ".long f - .")]
    [InlineData("__bug_table", ".quad f - .\\n .long f - .")]
    [InlineData("__ex_table", ".long 0\\n .long f - .\\n .long f - .")]
    [InlineData("__ex_table", ".long f - .\\n .long f - .\\n .long 0\\n .long f - .\\n .long f - .")]
    [InlineData("__mcount_loc", ".quad elsewhere")]
    [InlineData(".orc_unwind_ip", ".long f - .")]
    [InlineData("__ex_table", ".long f - ., f - ., f - ., f - ., f - ., f - .")]
    [InlineData("__jump_table", ".quad f, f\\n .long f - .")]
    [InlineData(".altinstructions", ".long f - .\\n .long 0\\n .byte 0, 0, 0, 0, 0, 3")]
    [InlineData(".altinstructions", ".long f - .\\n .long 0\\n .byte 0, 0, 0, 0, 0, 0, 0, 0, 0")]
    [InlineData(".ksplice.hooks.apply", ".quad f\\n .byte 1")]
    public void KSP3014_object_that_is_not_understood(string section, string content) =>
        CPair
            .Compare(
                "int f(int a) { return a; }",
                $$"""int f(int a) { return a; } asm(".section {{section}},\"aw\"\n {{content}}\n .text");"""
            )
            .RefusedBy(DifferencingDiagnostics.MalformedObject, section);

    [Fact]
    public void KSP3014_symbol_outside_its_section() =>
        CPair
            .Compare(
                "int f(int a) { return a; }",
                """int f(int a) { return a; } asm(".globl far\n .type far, @function\n .set far, f + 0x1000");"""
            )
            .RefusedBy(DifferencingDiagnostics.MalformedObject, "far lies outside");

    [Fact]
    public void KSP3014_string_without_an_end() =>
        CPair
            .Compare("", """asm(".section .rodata.str1.1,\"aMS\",@progbits,1\n .ascii \"no end\"\n .text");""")
            .RefusedBy(DifferencingDiagnostics.MalformedObject, "has no end");

    [Fact]
    public void KSP3015_removed_function()
    {
        var pair = CPair.Compare(
            "int f(int a) { return probe(a); } int g(int a) { return probe(a) + 1; }",
            "int f(int a) { return probe(a); }"
        );
        var told = Assert.Single(pair.Diagnostics);
        Assert.Equal((DifferencingDiagnostics.FunctionRemoved, DiagnosticSeverity.Info), (told.Descriptor, told.Severity));
        Assert.True(pair.Accepted.IsEmpty);
    }

    [Fact]
    public void KSP3016_not_where_only_init_code_calls_it()
    {
        const string Callers = "int section(\".init.text\") setup(int a) { return g(a); } int f(int a) ";
        var pair = CPair.Compare(
            "noinline int g(int a) { return probe(a) + 1; } " + Callers + "{ return g(a); }",
            "extern int g(int); " + Callers + "{ return probe(a); }"
        );
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(DifferencingDiagnostics.FunctionRemoved, Assert.Single(pair.Diagnostics).Descriptor);
        Assert.Equal(["g"], pair.Accepted.RemovedFunctions);
    }

    [Fact]
    public void KSP3016_removed_function_that_is_still_used() =>
        CPair
            .Compare(
                "noinline int g(int a) { return probe(a) + 1; } int f(int a) { return g(a); }",
                "extern int g(int); int f(int a) { return g(a) + 1; }"
            )
            .RefusedBy(DifferencingDiagnostics.RemovedStillUsed, "but f refers to it");

    [Theory]
    [InlineData("", "asm(\".section ___ksymtab_gpl+f,\\\"a\\\"\\n .long f - .\\n .text\");", "is new")] // as 6.1 exports
    [InlineData(
        "asm(\".section .export_symbol,\\\"a\\\"\\n .asciz \\\"GPL\\\"\\n .asciz \\\"\\\"\\n .balign 8\\n .quad f\\n .text\");",
        "",
        "is gone"
    )] // as 6.12
    public void KSP3017_export_added_or_removed(string pre, string post, string what)
    {
        const string Source = "int f(int a) { return probe(a); }";
        var pair = CPair.Compare(Source + pre, Source + post);
        var told = Assert.Single(pair.Diagnostics);
        Assert.Equal((DifferencingDiagnostics.ExportChanged, DiagnosticSeverity.Warning), (told.Descriptor, told.Severity));
        Assert.Contains("'f'", told.Message, StringComparison.Ordinal);
        Assert.Contains(what, told.Message, StringComparison.Ordinal);
        Assert.True(pair.Accepted.IsEmpty);
    }

    [Fact]
    public void Every_rule_has_a_test_named_after_it()
    {
        var tests = typeof(DifferencingDiagnosticsTests)
            .GetMethods()
            .Concat(typeof(AssemblyTests).GetMethods())
            .Concat(typeof(SpecialSectionTests).GetMethods())
            .Concat(typeof(OtherKernelTests).GetMethods())
            .Select(method => method.Name)
            .ToList();
        var rules = typeof(DifferencingDiagnostics)
            .GetFields(BindingFlags.Public | BindingFlags.Static)
            .Select(field => ((DiagnosticDescriptor)field.GetValue(null)!).Id);
        Assert.All(rules, id => Assert.Contains(tests, name => name.StartsWith(id + "_", StringComparison.Ordinal)));
    }
}
