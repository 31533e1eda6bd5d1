// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Generation;

/// <summary>Static keys against the shipped image's read-only-after-init memory.</summary>
public sealed class StaticKeyCheckTests
{
    private static readonly KernelImage Image = KernelUnderTest.Image;

    [Fact]
    public void KSP6010_key_that_is_read_only_after_init()
    {
        var (start, end) = (
            Image.Symbols.FindUnique("__start_ro_after_init")!.Value,
            Image.Symbols.FindUnique("__end_ro_after_init")!.Value
        );
        Assert.True(start < end);
        var key = Image.Symbols.Symbols.First(symbol =>
            symbol.Address > start && symbol.Address < end && Image.Symbols.Find(symbol.Name).Count() == 1
        );
        var diagnostics = new DiagnosticBag();
        Assert.False(StaticKeyCheck.Check([Using(new GlobalSymbol(key.Name))], Image, diagnostics));
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP6010", error.Id);
        Assert.Contains($"'f' of {CPair.Unit} branches on '{key.Name}'", error.Message, StringComparison.Ordinal);
        Assert.False(StaticKeyCheck.Check([Using(new LocalSymbol(CPair.Unit, key.Name, 1, 0))], Image, new DiagnosticBag()));
    }

    [Theory]
    [InlineData("rcu_state")]
    [InlineData("a_name_that_the_image_does_not_have")]
    public void A_key_elsewhere_is_accepted(string name)
    {
        var diagnostics = new DiagnosticBag();
        Assert.True(StaticKeyCheck.Check([Using(new GlobalSymbol(name))], Image, diagnostics));
        Assert.Empty(diagnostics);
    }

    [Fact]
    public async Task A_module_has_keys_and_read_only_memory_of_its_own()
    {
        var module = await ModulesUnderTest.LoadAsync("ip_vs");
        Assert.True(module.IsReadOnlyAfterInit(module.Find("ip_vs_genl_family").Single()));
        DiagnosticBag diagnostics = [];
        Assert.False(StaticKeyCheck.Check([Using(new GlobalSymbol("ip_vs_genl_family"))], Image, diagnostics, module));
        Assert.Equal("KSP6010", Assert.Single(diagnostics).Id);
        Assert.True(StaticKeyCheck.Check([Using(new GlobalSymbol("ip_vs_genl_family"))], Image, []));
        Assert.True(StaticKeyCheck.Check([Using(new GlobalSymbol("ip_vs_conn_tab_bits"))], Image, [], module));
        // What the module does not have is the kernel's.
        ulong start = Image.Symbols.FindUnique("__start_ro_after_init")!.Value,
            end = Image.Symbols.FindUnique("__end_ro_after_init")!.Value;
        var key = Image.Symbols.Symbols.First(symbol => symbol.Address > start && symbol.Address < end && !module.Find(symbol.Name).Any());
        Assert.False(StaticKeyCheck.Check([Using(new GlobalSymbol(key.Name))], Image, [], module));
    }

    [Fact]
    public async Task A_kernel_that_seals_such_keys_takes_them_all()
    {
        var (_, image) = await NewerKernel.PreparedAsync();
        var (start, end) = (
            image.Symbols.FindUnique("__start_ro_after_init")!.Value,
            image.Symbols.FindUnique("__end_ro_after_init")!.Value
        );
        var key = image.Symbols.Symbols.First(symbol => symbol.Address > start && symbol.Address < end);
        Assert.True(StaticKeyCheck.Check([Using(new GlobalSymbol(key.Name))], image, []));
    }

    private static ObjectDiff Using(RunSymbol key) =>
        CPair.Compare("int f(int a) { return probe(a); }", "int f(int a) { return probe(a) + 1; }").Accepted with
        {
            StaticKeys = [new("f", key, "__jump_table")],
        };
}
