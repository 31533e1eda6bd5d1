// SPDX-License-Identifier: MIT
// Objects of kernels other than those that updates are built for: the layouts of their tables, and code and data that they have beside
// functions. tests/long/objects compiles such kernels; here the compiler makes what their macros leave.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Matching;

namespace Ksplice.Build.Tests.Differencing;

public sealed class OtherKernelTests
{
    private static string Replace(string source, string old, string now)
    {
        Assert.Contains(old, source, StringComparison.Ordinal);
        return source.Replace(old, now, StringComparison.Ordinal);
    }

    // Up to 5.15: the code behind a fault is out of line, and the table's third word is a function.
    private const string Fixups = """
        static inline int read(int *from) {
            int error = 0;
            asm volatile("1: movl (%1), %%eax\n2:\n .pushsection .fixup,\"ax\"\n3: movl $14, %0\n jmp 2b\n .popsection\n"
                " .pushsection __ex_table,\"a\"\n .balign 4\n .long 1b - ., 3b - ., HANDLER\n .popsection"
                : "+r"(error) : "r"(from) : "eax");
            return error; }
        noinline int f(int *a) { return read(a) + 1; }
        noinline int g(int *a) { return read(a) * 3 + read(a + 1); }
        """;

    [Theory]
    [InlineData("handle_default - .")]
    [InlineData("3")]
    public void Code_behind_a_fault_goes_with_the_function_that_faults(string handler)
    {
        string source = Replace(Fixups, "HANDLER", handler);
        Assert.True(CPair.Compare(source, source).Accepted.IsEmpty);
        var pair = CPair.Compare(source, Replace(source, "+ 1;", "+ 2;"));
        Assert.Equal(["f"], pair.Replaced);
        var part = Assert.Single(pair.Accepted.Carried, piece => piece.OutputSection == ".fixup");
        Assert.Equal(CarriedKind.CodePart, part.Kind);
        var entry = Assert.Single(pair.Accepted.Carried, piece => piece.OutputSection == "__ex_table");
        Assert.Equal(part, pair.Accepted.Carried[entry.References[1].Piece]);
        if (handler != "3")
            Assert.Equal(new GlobalSymbol("handle_default"), entry.References[2].Symbol);
    }

    [Theory]
    [InlineData("$14", "$13", FunctionDifference.Text)]
    [InlineData("handle_default", "handle_other", FunctionDifference.SpecialSection)]
    public void A_change_of_what_follows_a_fault_changes_the_function(string old, string now, FunctionDifference kind)
    {
        string source = Replace(Fixups, "HANDLER", "handle_default - .");
        var pair = CPair.Compare(source, Replace(source, old, now));
        Assert.Equal(["f", "g"], pair.Replaced);
        Assert.All(pair.Accepted.Replaced, function => Assert.Equal(kind, function.Why.Kind));
    }

    // 4.15 to 4.20: what overflows jumps to a trap out of line, which is in the exception table itself.
    [Fact]
    public void Code_that_traps_out_of_line_goes_with_its_function()
    {
        const string Source = """
            static inline void get(int *count) {
                asm volatile("lock incl %0\n js 111f\n .pushsection .text..refcount,\"ax\"\n"
                    "111: lea %0, %%rcx\n112: ud2\n .popsection\n113:\n"
                    " .pushsection __ex_table,\"a\"\n .balign 4\n .long 112b - ., 113b - ., handle_overflow - .\n .popsection"
                    : "+m"(*count) : : "rcx"); }
            noinline int f(int *a) { get(a); return probe(1); }
            noinline int g(int *a) { get(a); get(a + 1); return probe(2); }
            """;
        Assert.True(CPair.Compare(Source, Source).Accepted.IsEmpty);
        var pair = CPair.Compare(Source, Replace(Source, "probe(1)", "probe(3)"));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Single(pair.Accepted.Carried, piece => piece.OutputSection == ".text..refcount");
    }

    [Fact]
    public void KSP3006_code_behind_faults_that_nothing_leads_to()
    {
        const string Source = "int f(int a) { return a; } asm(\".section .fixup,\\\"ax\\\"\\n movl $14, %eax\\n jmp f\\n .text\");";
        Assert.True(CPair.Compare(Source, Source).Accepted.IsEmpty);
        CPair.Compare(Source, Replace(Source, "$14", "$13")).RefusedBy(DifferencingDiagnostics.UnknownSection, ".fixup");
    }

