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

    private const string Exported = " asm(\".section ___ksymtab+fresh,\\\"a\\\"; .long fresh - .; .previous\");";

    // A unit that brings one name and uses others.
    private static ObjectDiff Unit(string name, string brings, string more = "", params string[] uses)
    {
        string own = $"int {name}_changed(int a) {{ return probe(a)",
            calls = string.Concat(uses.Select(use => $" + {use}(a)"));
        DiagnosticBag diagnostics = [];
        var diff = Differ.Compare(
            name + ".c",
            CPair.Compile($"{own}; }}"),
            CPair.Compile(
                string.Concat(uses.Select(use => $"extern int {use}(int); "))
                    + (brings.Length == 0 ? "" : $"int {brings}(int a) {{ return probe(a) * 3; }} ")
                    + $"{own} + 1{calls}; }}{more}"
            ),
            diagnostics
        );
        Assert.True(diff is not null, string.Join('\n', diagnostics));
        return diff;
    }

    [Fact]
    public void A_module_uses_what_the_kernel_and_another_module_bring_and_they_are_loaded_first()
    {
        var targets = TargetDiffs.Split(
            "0123abcd",
            [
                new("vmlinux", Unit("v", "fresh")),
                new("aoe", Unit("a", "", "", "fresh", "shown")),
                new("loop", Unit("l", "", "", "fresh")),
                new("zram", Unit("z", "shown", Exported.Replace("fresh", "shown", StringComparison.Ordinal))),
            ],
            []
        )!;
        Assert.Equal(["vmlinux", "loop", "zram", "aoe"], targets.Select(target => target.Target.Name));
        Assert.Equal([0, 1, 2, 3], targets.Select(target => target.Target.Index));
        Assert.Equal(
            [
                [],
                ["vmlinux"],
                [],
                ["vmlinux", "zram"],
            ],
            targets.Select(target => target.Uses)
        );
        var fresh = Assert.Single(targets[0].Lent);
        Assert.Equal(("fresh", "ksp_0123abcd_0_new_0000", "a.c"), (fresh.Name, fresh.ExportName, fresh.User));
        Assert.Equal("ksp_0123abcd_2_new_0000", Assert.Single(targets[2].Lent).ExportName);
        Assert.Equal([fresh, .. targets[2].Lent], targets[3].Borrowed);
        Assert.Empty(targets[3].Lent);
        // In one target they are one primary.
        Assert.Empty(
            Assert
                .Single(TargetDiffs.Split("0123abcd", [new("loop", Unit("l", "fresh")), new("loop", Unit("m", "", "", "fresh"))], [])!)
                .Borrowed
        );
    }

    [Fact]
    public void A_module_means_its_own_symbol_then_the_exported_one()
    {
        var targets = TargetDiffs.Split(
            "0123abcd",
            [
                new("vmlinux", Unit("v", "fresh")),
                new("loop", Unit("l", "fresh")),
                new("loop", Unit("m", "", "", "fresh")),
                new("nbd", Unit("n", "fresh", Exported)),
                new("zram", Unit("z", "", "", "fresh")),
            ],
            []
        )!;
        Assert.Empty(targets.Single(target => target.Target.Name == "loop").Borrowed);
        Assert.Equal(["nbd"], targets.Single(target => target.Target.Name == "zram").Uses);
    }

    [Fact]
    public void A_module_that_others_use_has_to_be_loaded_first_and_one_that_uses_may_come_later()
    {
        ExportedSymbols kernel = new([new("probe", "")]);
        var targets = TargetDiffs
            .Split("0123abcd", [new("zram", Unit("z", "fresh", Exported)), new("loop", Unit("l", "", "", "fresh"))], [])!
            .Select(target => target.LateIfPossible(kernel))
            .ToList();
        Assert.Equal(["zram", "loop"], targets.Select(target => target.Target.Name));
        Assert.Equal([false, true], targets.Select(target => target.Target.IsLate));
        Assert.Equal("new code of l.c uses 'fresh', which z.c brings", targets[0].LateObstacle);
    }

    [Fact]
    public void KSP6030_two_or_three_modules_that_use_each_others_symbols()
    {
        string Exports(string name) => Exported.Replace("fresh", name, StringComparison.Ordinal);
        string both = Refused(
            "KSP6030",
            new("loop", Unit("l", "of_loop", Exports("of_loop"), "of_zram")),
            new("zram", Unit("z", "of_zram", Exports("of_zram"), "of_loop"))
        );
        Assert.StartsWith(
            "New code of l.c refers to 'of_zram', which z.c brings with the update of zram: "
                + "new code of z.c to 'of_loop', which l.c brings with the update of loop. ",
            both,
            StringComparison.Ordinal
        );
        string three = Refused(
            "KSP6030",
            new("aoe", Unit("a", "", "", "of_loop")),
            new("loop", Unit("l", "of_loop", Exports("of_loop"), "of_zram")),
            new("nbd", Unit("n", "of_nbd", Exports("of_nbd"), "of_loop")),
            new("zram", Unit("z", "of_zram", Exports("of_zram"), "of_nbd"))
        );
        Assert.Contains("'of_zram'", three, StringComparison.Ordinal);
        Assert.Contains("z.c to 'of_nbd', which n.c", three, StringComparison.Ordinal);
        Assert.Contains("n.c to 'of_loop', which l.c", three, StringComparison.Ordinal);
        Assert.DoesNotContain("a.c", three, StringComparison.Ordinal);
    }

    [Fact]
    public void KSP6030_what_no_linker_would_find()
    {
        Assert.Contains(
            "with the update of loop: the kernel itself cannot use",
            Refused("KSP6030", new("vmlinux", Unit("v", "", "", "fresh")), new("loop", Unit("l", "fresh", Exported))),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "loop does not export it",
            Refused("KSP6030", new("zram", Unit("z", "", "", "fresh")), new("loop", Unit("l", "fresh"))),
            StringComparison.Ordinal
        );
        Assert.Contains(
            "n.c exports the same name with the update of nbd",
            Refused(
                "KSP6030",
                new("zram", Unit("z", "", "", "fresh")),
                new("loop", Unit("l", "fresh", Exported)),
                new("nbd", Unit("n", "fresh", Exported))
            ),
            StringComparison.Ordinal
        );
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
