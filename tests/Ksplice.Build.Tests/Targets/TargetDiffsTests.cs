// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Differencing;

namespace Ksplice.Build.Tests.Targets;

/// <summary>Which targets an update has, and what they may not ask of each other.</summary>
public sealed class TargetDiffsTests
{
    private static readonly ObjectDiff Changed = CPair
        .Compare("int f(int a) { return probe(a); }", "int f(int a) { return probe(a) + 1; }")
        .Accepted;
    private static readonly ObjectDiff Same = CPair.Compare("int f(int a) { return a; }", "int f(int a) { return a; }").Accepted;

    private static string Refused(string id, params UnitDiff[] units)
    {
        DiagnosticBag diagnostics = [];
        Assert.Null(TargetDiffs.Split("0123abcd", units, diagnostics));
        var error = Assert.Single(diagnostics);
        Assert.Equal(id, error.Id);
        return error.Message;
    }

    [Fact]
    public void The_kernel_comes_first_and_modules_by_name_and_what_does_not_change_is_no_target()
    {
        var targets = TargetDiffs.Split(
            "0123abcd",
            [new("zram", Changed), new("fuse", Same), new("loop", Same), new("vmlinux", Changed), new("loop", Changed)],
            []
        )!;
        Assert.Equal(["vmlinux", "loop", "zram"], targets.Select(target => target.Target.Name));
        Assert.Equal([0, 1, 2], targets.Select(target => target.Target.Index));
        Assert.All(targets, target => Assert.Equal(3, target.Target.Count));
        Assert.Equal("ksp_0123abcd_2_0007", targets[2].Target.ExportName(7));
        // A composite module's units together, those that stay the same among them.
        Assert.Equal([Same, Changed], targets[1].Diffs);
    }

    [Fact]
    public void KSP6003_nothing_changes() => Refused("KSP6003", new UnitDiff("loop", Same));

    [Fact]
    public void KSP6030_new_code_that_needs_what_another_target_brings()
    {
        var brings = CPair
            .Compare("int f(int a) { return probe(a); }", "int fresh(int a) { return a * 3; } int f(int a) { return probe(a) + fresh(a); }")
            .Accepted;
        var needs = CPair
            .Compare("int fresh(int); int g(int a) { return probe(a); }", "int fresh(int); int g(int a) { return fresh(a); }")
            .Accepted;
        string message = Refused("KSP6030", new("vmlinux", brings), new("loop", needs));
        Assert.Contains("'fresh'", message, StringComparison.Ordinal);
        Assert.Contains("of vmlinux", message, StringComparison.Ordinal);
        // In one target they are one primary.
        Assert.Single(TargetDiffs.Split("0123abcd", [new("loop", brings), new("loop", needs)], [])!);
    }

    [Fact]
    public void KSP6004_a_function_that_moves_to_another_target()
    {
        var loses = CPair
            .Compare("int fresh(int a) { return a; } int f(int a) { return probe(a); }", "int f(int a) { return probe(a) + 1; }")
            .Accepted;
        var brings = CPair.Compare("int g(int a) { return a; }", "int fresh(int a) { return a; } int g(int a) { return a + 2; }").Accepted;
        Assert.Contains("'fresh' moved", Refused("KSP6004", new("vmlinux", loses), new("loop", brings)), StringComparison.Ordinal);
    }

    [Fact]
    public void KSP6031_a_unit_of_several_modules_or_of_one_without_a_name()
    {
        Assert.Contains("(one, two)", Refused("KSP6031", new UnitDiff("one:two", Changed)), StringComparison.Ordinal);
        Assert.Contains("kbuild does not name", Refused("KSP6031", new UnitDiff("", Changed)), StringComparison.Ordinal);
    }
}