    // As static_cpu_has up to 5.12: the second alternative has no replacement. SIZE is the layout's: with and without the padding's length.
    private const string Alternatives = """
        static inline int has(void) {
            asm goto("1: jmp 6f\n2:\n .skip -(((5f-4f) - (2b-1b)) > 0) * ((5f-4f) - (2b-1b)),0x90\n3:\n"
                " .pushsection .altinstructions,\"a\"\n .long 1b - ., 4f - .\n .word 117\n .byte 3b - 1b, 5f - 4fPAD\n"
                " .long 1b - ., 0\n .word FEATURE\n .byte 3b - 1b, 0PAD\n .popsection\n"
                " .pushsection .altinstr_replacement,\"ax\"\n4: jmp %l[no]\n5:\n .popsection\n"
                " .pushsection .altinstr_aux,\"ax\"\n6: testb $1, flag\n jnz %l[yes]\n jmp %l[no]\n .popsection" : : : : yes, no);
            yes: return 1; no: return 0; }
        noinline int f(int a) { return has() ? probe(a) : 1; }
        noinline int g(int a) { return has() ? probe(a) + 2 : 3; }
        """;

    [Theory]
    [InlineData(", 0", 13)]
    [InlineData("", 12)]
    public void An_alternative_may_have_no_replacement(string padding, int size)
    {
        string source = Replace(Replace(Alternatives, "PAD", padding), "FEATURE", "16");
        Assert.True(CPair.Compare(source, source).Accepted.IsEmpty);
        var pair = CPair.Compare(source, Replace(source, ": 1;", ": 5;"));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(
            [size, size],
            pair.Accepted.Carried.Where(piece => piece.OutputSection == ".altinstructions").Select(piece => piece.Data.Length)
        );
        Assert.Equal(5, Assert.Single(pair.Accepted.Carried, piece => piece.OutputSection == ".altinstr_replacement").Data.Length);
        Assert.Equal(["f", "g"], CPair.Compare(source, Replace(source, ".word 16", ".word 17")).Replaced);
    }

    // As 5.14 calls through registers: the replacement is another unit's.
    [Fact]
    public void A_replacement_may_be_another_units()
    {
        const string Source = """
            noinline int f(int a) { asm volatile("1: call thunk\n .pushsection .altinstructions,\"a\"\n .long 1b - ., alternative - .\n"
                " .word 5\n .byte 5, 5\n .popsection" : : : "eax"); return probe(a) + 1; }
            """;
        var pair = CPair.Compare(Source, Replace(Source, "+ 1", "+ 2"));
        Assert.Equal(["f"], pair.Replaced);
        var entry = Assert.Single(pair.Accepted.Carried, piece => piece.OutputSection == ".altinstructions");
        Assert.Equal(new GlobalSymbol("alternative"), entry.References[1].Symbol);
    }

    private const string Labels = """
        struct key { long n; void *p; };
        struct key key = { 1 };
        int f(int a) {
            asm goto("1: .byte 0x0f,0x1f,0x44,0x00,0x00\n .pushsection __jump_table,\"aw\"\n .balign 8\n"
                " .quad 1b, %l[yes], %c0 + 1\n .popsection" : : "i"(&key) : : yes);
            return probe(a) + 1;
        yes: return probe(a) + 2;
        }
        """;

