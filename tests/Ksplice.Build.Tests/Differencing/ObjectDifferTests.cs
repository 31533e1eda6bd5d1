// SPDX-License-Identifier: MIT
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>Which functions are replaced, brought and left to the running kernel.</summary>
public sealed class ObjectDifferTests
{
    private const string TwoFunctions = """
        static int hits;
        noinline int one(int a) { hits++; return probe(a) * 3; }
        noinline int two(int a) { hits--; return one(a) + probe(7); }
        """;

    [Fact]
    public void The_same_source_gives_an_empty_difference()
    {
        var pair = CPair.Compare(TwoFunctions, TwoFunctions);
        Assert.True(pair.Accepted.IsEmpty);
        Assert.Empty(pair.Accepted.Needed);
        Assert.Empty(pair.Diagnostics);
    }

    [Fact]
    public void A_change_that_leaves_the_code_as_it_was_gives_an_empty_difference()
    {
        var pair = CPair.Compare(
            TwoFunctions,
            "/* more lines */\n\n" + TwoFunctions.Replace("probe(a) * 3", "3 * probe(a)", StringComparison.Ordinal)
        );
        Assert.True(pair.Accepted.IsEmpty);
    }

    [Fact]
    public void Functions_in_another_order_are_the_same()
    {
        const string One = "noinline int one(int a) { return probe(a) * 3; }\n",
            Two = "noinline int two(int a) { return probe(a) / 3; }\n";
        Assert.True(CPair.Compare(One + Two, Two + One).Accepted.IsEmpty);
    }

    // A built-in unit's exit calls are never made: what is gone or new there is nobody's.
    [Fact]
    public void Exit_calls_are_left_out()
    {
        const string Call = "static void leave(void) { probe(1); } void (*const call)(void) section(\".exitcall.exit\") = leave;";
        Assert.Equal(
            ["f"],
            CPair
                .Compare(
                    "int f(int a) { return a; }" + Call,
                    "int f(int a) { return a + 1; }" + Call.Replace("call)", "other)", StringComparison.Ordinal)
                )
                .Replaced
        );
    }

    [Fact]
    public void A_changed_function_is_replaced_and_its_caller_is_not()
    {
        var pair = CPair.Compare(TwoFunctions, TwoFunctions.Replace("* 3", "* 5", StringComparison.Ordinal));
        Assert.Equal(["one"], pair.Replaced);
        Assert.Empty(pair.New);
        var function = Assert.Single(pair.Accepted.Replaced);
        Assert.True(function.IsGlobal);
        Assert.Equal(FunctionDifference.Text, function.Why.Kind);
        Assert.Equal(".text.one", pair.Accepted.Pre.Sections[Assert.Single(function.Pre).Section].Name);
        Assert.Equal(".text.one", pair.Accepted.Post.Sections[Assert.Single(function.Post).Section].Name);
        Assert.Equal(["hits", "probe"], pair.Accepted.Needed.Select(NameOf).Order());
        Assert.Equal(".bss.hits", pair.Accepted.Pre.Sections[pair.Accepted.Needed.OfType<LocalSymbol>().Single().PreSection].Name);
        Assert.False(pair.Accepted.Pinned);
    }

    [Fact]
    public void A_call_that_goes_elsewhere_is_a_change_of_its_relocation()
    {
        var pair = CPair.Compare(
            "extern int left(int), right(int); noinline int f(int a) { return left(a) + 1; }",
            "extern int left(int), right(int); noinline int f(int a) { return right(a) + 1; }"
        );
        var why = Assert.Single(pair.Accepted.Replaced).Why;
        Assert.Equal(FunctionDifference.Relocation, why.Kind);
        Assert.Equal("a reference to left became one to right", why.Detail);
    }

    [Fact]
    public void The_callers_that_a_changed_function_is_inlined_into_are_replaced()
    {
        const string Source = """
            static inline int scale(int a) { return probe(a) * 3; }
            noinline int one(int a) { return scale(a) + 1; }
            noinline int two(int a) { return scale(a) - 1; }
            noinline int three(int a) { return one(a) + two(a); }
            """;
        var pair = CPair.Compare(Source, Source.Replace("* 3", "* 5", StringComparison.Ordinal));
        Assert.Equal(["one", "two"], pair.Replaced);
    }

