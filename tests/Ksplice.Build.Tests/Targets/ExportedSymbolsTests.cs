// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Targets;

/// <summary>Module.symvers, the distribution's and broken ones.</summary>
public sealed class ExportedSymbolsTests
{
    [Fact]
    public void Reads_what_the_shipped_kernel_itself_exports()
    {
        string path = Path.Combine(KernelUnderTest.HeadersPath, "Module.symvers");
        var diagnostics = new DiagnosticBag();
        var exported = KernelExports.Read(path, diagnostics)?.BesideTarget(null);
        Assert.Empty(diagnostics);
        Assert.NotNull(exported);
        var lines = File.ReadAllLines(path).Select(line => line.Split('\t')).ToList();
        var kernel = lines.Where(line => line[2] == "vmlinux").Select(line => line[1]).Concat(ExportedSymbols.OfCore).ToHashSet();
        Assert.True(kernel.Count > 5_000);
        Assert.All(lines.Select(line => line[1]).Concat(ExportedSymbols.OfCore), name =>
            Assert.Equal(kernel.Contains(name), exported.Find(name) is not null)
        );
        Assert.Equal("", exported.Find("_printk")!.Namespace);
        var spaced = lines.First(line => line[2] == "vmlinux" && line[4].Length != 0);
        Assert.Equal(spaced[4], exported.Find(spaced[1])!.Namespace);
    }

    [Fact]
    public void What_is_exported_to_modules_of_certain_names_is_not_for_an_update()
    {
        using var tree = new TestTree();
        tree.Write(
            "Module.symvers",
            "0x00000001\tfor_all\tvmlinux\tEXPORT_SYMBOL_GPL\tSPACE\n0x00000002\tfor_kvm\tvmlinux\tEXPORT_SYMBOL_GPL\tmodule:kvm,kvm-amd\n"
        );
        var exported = KernelExports.Read(tree["Module.symvers"], [])!.BesideTarget(null);
        Assert.Equal("SPACE", exported.Find("for_all")!.Namespace);
        Assert.Null(exported.Find("for_kvm"));
    }

    [Fact]
    public async Task Adds_what_a_module_and_those_that_it_depends_on_export()
    {
        DiagnosticBag diagnostics = [];
        var module = (await ModulesUnderTest.AllAsync()).Open("nft_ct", diagnostics)!;
        var exported = KernelExports.Read(Path.Combine(KernelUnderTest.HeadersPath, "Module.symvers"), diagnostics)!.BesideTarget(module);
        Assert.Empty(diagnostics);
        Assert.Contains("nf_tables", module.Depends);
        Assert.NotNull(exported.Find("_printk"));
        Assert.NotNull(exported.Find("nft_register_expr"));
        Assert.Null(exported.Find("fuse_conn_get"));
    }

    [Theory]
    [InlineData(null, 0)]
    [InlineData("", 0)]
    [InlineData("0x00000001\tf\tfs/some/module\tEXPORT_SYMBOL\t\n", 0)]
    [InlineData("0x00000001\tf\tvmlinux\tEXPORT_SYMBOL\t\nnonsense\n", 2)]
    [InlineData("00000001\tf\tvmlinux\tEXPORT_SYMBOL\t\n", 1)]
    [InlineData("0x0000000g\tf\tvmlinux\tEXPORT_SYMBOL\t\n", 1)]
    [InlineData("0x00000001\tf\tvmlinux\n", 1)]
    public void KSP6006_list_that_is_not_usable(string? content, int line)
    {
        using var tree = new TestTree();
        if (content is not null)
            tree.Write("Module.symvers", content);
        var diagnostics = new DiagnosticBag();
        Assert.Null(KernelExports.Read(tree["Module.symvers"], diagnostics));
        Assert.Equal(("KSP6006", line), (Assert.Single(diagnostics).Id, diagnostics.First().Location!.Line));
    }

    [Fact]
    public void Knows_what_the_core_exports_for_new_code()
    {
        string source = File.ReadAllText(Repository.At("src", "Ksplice.Kernel", "core", "shadow.c"));
        Assert.Equal(
            ExportedSymbols.OfCore,
            System
                .Text.RegularExpressions.Regex.Matches(source, @"EXPORT_SYMBOL_GPL\((\w+)\)")
                .Select(match => match.Groups[1].Value)
                .Order(StringComparer.Ordinal)
        );
    }
}
