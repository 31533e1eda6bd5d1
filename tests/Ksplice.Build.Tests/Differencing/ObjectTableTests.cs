// SPDX-License-Identifier: MIT
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>Entries of tables, jump tables and their like go with the functions that they are about.</summary>
public sealed class ObjectTableTests
{
    private const string BugTable = """
        noinline int f(int a) {
            if (a > 3) asm volatile("1: ud2\n .pushsection __bug_table,\"aw\"\n"
                " .long 1b - .\n .long %c0 - .\n .word 12\n .word 0\n .popsection" : : "i"("unit.c"));
            return probe(a);
        }
        noinline int g(int a) {
            if (a > 5) asm volatile("1: ud2\n .pushsection __bug_table,\"aw\"\n"
                " .long 1b - .\n .long %c0 - .\n .word 14\n .word 0\n .popsection" : : "i"("unit.c"));
            return probe(a) + 1;
        }
        """;

    [Fact]
    public void A_table_entry_goes_with_the_function_that_it_points_into()
    {
        var pair = CPair.Compare(BugTable, BugTable.Replace("a > 3", "a > 4", StringComparison.Ordinal));
        Assert.Equal(["f"], pair.Replaced);
        var entry = Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.SpecialEntry);
        Assert.Equal(("__bug_table", 12), (entry.OutputSection, entry.Data.Length));
        Assert.Equal(12, entry.Data.Span[8]);
        Assert.Equal("f", pair.Accepted.Carried[entry.References[0].Piece].Name);
    }

    [Fact]
    public void A_change_in_a_table_entry_alone_replaces_the_function()
    {
        var pair = CPair.Compare(BugTable, BugTable.Replace(".word 14", ".word 15", StringComparison.Ordinal));
        var function = Assert.Single(pair.Accepted.Replaced);
        Assert.Equal(("g", FunctionDifference.SpecialSection, "__bug_table"), (function.Name, function.Why.Kind, function.Why.Part));
    }

    [Theory]
    [InlineData("")]
    [InlineData("-fno-function-sections")]
    public void A_jump_table_goes_with_its_function(string argument)
    {
        const string Source = """
            noinline int f(int a) { switch (a) { case 0: return probe(9); case 1: return probe(4) + 2; case 2: use(0); return 7;
                case 3: return probe(a) * 3; case 4: use(&use); return 1; case 5: return printk("x"); } return 0; }
            """;
        string[] arguments = ["-fjump-tables", .. argument.Length == 0 ? [] : new[] { argument }];
        var pair = CPair.Compare(
            Source,
            Source.Replace("* 3", "* 5", StringComparison.Ordinal).Replace("probe(4) + 2", "probe(4) - 12345678", StringComparison.Ordinal),
            arguments
        );
        Assert.Equal(["f"], pair.Replaced);
        var table = Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.Data);
        Assert.Equal(6, table.References.Count);
        Assert.All(table.References, reference => Assert.Equal("f", pair.Accepted.Carried[reference.Piece].Name));
        Assert.False(pair.Accepted.Pinned);
    }

    [Fact]
    public void A_new_function_may_have_a_jump_table()
    {
        const string Source = "int f(int a) { return probe(a); }\n";
        var pair = CPair.Compare(
            Source,
            Source
                + """
                int g(int a) { switch (a) { case 0: return probe(9); case 1: return probe(4) + 2; case 2: use(0); return 7;
                    case 3: return probe(a) * 3; case 4: use(&use); return 1; case 5: return printk("x"); } return 0; }
                """,
            "-fjump-tables"
        );
        Assert.Equal(["g"], pair.New);
        Assert.Contains(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.Data && piece.References.Count == 6);
    }

    // Its addresses are the old code's, though none of its bytes changed.
    [Theory]
    [InlineData("const ", true)]
    [InlineData("", false)]
    public void A_computed_gotos_table_goes_with_its_function(string sort, bool accepted)
    {
        string source = $$"""
            int f(int a) { static {{sort}}void *{{sort}}to[] = { &&one, &&two }; use((void *)to); goto *to[a];
                one: return probe(1); two: return probe(2) + 3; }
            """;
        var pair = CPair.Compare(source, source.Replace("+ 3", "- 3", StringComparison.Ordinal));
        if (!accepted)
        {
            pair.RefusedBy(DifferencingDiagnostics.ChangedData, "leads into f, which is replaced");
            return;
        }
        Assert.Equal(["f"], pair.Replaced);
        var table = Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.Data);
        Assert.All(table.References, reference => Assert.Equal("f", pair.Accepted.Carried[reference.Piece].Name));
    }

    [Fact]
    public void A_debug_print_that_moved_comes_with_the_code_that_moved_it()
    {
        const string Source =
            "struct line { const char *function; int number; }; int f(int a) { static const char me[] = \"f\"; "
            + "static struct line d section(\"__dyndbg\") = { me, 5 }; return d.number + probe(a); }";
        var pair = CPair.Compare(
            Source,
            Source.Replace("5 }", "7 }", StringComparison.Ordinal).Replace("probe(a)", "probe(a + 1)", StringComparison.Ordinal)
        );
        Assert.Equal(["f"], pair.Replaced);
        Assert.Contains(pair.Accepted.Carried, piece => piece.OutputSection == "__dyndbg");
        Assert.Empty(pair.Accepted.Needed.OfType<LocalSymbol>());
    }

    [Fact]
    public void A_debug_print_whose_code_stays_stays()
    {
        const string Source =
            "struct line { int number; }; int f(int a) { static struct line d section(\"__dyndbg\") = { 5 }; return d.number + probe(a); }";
        Assert.True(CPair.Compare(Source, Source.Replace("{ 5 }", "{ 7 }", StringComparison.Ordinal)).Accepted.IsEmpty);
    }
}
