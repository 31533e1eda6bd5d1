// SPDX-License-Identifier: MIT
// K22: what the address of a replaced function binds to, when the compiler marks what may be called through a pointer.
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Tests.Differencing;

public sealed class EndbrBindingTests
{
    private const string Ibt = "-fcf-protection=branch";

    private const string Plain = """
        static noinline int helper(int value) { return probe(value) + 1; }
        int caller(int value) { return helper(value) + helper(value + 1); }
        """;

    private const string HandedOut = """
        static noinline int helper(int value) { return probe(value) + 1; }
        int caller(int value) { use(helper); return helper(value) + helper(value + 1); }
        """;

    [Fact]
    public void A_static_function_that_gets_its_first_ENDBR_is_handed_out_as_new_code_and_pins_it()
    {
        var pair = CPair.Compare(Plain, HandedOut, Ibt);
        Assert.Equal(["caller", "helper"], pair.Replaced);
        var address = Assert.Single(pair.Piece("caller").References, reference => !reference.IsBranch);
        Assert.Equal("helper", pair.Accepted.Carried[address.Piece].Name);
        Assert.Equal(new PinReason(PinKind.Function, "caller", "helper"), Assert.Single(pair.Accepted.Pins));
        Assert.Empty(ObjectDiff.AddressesUsedBy([pair.Accepted]));
    }

    [Fact]
    public void Without_IBT_the_address_stays_the_originals()
    {
        var pair = CPair.Compare(Plain, HandedOut);
        var address = Assert.Single(pair.Piece("caller").References, reference => !reference.IsBranch);
        Assert.Equal("helper", Assert.IsType<LocalSymbol>(address.Symbol).Name);
        Assert.Empty(pair.Accepted.Pins);
    }

    // Old code may have handed the address out before: one function has one address.
    [Fact]
    public void A_replaced_function_that_had_an_ENDBR_keeps_its_address_and_the_image_decides()
    {
        const string Global = "int helper(int value) { return probe(value) + 1; }\nint caller(int value) { return helper(value) + 2; }";
        var pair = CPair.Compare(
            Global,
            Global
                .Replace("+ 1", "+ 7", StringComparison.Ordinal)
                .Replace("{ return helper", "{ use(helper); return helper", StringComparison.Ordinal),
            Ibt,
            "-fno-inline"
        );
        Assert.Equal(["caller", "helper"], pair.Replaced);
        Assert.Equal(
            new AddressUse(new GlobalSymbol("helper"), CPair.Unit, "caller"),
            Assert.Single(ObjectDiff.AddressesUsedBy([pair.Accepted]), use => use.Symbol.DisplayName == "helper")
        );
        Assert.Empty(pair.Accepted.Pins);
    }

    [Fact]
    public void Data_with_an_address_counts_and_a_branch_does_not()
    {
        const string Source = "extern int outer(int); int caller(int value) { return outer(value); }";
        var pair = CPair.Compare(
            Source,
            "extern int outer(int); extern int other(int); struct table { int (*call)(int); } table = { other }; "
                + "int caller(int value) { use(&table); return outer(value) + 1; }",
            Ibt
        );
        Assert.Equal(
            new AddressUse(new GlobalSymbol("other"), CPair.Unit, "table"),
            Assert.Single(ObjectDiff.AddressesUsedBy([pair.Accepted]), use => use.Symbol.DisplayName is "other" or "outer")
        );
    }
}
