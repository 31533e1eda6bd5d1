// SPDX-License-Identifier: MIT
// K22 and K29 on the shipped image and modules of 6.12, whose kernel overwrites each ENDBR that it thinks nobody needs.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public sealed class EndbrTests
{
    private const string Unit = "fs/open.c";

    [Fact]
    public async Task A_kernel_without_IBT_lets_everything_be_called()
    {
        Assert.False(KernelUnderTest.Image.HasIbt);
        Assert.True(
            KernelUnderTest.Image.HasEndbr(Assert.Single(new ImageMemory(KernelUnderTest.Image).Candidates("kallsyms_lookup_name")))
        );
        Assert.True((await NewerKernel.PreparedAsync()).Image.HasIbt);
    }

    // objtool takes an export for a use of the address; what is exported without ENDBR is code that nobody may call by a pointer.
    [Fact]
    public async Task Exported_functions_keep_their_ENDBR_and_the_others_are_refused_by_name()
    {
        var (kernel, image) = await NewerKernel.PreparedAsync();
        var (_, sites) = await NewerKernel.CompileAsync(Unit);
        var exported = File.ReadLines(kernel.Release.ModuleSymvers)
            .Select(line => line.Split('\t'))
            .Where(fields => fields[2] == "vmlinux")
            .Select(fields => (Name: fields[1], Address: image.FindExport(fields[1])))
            .Where(symbol => symbol.Address is { } address && image.IsSealable(address))
            .ToList();
        var without = exported.Where(symbol => !image.HasEndbr(symbol.Address!.Value)).Select(symbol => symbol.Name).ToList();
        Assert.True(exported.Count > 5000, $"{exported.Count} functions");
        Assert.DoesNotContain(without, name => image.Tables.Seals.Contains(image.FindExport(name)!.Value));
        Assert.NotEmpty(without);
        Assert.All(without, name =>
            Assert.Matches("^(__SCT__|__x86_(indirect|return)_|srso_alias_untrain_ret$|its_return_thunk$|x86_verw_sel$)", name)
        );
        foreach (string name in (string[])["filp_open", without[0]])
        {
            var diff = UnitMatch.Using(
                UnitMatch.Diff(sites, Unit, [UnitMatch.Functions(sites).First(function => function.Name == "vfs_open")]),
                new GlobalSymbol(name),
                isBranch: false
            );
            DiagnosticBag diagnostics = [];
            ImageMatch.Check(MatchDataBuilder.Build([diff], [], diagnostics)!, image, diagnostics);
            if (name == "filp_open")
                Assert.Empty(diagnostics);
            else
                Assert.Contains(
                    $"start of {name}, ",
                    Assert.Single(diagnostics, diagnostic => diagnostic.Id == "KSP4007").Message,
                    StringComparison.Ordinal
                );
        }
    }

    [Fact]
    public async Task An_address_that_only_matching_finds_is_refused_by_name_with_who_takes_it()
    {
        var (_, image) = await NewerKernel.PreparedAsync();
        var (_, sites) = await NewerKernel.CompileAsync(Unit);
        GlobalSymbol lookup = new("kallsyms_lookup_name");
        var diff = UnitMatch.Using(
            UnitMatch.Diff(sites, Unit, [UnitMatch.Functions(sites).First(function => function.Name == "vfs_open")]),
            lookup,
            isBranch: false
        );
        DiagnosticBag diagnostics = [];
        ImageMatch.Check(MatchDataBuilder.Build([diff], [lookup], diagnostics)!, image, diagnostics);
        var refusal = Assert.Single(diagnostics);
        Assert.Equal(("KSP4007", Unit), (refusal.Id, refusal.Location?.Path));
        Assert.Contains(
            "kallsyms_lookup_name, or the kernel overwrites it, and user takes its address",
            refusal.Message,
            StringComparison.Ordinal
        );
        // A direct call needs none.
        diagnostics = [];
        ImageMatch.Check(
            MatchDataBuilder.Build([UnitMatch.Using(diff, lookup, isBranch: true)], [lookup], diagnostics)!,
            image,
            diagnostics
        );
        Assert.Empty(diagnostics);
    }

    [Fact]
    public async Task An_ENDBR_may_be_overwritten_as_either_series_does_it_and_by_nothing_else()
    {
        var (_, image) = await NewerKernel.PreparedAsync();
        var (_, sites) = await NewerKernel.CompileAsync(Unit);
        ChangedMemory memory = new(new ImageMemory(image));
        byte[] data = UnitMatch
            .Build(sites, Unit, UnitMatch.Functions(sites).Single(function => function.Name == "vfs_open"), [], [])!
            .Bytes;
        ulong start = MatchInterpreter.Match(data, memory).Functions[0].Start;
        foreach (
            var (bytes, matches) in ((byte[], bool)[])
                [
                    ([0x66, 0x0f, 0x1f, 0x00], true),
                    ([0x0f, 0x1f, 0x40, 0xd6], true),
                    ([0x0f, 0x1f, 0x40, 0x00], false),
                    ([0xf3, 0x0f, 0x1e, 0xfb], false),
                ]
        )
        {
            memory.Write(start, bytes);
            var result = MatchInterpreter.Match(data, memory);
            Assert.Equal(matches, result.IsMatch);
            if (matches)
                Assert.Equal((start + 9, start + 4), (result.Functions[0].Jump, result.Functions[0].Fentry));
        }
    }

    // No fentry site shields the start of a function of assembly.
    [Theory]
    [InlineData("arch/x86/lib/getuser.S")]
    [InlineData("arch/x86/lib/csum-copy_64.S")]
    [InlineData("arch/x86/lib/memmove_64.S")]
    public async Task The_jump_stands_behind_the_ENDBR_of_a_function_of_assembly(string unit)
    {
        var (_, image) = await NewerKernel.PreparedAsync();
        var (_, sites) = await NewerKernel.CompileAsync(unit);
        ImageMemory memory = new(image);
        int functions = 0;
        foreach (var node in UnitMatch.Functions(sites).Where(node => KernelImage.IsEndbr(node.Bytes)))
        {
            var result = MatchInterpreter.Match(UnitMatch.Build(sites, unit, node, [], [])!.Bytes, memory);
            if (result.Failure?.Reason == MatchReason.NoRoom)
                continue;
            var function = Assert.Single(result.Functions);
            Assert.Equal((0ul, function.Start + 4), (function.Fentry, function.Jump));
            functions++;
        }
        Assert.NotEqual(0, functions);
    }

    [Theory]
    [InlineData("loop", "lo_release", true)] // in a structure of operations
    [InlineData("loop", "__loop_update_dio", false)] // static, and never had one
    [InlineData("nf_conntrack", "nf_ct_expectation_gc", false)] // of its own table
    [InlineData("nf_conntrack", "nf_ct_expect_related_report", true)] // exported
    public async Task A_modules_own_table_says_which_of_its_functions_may_be_called(string name, string function, bool callable)
    {
        DiagnosticBag diagnostics = [];
        var (kernel, image) = await NewerKernel.PreparedAsync();
        ShippedModules modules = new(kernel.Release);
        var module = LoadedModule.Load(modules.Open(name, diagnostics)!, modules, image, diagnostics)!;
        Assert.Equal(callable, new ModuleMemory(module, new ImageMemory(image)).HasEndbr(Assert.Single(module.Find(function))));
        Assert.Empty(diagnostics);
    }
}