    [Fact]
    public void A_new_function_is_carried_and_called_directly()
    {
        var pair = CPair.Compare(
            "noinline int f(int a) { return probe(a); }",
            "static noinline int guard(int a) { return probe(a + 1); } noinline int f(int a) { return guard(a) ? probe(a) : 0; }"
        );
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(["guard"], pair.New);
        var call = pair.Piece("f").References.First(reference => reference.Piece >= 0);
        Assert.Equal("guard", pair.Accepted.Carried[call.Piece].Name);
        Assert.True(call.IsBranch);
        Assert.False(pair.Accepted.Pinned);
    }

    [Fact]
    public void A_new_global_function_is_carried_even_if_its_unit_does_not_use_it()
    {
        var pair = CPair.Compare(
            "int f(int a) { return probe(a); }",
            "int f(int a) { return probe(a); } int other(int a) { return probe(a + 1); }"
        );
        Assert.Empty(pair.Replaced);
        Assert.True(Assert.Single(pair.Accepted.NewFunctions).IsGlobal);
    }

    // What is handed out, as each shape of new content: only strings and constants without addresses can be left alone.
    [Theory]
    [InlineData(PinKind.String, "use((void *)\"new\");")]
    [InlineData(PinKind.String, "static const char *const texts[] = { \"new\" }; use((void *)texts[probe(1)]);")]
    [InlineData(PinKind.Constant, "use((void *)__func__);")]
    [InlineData(PinKind.Constant, "static const int numbers[3] = { 1, 2, 3 }; use((void *)numbers);")]
    [InlineData(PinKind.Function, "use(guard);", "static int guard(int a) { return probe(a + 1); } ")]
    [InlineData(PinKind.Variable, "static int count = 3; use(&count);")]
    [InlineData(PinKind.Variable, "static int zeroed[4]; use(zeroed);")]
    [InlineData(PinKind.Variable, "static char text[] = \"writable\"; use(text);")]
    [InlineData(PinKind.Table, "static void *const table[2] = { f, use }; use((void *)table);")]
    public void What_is_given_away_pins_the_primary_unless_it_is_a_string_or_constant(PinKind kind, string body, string before = "")
    {
        var pair = CPair.Compare("int f(int a) { return probe(a); }", $"int f(int a); {before}int f(int a) {{ {body} return probe(a); }}");
        var pin = Assert.Single(pair.Accepted.Pins);
        Assert.Equal(kind, pin.Kind);
        bool kept = kind is PinKind.String or PinKind.Constant;
        Assert.Equal(!kept, pin.PinsPrimary);
        Assert.Equal(!kept, pair.Accepted.Pinned);
        Assert.Equal(kept ? 1 : 0, pair.Accepted.Carried.Count(piece => piece.IsKept));
    }

    // The entry of the bug table goes with the primary; what warn_slowpath_fmt() gets may stay.
    [Fact]
    public void A_string_that_only_a_table_of_the_module_names_stays_in_the_primary()
    {
        var pair = CPair.Compare(
            "int f(int a) { return probe(a); }",
            """
            int f(int a)
            {
                __asm__ volatile("1: ud2\n.pushsection __bug_table, \"aw\"\n2: .long 1b - .\n.long %c0 - .\n.word 7, 0\n.popsection"
                    : : "i" ("some/file.c"));
                return probe(a);
            }
            """
        );
        Assert.Empty(pair.Accepted.Pins);
        Assert.DoesNotContain(pair.Accepted.Carried, piece => piece.IsKept);
        Assert.Contains(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.String);
    }

    [Fact]
    public void A_new_function_whose_address_is_given_away_pins_the_update()
    {
        var pair = CPair.Compare(
            "noinline void f(void) { use(0); }",
            "static int guard(int a) { return probe(a + 1); } noinline void f(void) { use(guard); }"
        );
        Assert.Equal(new PinReason(PinKind.Function, "f", "guard"), Assert.Single(pair.Accepted.Pins));
    }

