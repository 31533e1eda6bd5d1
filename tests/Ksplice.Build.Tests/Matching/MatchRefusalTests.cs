// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Matching;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public class MatchRefusalTests
{
    private static string Check(MatchData data)
    {
        DiagnosticBag diagnostics = [];
        Assert.False(ImageMatch.Check(data, KernelUnderTest.Image, diagnostics).IsMatch);
        return Assert.Single(diagnostics).Id;
    }

    private static async Task<MatchData> FunctionAsync(string unit, string name)
    {
        var pre = await KernelObjects.CompileAsync(unit);
        return UnitMatch.Build(pre, unit, UnitMatch.Functions(pre).Single(function => function.Name == name), [], [])!;
    }

    [Fact]
    public async Task Equal_copies_of_one_name_are_not_guessed_between_where_the_file_has_nothing_beside_them() =>
        Assert.Equal("KSP4004", Check(await FunctionAsync("kernel/pid.c", "cpumask_weight.constprop.0")));

    [Fact]
    public async Task A_jump_label_where_the_redirect_would_be_and_no_fentry_site() =>
        Assert.Equal("KSP4006", Check(await FunctionAsync("arch/x86/kernel/tsc.c", "native_sched_clock")));

    [Fact]
    public async Task A_static_call_where_the_redirect_would_be_leaves_the_fentry_site()
    {
        DiagnosticBag diagnostics = [];
        var result = ImageMatch.Check(await FunctionAsync("kernel/printk/printk.c", "console_lock"), KernelUnderTest.Image, diagnostics);
        Assert.True(result.IsMatch, string.Join('\n', diagnostics));
        var function = Assert.Single(result.Functions);
        Assert.Equal(0ul, function.Jump);
        Assert.NotEqual(0ul, function.Fentry);
    }

    [Fact]
    public async Task A_function_that_another_unit_overrides() =>
        Assert.Equal("KSP4060", Check(await FunctionAsync("kernel/sys.c", "arch_prctl_spec_ctrl_get")));

    [Theory]
    [InlineData("boot_command_line", "init code or data, whose memory the kernel frees")]
    [InlineData("no_such_symbol_in_any_kernel", "no file has it that is compiled in this configuration")]
    public async Task What_new_code_needs_and_the_kernel_does_not_have_is_named_with_the_reason(string name, string reason)
    {
        const string Unit = "fs/proc/version.c";
        var pre = await KernelObjects.CompileAsync(Unit);
        var function = UnitMatch.Functions(pre).Single(function => function.Name == "version_proc_show");
        DiagnosticBag diagnostics = [];
        ImageMatch.Check(UnitMatch.Build(pre, Unit, function, [new GlobalSymbol(name)], [])!, KernelUnderTest.Image, diagnostics);
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP4005", error.Id);
        Assert.Contains($"a symbol without a value: {name}; ", error.Message, StringComparison.Ordinal);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_function_that_the_kernel_does_not_have()
    {
        var pre = CPair.Compile("int no_such_function_in_any_kernel(int x) { return x + 1; }");
        Assert.Equal("KSP4005", Check(UnitMatch.Build(pre, "x.c", Assert.Single(UnitMatch.Functions(pre)), [], [])!));
    }

    [Fact]
    public async Task A_function_of_the_kernel_itself_is_no_function_of_a_module()
    {
        var data = await FunctionAsync("kernel/sys.c", "prctl_set_mm");
        Assert.True(ImageMatch.Check(data, KernelUnderTest.Image, []).IsMatch);
        DiagnosticBag diagnostics = [];
        var result = ImageMatch.Check(data, await ModulesUnderTest.LoadAsync("loop"), KernelUnderTest.Image, diagnostics);
        Assert.False(result.IsMatch);
        var error = Assert.Single(diagnostics);
        Assert.Equal("KSP4005", error.Id);
        Assert.Contains("not in the module's", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Code_that_cannot_be_decoded()
    {
        var pre = CPair.Compile("int f(int x) { __asm__ volatile(\".byte 0x06\"); return x; }");
        DiagnosticBag diagnostics = [];
        Assert.Null(UnitMatch.Build(pre, "x.c", Assert.Single(UnitMatch.Functions(pre)), [], diagnostics));
        Assert.Equal("KSP4003", Assert.Single(diagnostics).Id);
    }

    [Fact]
    public void A_needed_object_that_no_code_leads_to()
    {
        var pre = CPair.Compile(
            """
            static int seen;
            section(".init.text") void set_up(void) { seen++; }
            int f(int x) { return x + 1; }
            """
        );
        var node = ObjectGraph.Of(pre).Nodes.Single(node => node.Name == "seen");
        DiagnosticBag diagnostics = [];
        Assert.Null(
            UnitMatch.Build(
                pre,
                "x.c",
                UnitMatch.Functions(pre).Single(function => function.Name == "f"),
                [new LocalSymbol("x.c", "seen", node.Section.Index, node.Start)],
                diagnostics
            )
        );
        Assert.Equal("KSP4002", Assert.Single(diagnostics).Id);
    }
}
