// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Tests.Patching;

namespace Ksplice.Build.Tests.Generation;

/// <summary>Module.symvers, the distribution's and broken ones.</summary>
public sealed class ExportedSymbolsTests
{
    [Fact]
    public void Reads_what_the_shipped_kernel_itself_exports()
    {
        string path = Path.Combine(KernelUnderTest.HeadersPath, "Module.symvers");
        var diagnostics = new DiagnosticBag();
        var exported = ExportedSymbols.Read(path, diagnostics);
        Assert.Empty(diagnostics);
        var lines = File.ReadAllLines(path).Select(line => line.Split('\t')).ToList();
        Assert.Equal(lines.Count(line => line[2] == "vmlinux") + ExportedSymbols.OfCore.Length, exported!.Count);
        Assert.Equal("", exported.Find("_printk")!.Namespace);
        Assert.Equal(lines.Single(line => line[1] == "_printk")[0], $"0x{exported.Find("_printk")!.Crc:x8}");
        var spaced = lines.First(line => line[2] == "vmlinux" && line[4].Length != 0);
        Assert.Equal(spaced[4], exported.Find(spaced[1])!.Namespace);
        Assert.Null(
            exported.Find(
                lines.First(line => line[2] != "vmlinux" && !lines.Exists(other => other[1] == line[1] && other[2] == "vmlinux"))[1]
            )
        );
    }

    [Fact]
    public async Task Adds_what_a_module_and_those_that_it_depends_on_export()
    {
        DiagnosticBag diagnostics = [];
        var module = (await ModulesUnderTest.AllAsync()).Open("nft_ct", diagnostics)!;
        var exported = ExportedSymbols.Read(Path.Combine(KernelUnderTest.HeadersPath, "Module.symvers"), diagnostics, module)!;
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
        Assert.Null(ExportedSymbols.Read(tree["Module.symvers"], diagnostics));
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