    [Fact]
    public void The_address_of_a_replaced_function_is_the_originals_and_a_call_stays_inside()
    {
        const string Source = """
            noinline int f(int a) { return probe(a) + 1; }
            noinline int g(int a) { use(f); return f(a) + 1; }
            """;
        var pair = CPair.Compare(Source, Source.Replace("+ 1", "+ 2", StringComparison.Ordinal));
        Assert.Equal(["f", "g"], pair.Replaced);
        var references = pair.Piece("g").References;
        Assert.Equal("f", pair.Accepted.Carried[references.Single(reference => reference.IsBranch && reference.Piece >= 0).Piece].Name);
        Assert.Single(references, reference => !reference.IsBranch && reference.Symbol == new GlobalSymbol("f"));
        Assert.False(pair.Accepted.Pinned);
    }

    [Theory]
    [InlineData(
        "isra",
        """
            struct big { int a, b, c; };
            static noinline int part(struct big *b) { return probe(b->b) * 3; }
            int f(struct big *b) { return part(b); }
            int g(struct big *b) { return part(b + 1) + 1; }
            """
    )]
    [InlineData(
        "constprop",
        """
            static noinline int part(int a, int by) { for (int i = 0; i < by; i++) a += probe(a + i) * 3; return a; }
            int f(int a) { return part(a, 4); }
            int g(int a) { return part(a, 4) + 1; }
            """
    )]
    public void A_clone_is_a_function_of_its_own_name(string kind, string source)
    {
        var pair = CPair.Compare(
            source,
            "static noinline int other(int a, int u) { return probe(a) * 9; } int h(int a) { return other(a, 1); }"
                + source.Replace("* 3", "* 5", StringComparison.Ordinal)
        );
        Assert.Equal(["part." + kind + ".0"], pair.Replaced);
        Assert.False(Assert.Single(pair.Accepted.Replaced).IsGlobal);
    }

    [Fact]
    public void Clones_that_are_numbered_differently_are_the_same()
    {
        const string Source = """
            static noinline int part(int a, int by) { for (int i = 0; i < by; i++) a += probe(a + i) * 3; return a; }
            int f(int a) { return part(a, 4); }
            int f2(int a) { return part(a, 4) ^ 8; }
            int g(int a) { return part(a, 5) + 1; }
            int g2(int a) { return part(a, 5) ^ 9; }
            """;
        var pre = CPair.Compile(Source, "-fipa-cp-clone", "--param=ipa-cp-eval-threshold=1", "-O3");
        string[] clones =
        [
            .. pre
                .Symbols.Select(symbol => symbol.Name)
                .Where(name => name.StartsWith("part.constprop.", StringComparison.Ordinal))
                .Order(),
        ];
        Assert.Equal(["part.constprop.0", "part.constprop.1"], clones);
        Assert.True(CPair.Compare(pre, Renamed(pre, clones[0], clones[1])).Accepted.IsEmpty);
    }

    private const string ColdPart = """
        extern void fail(const char *) __attribute__((cold));
        noinline int f(int a) { if (a > 100) { fail("too many"); probe(17); } return probe(a); }
        """;

    [Fact]
    public void A_cold_part_goes_with_its_function()
    {
        var pair = CPair.Compare(ColdPart, ColdPart.Replace("return probe(a)", "return probe(a) + 1", StringComparison.Ordinal));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(["f", "f.cold"], pair.Carried);
        var function = Assert.Single(pair.Accepted.Replaced);
        Assert.Equal(2, function.Pre.Count);
        Assert.Equal(".text.unlikely.f", pair.Accepted.Pre.Sections[function.Pre[1].Section].Name);
        Assert.Equal(CarriedKind.CodePart, pair.Piece("f.cold").Kind);
        Assert.Contains(pair.Piece("f").References, reference =>
            reference.Piece >= 0 && pair.Accepted.Carried[reference.Piece].Name == "f.cold"
        );
    }

    [Fact]
    public void A_change_in_the_cold_part_alone_replaces_the_function()
    {
        var pair = CPair.Compare(ColdPart, ColdPart.Replace("17", "18", StringComparison.Ordinal));
        Assert.Equal("f.cold", Assert.Single(pair.Accepted.Replaced).Why.Part);
        Assert.Equal(["f", "f.cold"], pair.Carried);
    }