    [Fact]
    public void A_jump_label_may_have_addresses()
    {
        var pair = CPair.Compare(Labels, Replace(Labels, "+ 2", "+ 3"));
        Assert.Equal(new StaticKeyUse("f", new GlobalSymbol("key"), "__jump_table"), Assert.Single(pair.Accepted.StaticKeys));
        var entry = Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.SpecialEntry);
        Assert.Equal((24, 1L), (entry.Data.Length, entry.References[2].Addend));
    }

    // Since 6.19 a warning hands the entry itself to the trap.
    private const string Warnings = """
        static inline void warn(int line) {
            asm volatile("lea 2f(%%rip), %%rdi\n1: ud2\n .pushsection __bug_table,\"aw\"\n"
                "2: .long 1b - ., %c0 - ., %c1 - .\n .word %c2, 9\n .popsection" : : "i"("%d\n"), "i"("unit.c"), "i"(line) : "rdi"); }
        noinline int f(int a) { if (a > 3) warn(12); return probe(a); }
        noinline int g(int a) { if (a > 5) warn(14); return probe(a) + 1; }
        """;

    [Fact]
    public void An_entry_that_code_leads_to_is_that_of_its_place()
    {
        Assert.True(CPair.Compare(Warnings, Warnings).Accepted.IsEmpty);
        // All entries behind the new one move.
        var pair = CPair.Compare(Warnings, Replace(Warnings, "warn(12);", "{ warn(12); probe(5); warn(13); }"));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(2, pair.Accepted.Carried.Count(piece => piece.OutputSection == "__bug_table"));
        Assert.Equal(["g"], CPair.Compare(Warnings, Replace(Warnings, "warn(14)", "warn(15)")).Replaced);
    }

    [Fact]
    public void New_code_leads_to_its_own_entries_and_old_code_to_those_that_the_kernel_has()
    {
        var diff = CPair.Compare(Warnings, Replace(Warnings, "warn(12);", "{ warn(12); probe(5); warn(13); }")).Accepted;
        var code = diff.Carried[Assert.Single(diff.Replaced).Piece];
        var leads = code.References.Where(reference => reference.EntryOf == "__bug_table").ToList();
        Assert.Equal(2, leads.Count);
        Assert.Equal(2, leads.Select(reference => reference.Piece).Distinct().Count());
        Assert.All(leads, reference =>
        {
            var entry = diff.Carried[reference.Piece];
            Assert.Equal((CarriedKind.SpecialEntry, "__bug_table", 16), (entry.Kind, entry.OutputSection, entry.Data.Length));
            // The trap stands behind the instruction that has the entry's address.
            var trap = entry.References[0];
            Assert.Equal((diff.Replaced[0].Piece, (long)reference.Offset + 4), (trap.Piece, trap.Addend));
            Assert.Equal(-4, reference.Addend);
        });
        DiagnosticBag diagnostics = [];
        Assert.NotNull(MatchDataBuilder.Build([diff], [], diagnostics));
        Assert.Empty(diagnostics);

        var pre = CPair.Compile(Warnings);
        var old = UnitMatch.Build(pre, "x.c", UnitMatch.Functions(pre).First(function => function.Name == "f"), [], diagnostics)!;
        var data = CheckedMatchData.CheckData(old.Bytes)!;
        var ops = data.Ops.ToArray();
        var address = Assert.Single(ops, op => op.Op == OpCode.Field && op.Kind == (byte)FieldKind.Bug);
        int label = Array.FindIndex(ops, op => op.Op == OpCode.Label && op.Symbol == address.Symbol);
        Assert.Equal((OpCode.Bug, (byte)BugKind.Format, 9 << 16 | 12), (ops[label + 1].Op, ops[label + 1].Kind, (int)ops[label + 1].Value));
        Assert.Equal((OpCode.Key, "%d\n\0"), (ops[label + 2].Op, Text(ops[label + 2].Symbol)));
        Assert.Equal("unit.c\0", Text(ops[label + 1].Symbol));

        string Text(uint symbol)
        {
            ref readonly var content = ref data.Symbol(symbol);
            return System.Text.Encoding.ASCII.GetString(data.Bytes.Slice((int)content.Content, (int)content.ContentSize));
        }
    }

    private const string Faults = """
        static inline void fault(void) {
            asm volatile("lea 2f(%%rip), %%rdi\n1: mov (%%rdi), %%eax\n .pushsection __ex_table,\"a\"\n"
                "2: .long 1b - ., 1b - ., 3\n .popsection" : : : "rdi", "eax"); }
        noinline int f(int a) { if (a > 3) fault(); return probe(a); }
        """;

    [Fact]
    public void KSP3014_a_reference_into_the_middle_of_an_entry() =>
        CPair
            .Compare(Replace(Warnings, "lea 2f(", "lea 2f+4("), Replace(Warnings, "lea 2f(", "lea 2f+4("))
            .RefusedBy(DifferencingDiagnostics.MalformedObject, "leads into __bug_table");

    [Theory]
    [InlineData("f(int a) {\n", Labels, "__jump_table has 24 bytes")]
    [InlineData("read(a) + 1", Fixups, "it has code in .fixup")]
    [InlineData("probe(a);", Faults, "it has the address of an entry of __ex_table")]
    [InlineData(": 1;", Alternatives, ".altinstructions has 13 bytes")]
    public void KSP4008_new_and_old_code_of_a_layout_that_the_core_does_not_know(string place, string template, string problem)
    {
        string source = template
            .Replace("HANDLER", "3", StringComparison.Ordinal)
            .Replace("PAD", ", 0", StringComparison.Ordinal)
            .Replace("FEATURE", "16", StringComparison.Ordinal);
        string changed = place.StartsWith('f')
            ? Replace(source, "+ 2", "+ 3")
            : Replace(source, place, "probe(77) +" + place.TrimStart(':'));
        var pair = CPair.Compare(source, place == ": 1;" ? Replace(source, place, ": 5;") : changed);
        Assert.Equal(["f"], pair.Replaced);
        DiagnosticBag diagnostics = [];
        Assert.Null(MatchDataBuilder.Build([pair.Accepted], [], diagnostics));
        Assert.All(diagnostics, told => Assert.Equal(MatchDiagnostics.UnknownLayout, told.Descriptor));
        Assert.Contains(diagnostics, told => told.Message.Contains(problem, StringComparison.Ordinal));
        // The old code alone.
        var pre = CPair.Compile(source);
        diagnostics = [];
        Assert.Null(UnitMatch.Build(pre, "x.c", UnitMatch.Functions(pre).First(function => function.Name == "f"), [], diagnostics));
        var refusal = Assert.Single(diagnostics);
        Assert.Equal(MatchDiagnostics.UnknownLayout, refusal.Descriptor);
        Assert.Contains(problem, refusal.Message, StringComparison.Ordinal);
    }

    private const string Verbose =
        "struct line { int number; }; int f(int a) { static struct line d section(\"__verbose\") = { 5 }; return d.number + probe(a); }";

    [Fact]
    public void A_debug_print_of_an_old_kernel_goes_with_its_code()
    {
        Assert.True(CPair.Compare(Verbose, Replace(Verbose, "{ 5 }", "{ 7 }")).Accepted.IsEmpty);
        var pair = CPair.Compare(Verbose, Replace(Replace(Verbose, "{ 5 }", "{ 7 }"), "probe(a)", "probe(a + 1)"));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Contains(pair.Accepted.Carried, piece => piece.OutputSection == "__verbose");
    }

    private const string Messages = """
        struct message { const char *text; int line; };
        #define say(text, line) do { static const struct message _entry = { text, line }; \
            static const struct message *_entry_ptr section(".printk_index") = &_entry; printk(text); } while (0)
        noinline int f(int a) { say("one", 3); return probe(a); }
        noinline int g(int a) { say("two", 4); return probe(a); }
        """;

    [Theory]
    [InlineData("say(\"one\", 3);", "say(\"one\", 3); say(\"another\", 5);")]
    [InlineData("say(\"one\", 3);", "say(\"other\", 3);")]
    [InlineData("say(\"one\", 3);", "use(0);")]
    public void KSP3018_a_message_that_is_new_gone_or_another(string old, string now)
    {
        var same = CPair.Compare(Messages, Messages);
        Assert.True(same.Accepted.IsEmpty && same.Diagnostics.Count == 0);
        var pair = CPair.Compare(Messages, Replace(Messages, old, now));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(DifferencingDiagnostics.MessageIndexStays, Assert.Single(pair.Diagnostics).Descriptor);
        Assert.DoesNotContain(pair.Accepted.Carried, piece => piece.OutputSection == ".printk_index");
    }

    // The compiler numbers what it hands to UBSAN, and notes there that it was said.
    [Fact]
    public void What_the_compiler_makes_for_UBSAN_is_what_it_holds()
    {
        const string Source = """
            noinline int f(int a) { return probe(a) << a; }
            noinline int g(int a, int b) { return probe(a) << b; }
            """;
        const string Option = "-fsanitize=shift";
        Assert.Contains(CPair.Compile(Source, Option).Sections, section =>
            section.Name.StartsWith(".data..Lubsan_", StringComparison.Ordinal)
        );
        Assert.True(CPair.Compare(Source, Source, Option).Accepted.IsEmpty);
        var pair = CPair.Compare(Source, Replace(Source, "probe(a) << a", "(probe(a) >> (a + 3)) << a"), Option);
        Assert.Equal(["f"], pair.Replaced);
        Assert.Empty(pair.Accepted.Needed.OfType<LocalSymbol>());
        // Nobody keeps its address: the update can be unloaded.
        Assert.Contains(pair.Accepted.Carried, piece => piece.References.Any(reference => reference.TakesAddress));
        Assert.Empty(pair.Accepted.Pins);
    }

    // Several of one name in one function, by what macros of the kernel leave.
    private const string Places = """
        struct class { char bytes[16]; };
        #define lock(at) do { static struct class __key; use(&__key); probe(at); } while (0)
        #define once(at) do { static _Bool section(".data.unlikely") __warned; \
            if (probe(at) && !__warned) { __warned = 1; printk("%d", 7); } } while (0)
        noinline void f(int a) { lock(1); lock(1); once(2); once(2); probe(a); }
        noinline void g(int a) { lock(1); once(2); probe(a); }
        """;

    [Fact]
    public void Locks_and_warnings_of_one_function_are_paired_in_their_order()
    {
        Assert.True(CPair.Compare(Places, Places).Accepted.IsEmpty);
        var pair = CPair.Compare(Places, Replace(Places, "once(2); probe(a); }\nnoinline", "once(2); probe(a + 1); }\nnoinline"));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(4, pair.Accepted.Needed.OfType<LocalSymbol>().Count());
    }

    [Fact]
    public void Of_more_locks_and_warnings_than_before_new_code_brings_its_own()
    {
        var pair = CPair.Compare(Places, Replace(Places, "f(int a) { lock(1);", "f(int a) { lock(1); once(2); lock(1);"));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Contains(pair.Accepted.Carried, piece => piece.Name.StartsWith("__key", StringComparison.Ordinal));
    }

    // As clang leaves them in its objects; gcc's are kept by an option of the assembler.
    [Fact]
    public void Labels_of_the_compiler_are_no_code_of_their_own()
    {
        const string Source = "noinline int f(int a) { return a > 3 ? probe(a) + 1 : 2; } int g(int a) { return f(a) + probe(3); }";
        string[] options = ["-fpatchable-function-entry=16,16", "-Wa,--keep-locals"];
        Assert.Contains(CPair.Compile(Source, options).Symbols, symbol => symbol.Name.StartsWith(".LPFE", StringComparison.Ordinal));
        Assert.True(CPair.Compare(Source, Source, options).Accepted.IsEmpty);
        var pair = CPair.Compare(Source, Replace(Source, "+ 1", "+ 5"), options);
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(16, pair.Piece("f").Padding);
    }

    // Init functions share a section, so what stands before the one stands behind another.
    [Fact]
    public void The_no_ops_before_a_function_are_not_the_one_before_it()
    {
        const string Source =
            "section(\".init.text\") int first(int a) { return probe(a) + 1; }"
            + " section(\".init.text\") int second(int a) { return probe(a) + 2; }"
            + " section(\".sched.text\") int f(int a) { return probe(a) + 3; }"
            + " section(\".sched.text\") int g(int a) { return probe(a) + 4; }";
        string[] options = ["-fpatchable-function-entry=16,16"];
        CPair
            .Compare(Source, Replace(Source, "+ 1", "+ probe(1) + probe(2) + probe(3)"), options)
            .RefusedBy(DifferencingDiagnostics.InitChanged, "'first'");
        var pair = CPair.Compare(Source, Replace(Source, "+ 3", "+ probe(1) + probe(2) + probe(3)"), options);
        Assert.Equal(["f"], pair.Replaced);
        pair = CPair.Compare(Source, Replace(Source, "+ 4", "+ 5"), options);
        Assert.Equal(["g"], pair.Replaced);
        var entry = Assert.Single(pair.Accepted.Carried, piece => piece.OutputSection == "__patchable_function_entries");
        var place = Assert.Single(entry.References);
        Assert.Equal(("g", -16), (pair.Accepted.Carried[place.Piece].Name, place.Addend));
    }

    [Theory]
    [InlineData(".kpatch.callbacks.pre_patch", "aw", null)]
    [InlineData(".kpatch.ignore.functions", "aw", null)]
    [InlineData(".llvm_addrsig", "e", null)]
    [InlineData(".kpatch.text", "ax", ".kpatch.text")]
    public void Marks_that_hold_no_code_do_not_matter(string section, string flags, string? refused)
    {
        const string Source = "int f(int a) { return probe(a); }";
        var pair = CPair.Compare(Source, $"{Source} asm(\".section {section},\\\"{flags}\\\"\\n .quad f\\n .text\");");
        if (refused is null)
            Assert.True(pair.Accepted.IsEmpty);
        else
            pair.RefusedBy(DifferencingDiagnostics.UnknownSection, refused);
    }
}
