// SPDX-License-Identifier: MIT
// Objects of a kernel with IBT and call padding, where objtool runs at the link only (K2).
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Tests.Differencing;

namespace Ksplice.Build.Tests.Kernel;

public sealed class NewerKernelTests
{
    private static readonly string[] Made =
    [
        ".orc_unwind",
        ".orc_unwind_ip",
        ".return_sites",
        ".call_sites",
        ".static_call_sites",
        ".ibt_endbr_seal",
    ];

    [Fact]
    public async Task The_headers_are_found_where_setup_unpacks_them_and_the_kernel_is_not_installed()
    {
        var (kernel, _) = await NewerKernel.PreparedAsync();
        Assert.True(File.Exists(kernel.Release.ModuleSymvers));
        Assert.True(File.Exists(Path.Combine(kernel.Release.Headers, "scripts", "Kbuild.include")), "the headers' links lead nowhere");
        Assert.All(
            kernel.Units.Units.Where(unit =>
                unit.Module is null && !unit.IsAssembly && unit.Source.StartsWith("fs/", StringComparison.Ordinal)
            ),
            unit => Assert.True(unit.Objtool.IsEmpty && unit.LinkObjtool.Contains("--link"), unit.Source)
        );
        // kbuild runs objtool on a module of one object when it compiles it, as it does on a linked one.
        var one = kernel.Units.Find("drivers/block/loop.c")!;
        Assert.Empty(one.Objtool);
        Assert.Equal([.. kernel.Units.Find("fs/open.c")!.LinkObjtool, "--module"], one.LinkObjtool);
    }

    [Fact]
    public async Task The_object_is_the_compilers_and_a_copy_has_objtools_tables_with_all_else_in_its_place()
    {
        var (pre, tables) = await NewerKernel.CompileAsync("fs/open.c");
        Assert.All(Made, name => Assert.DoesNotContain(pre.Sections, section => section.Name == name));
        Assert.All(Made, name => Assert.Contains(tables.Sections, section => section.Name == name));
        static IEnumerable<(string, ObjectRange)> Functions(ElfObject elf) =>
            ObjectGraph.Of(elf).Nodes.Where(node => node.IsCode).Select(node => (node.Name, node.Range));
        Assert.Equal(Functions(pre), Functions(tables));
        // objtool names the no-ops before functions; they are no functions.
        Assert.Contains(tables.Symbols, symbol => symbol.Name == "__pfx_do_sys_open");
        Assert.All(ObjectGraph.Of(pre).Nodes.Where(node => node is { Kind: NodeKind.Function, Role: SectionRole.Code }), node =>
            Assert.Equal(16ul, node.Padding)
        );
    }

    [Theory]
    [InlineData("fs/open.c")]
    [InlineData("fs/dcache.c")]
    [InlineData("kernel/sched/core.c")]
    public async Task Every_section_has_a_role_and_the_object_does_not_differ_from_itself(string unit)
    {
        var (pre, tables) = await NewerKernel.CompileAsync(unit);
        Assert.All(pre.Sections.Concat(tables.Sections).Where(section => section is { IsAllocated: true, Size: > 0 }), section =>
            Assert.True(SectionCatalog.Role(section) != SectionRole.Unknown, section.Name)
        );
        var diff = Differ.Compare(unit, pre, pre, []);
        Assert.True(diff!.IsEmpty);
    }
}