    [Fact]
    public void A_removed_function_is_told_and_leaves_nothing_behind()
    {
        var pair = CPair.Compare(
            "static noinline int guard(int a) { return probe(a + 1); } noinline int f(int a) { return guard(a) ? probe(a) : 0; }",
            "noinline int f(int a) { return probe(a); }"
        );
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal(["guard"], pair.Accepted.RemovedFunctions);
        Assert.Equal(DifferencingDiagnostics.FunctionRemoved, Assert.Single(pair.Diagnostics).Descriptor);
    }

    [Fact]
    public void Hooks_are_carried_with_what_they_call()
    {
        const string Source = "static int level = 3; int f(int a) { return level + a; } int reset(void) { return level--; }\n";
        var pair = CPair.Compare(
            Source,
            Source
                + """
                static void raise(void) { level = 4; }
                static void (*const hook)(void) section(".ksplice.hooks.apply") = raise;
                """
        );
        Assert.Empty(pair.Replaced);
        Assert.Equal(["raise"], pair.New);
        var hook = Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.Hook);
        Assert.Equal((".ksplice.hooks.apply", 8), (hook.OutputSection, hook.Data.Length));
        Assert.Equal("raise", pair.Accepted.Carried[Assert.Single(hook.References).Piece].Name);
        Assert.False(pair.Accepted.Pinned);
    }

    [Fact]
    public void A_function_that_jumps_into_a_replaced_one_is_replaced()
    {
        const string Source = """
            asm(".section .text.f,\"ax\"\n .globl f\n .type f,@function\nf: movl $3, %eax\nmiddle: addl $1, %eax\n ret\n .size f, .-f\n"
                ".section .text.g,\"ax\"\n .globl g\n .type g,@function\ng: movl $4, %eax\n jmp middle\n .size g, .-g\n .text");
            """;
        var pair = CPair.Compare(Source, Source.Replace("movl $3", "movl $5", StringComparison.Ordinal));
        Assert.Equal(["f", "g"], pair.Replaced);
        Assert.Equal(FunctionDifference.BranchIntoReplaced, pair.Accepted.Replaced.Single(function => function.Name == "g").Why.Kind);
        var jump = Assert.Single(pair.Piece("g").References);
        Assert.Equal(("f", 5 - 4L), (pair.Accepted.Carried[jump.Piece].Name, jump.Addend));
    }

    [Fact]
    public void Static_functions_that_jump_short_keep_their_distance()
    {
        const string Source = """
            asm(".section .sched.text,\"ax\"\n .type f,@function\n .globl f\nf: movl $3, %eax\n jmp 1f\n .size f, .-f\n"
                ".type g,@function\n .globl g\ng: ret\n1: movl $4, %eax\n ret\n .size g, .-g\n .text");
            """;
        var pair = CPair.Compare(Source, Source.Replace("$3", "$5", StringComparison.Ordinal));
        Assert.Equal(["f"], pair.Replaced);
        Assert.Equal("f", pair.Accepted.Carried[pair.Piece("g").Behind].Name);
    }

    [Fact]
    public void Functions_of_one_section_are_cut_apart()
    {
        const string Source = """
            #define sched __attribute__((__noinline__, __section__(".sched.text")))
            sched int one(int a) { return probe(a) * 3; }
            sched int two(int a) { return one(a) + 1; }
            sched int three(int a) { return two(a) + one(a); }
            """;
        var pair = CPair.Compare(Source, Source.Replace("* 3", "* 3000", StringComparison.Ordinal));
        Assert.Equal(["one"], pair.Replaced);
    }

    private static string NameOf(RunSymbol symbol) =>
        symbol switch
        {
            GlobalSymbol global => global.Name,
            LocalSymbol local => local.Name,
            StringLiteral text => text.Content,
            _ => throw new ArgumentException(symbol.DisplayName),
        };

    // The compiler might as well have numbered these two the other way round.
    private static ElfObject Renamed(ElfObject elf, string one, string other) =>
        elf with
        {
            Symbols =
            [
                .. elf.Symbols.Select(symbol =>
                    symbol.Name == one ? symbol with { Name = other }
                    : symbol.Name == other ? symbol with { Name = one }
                    : symbol
                ),
            ],
        };
}
