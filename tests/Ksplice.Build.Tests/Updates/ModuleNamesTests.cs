// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Updates;

namespace Ksplice.Build.Tests.Updates;

/// <summary>New functions of a shipped module, with names that it has already.</summary>
public sealed class ModuleNamesTests
{
    [Fact]
    public async Task KSP5022_a_new_function_with_the_name_of_one_that_the_module_has()
    {
        DiagnosticBag diagnostics = [];
        var module = (await ModulesUnderTest.AllAsync()).Open("nf_tables", diagnostics)!;
        Assert.Empty(diagnostics);
        string taken = module
            .Elf.Symbols.First(symbol =>
                symbol is { IsInSection: true, Type: ElfSymbolType.Function, Binding: ElfSymbolBinding.Global }
                && module.Elf.Sections[symbol.SectionIndex].Name == ".text"
            )
            .Name;
        const string Source = "int f(int a) { return probe(a); }";
        var diff = CPair
            .Compare(Source, $"int {taken}(int a) {{ return probe(a) * 3; }} int of_nobody_else(int a) {{ return a; }} {Source}")
            .Accepted;
        ModuleNames.Check(module, [diff], diagnostics);
        var error = Assert.Single(diagnostics);
        Assert.Equal(("KSP5022", CPair.Unit), (error.Id, error.Location!.Path));
        Assert.Contains($"'{taken}' has the name of a function of module nf_tables", error.Message, StringComparison.Ordinal);
        // One that another unit of the patch loses has moved.
        DiagnosticBag none = [];
        var loses = CPair.Compare($"int {taken}(int a) {{ return probe(a); }} {Source}", Source).Accepted;
        ModuleNames.Check(module, [diff, loses], none);
        Assert.Empty(none);
    }
}
