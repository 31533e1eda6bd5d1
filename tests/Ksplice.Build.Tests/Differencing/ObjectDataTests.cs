// SPDX-License-Identifier: MIT
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Tests.Differencing;

/// <summary>Which variables, strings and constants are brought, and which are the running kernel's.</summary>
public sealed class ObjectDataTests
{
    [Fact]
    public void A_new_static_variable_is_carried_and_the_old_ones_are_the_kernels()
    {
        var pair = CPair.Compare(
            "static int count; int f(void) { return ++count; }",
            "static int count; static int calls = 5; int f(void) { calls++; return ++count + calls; }"
        );
        Assert.Equal(["calls", "f"], pair.Carried);
        Assert.Equal(".data", pair.Piece("calls").OutputSection);
        Assert.Equal("count", Assert.IsType<LocalSymbol>(Assert.Single(pair.Accepted.Needed)).Name);
    }

    [Fact]
    public void Static_locals_that_are_numbered_differently_are_told_apart_by_their_users()
    {
        const string Before = """
            noinline int first(int a) { static int seen; return seen += a; }
            noinline int second(int a) { static int seen; return seen ^= a; }
            """;
        var pair = CPair.Compare(
            Before,
            """
            noinline int added(int a) { static int seen; return seen |= a; }
            """ + Before.Replace("^= a", "^= a + 1", StringComparison.Ordinal)
        );
        Assert.Equal(["second"], pair.Replaced);
        Assert.Equal(["added"], pair.New);
        // The variable of added is new; that of second is the kernel's, under the name that the kernel has for it.
        var (pre, needed) = (pair.Accepted.Pre, Assert.IsType<LocalSymbol>(Assert.Single(pair.Accepted.Needed)));
        var user = pre.Sections.Single(section => section.Name == ".text.second").Relocations[0];
        Assert.Equal(pre.Symbols[user.SymbolIndex].SectionIndex, needed.PreSection);
        Assert.Single(pair.Carried, name => name.StartsWith("seen.", StringComparison.Ordinal));
    }

    [Fact]
    public void A_static_local_keeps_its_place_in_a_function_that_gets_another_one()
    {
        var pair = CPair.Compare(
            "noinline int f(int a) { static int n = 4; return n += a; }",
            "noinline int f(int a) { { static int n = 9; probe(n++); } { static int n = 4; return n += a; } }"
        );
        Assert.Equal(["f"], pair.Replaced);
        var needed = Assert.Single(pair.Accepted.Needed.OfType<LocalSymbol>());
        Assert.StartsWith("n.", needed.Name, StringComparison.Ordinal);
        Assert.Equal(9, Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.Data).Data.Span[0]);
    }

    [Fact]
    public void A_changed_string_replaces_its_user_and_is_carried()
    {
        const string Source = """
            noinline int f(int a) { printk("the old text %d", a); return printk("both say this"); }
            noinline int g(int a) { return printk("both say this") + a; }
            """;
        var pair = CPair.Compare(Source, Source.Replace("old text", "new text", StringComparison.Ordinal));
        Assert.Equal(["f"], pair.Replaced);
        var text = Assert.Single(pair.Accepted.Carried, piece => piece.Kind == CarriedKind.String);
        Assert.Equal("the new text %d\0", System.Text.Encoding.ASCII.GetString(text.Data.Span));
        Assert.Contains(new StringLiteral(CPair.Unit, "both say this"), pair.Accepted.Needed);
    }

    [Fact]
    public void Strings_at_other_places_of_their_section_are_the_same()
    {
        const string Source = """int f(int a) { return printk("kept"); }""";
        var pair = CPair.Compare(Source, """int g(int a) { return printk("comes first in the section"); }""" + "\n" + Source);
        Assert.Empty(pair.Replaced);
        Assert.Equal(["g"], pair.New);
    }

    [Fact]
    public void A_constant_that_only_replaced_code_uses_may_change()
    {
        const string Source = """
            static const int table[4] = { 3, 1, 4, 1 };
            noinline int f(unsigned a) { return table[a & 3] + 1; }
            """;
        var pair = CPair.Compare(
            Source,
            Source.Replace("4, 1 }", "4, 2 }", StringComparison.Ordinal).Replace("+ 1", "+ 2", StringComparison.Ordinal)
        );
        Assert.Equal(["f", "table"], pair.Carried);
        Assert.Equal(".rodata", pair.Piece("table").OutputSection);
        Assert.Empty(pair.Accepted.Needed);
    }

    [Fact]
    public void A_variable_of_the_kernel_is_bound_where_it_lies_in_the_pre_object()
    {
        const string Source =
            "static int a[4] = { 1 }, b[4] = { 2 }; int f(int i) { return a[i] + b[i]; } void w(int i) { a[i]++; b[i]++; }";
        var pair = CPair.Compare(Source, Source.Replace("a[i] + b[i]", "a[i] - b[i]", StringComparison.Ordinal), "-fno-data-sections");
        Assert.Equal(
            pair.Accepted.Pre.Symbols.Where(symbol => symbol.Name is "a" or "b")
                .Select(symbol => (symbol.Name, symbol.SectionIndex, symbol.Value))
                .Order(),
            pair.Accepted.Needed.Cast<LocalSymbol>().Select(symbol => (symbol.Name, symbol.PreSection, symbol.Offset)).Order()
        );
    }
}
