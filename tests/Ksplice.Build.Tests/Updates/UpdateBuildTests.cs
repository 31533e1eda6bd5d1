// SPDX-License-Identifier: MIT
// The spine by itself: what it gives for objects of the kernel under test. That each stage runs once, and that a result does not depend on
// who asks for which stage first, is what the tasks of a build rely on.
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Analysis;
using Ksplice.Build.Tests.Differencing;
using Ksplice.Build.Tests.Documentation;
using Ksplice.Build.Tests.Kernel;
using Ksplice.Build.Updates;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Updates;

public sealed class UpdateBuildTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("ksplice-update-");

    public void Dispose() => _folder.Delete(recursive: true);

    private UnitObjects Write(AnalyzedUnit unit)
    {
        string stem = Path.Combine(_folder.FullName, Path.GetFileNameWithoutExtension(unit.Source));
        File.WriteAllBytes(stem + ".pre.o", ElfWriter.Write(unit.Pre));
        File.WriteAllBytes(stem + ".post.o", ElfWriter.Write(unit.Post));
        return new(unit.Source, unit.Module, stem + ".pre.o", stem + ".post.o");
    }

    private async Task<UpdateInputs> KernelAsync(params (string File, string Old, string New)[] changes)
    {
        var patched = await PatchedKernel.ChangeAsync([.. changes.Select(change => change.File).Distinct()], changes);
        return new()
        {
            UpdateId = "0123abcd",
            Units = [.. patched.Units.Select(Write)],
            Release = (await KernelUnderTest.PreparedAsync()).Release,
            Kernel = patched.Kernel,
            SourceRoot = patched.SourceRoot,
        };
    }

    private const string Version = "static int version_proc_show(struct seq_file *m, void *v)\n{\n";

    [Fact]
    public async Task A_stage_runs_once_and_gives_the_same_whoever_asks_first()
    {
        var inputs = await KernelAsync(
            ("fs/proc/version.c", Version, Version + "\tpr_info(\"version\\n\");\n"),
            ("fs/proc/uptime.c", "\tidle_nsec = 0;\n", "\tidle_nsec = 1;\n")
        );
        UpdateBuild last = new(inputs),
            first = new(inputs);
        var cancellation = TestContext.Current.CancellationToken;
        var modules = last.Modules(cancellation);
        Assert.NotNull(modules.Value);
        Assert.NotNull(last.Judgement(cancellation).Value);
        Assert.NotNull(last.Matches(cancellation).Value);
        Assert.Same(modules, last.Modules(cancellation));
        _ = first.Judgement(cancellation);
        _ = first.Matches(cancellation);
        Assert.Equal(Content(last), Content(first));
        string[] stages = ["compare", "exports", "generate", "image", "judge", "match", "program", "read", "targets"];
        Assert.Equal(stages, last.Times.Select(time => time.Stage).Order(StringComparer.Ordinal));
        Assert.Equal(stages, first.Times.Select(time => time.Stage).Order(StringComparer.Ordinal));

        List<string> Content(UpdateBuild build) =>
            [
                .. build.Modules(cancellation).Value!.Targets.Select(target => Convert.ToHexString(ElfWriter.Write(target.Primary.Code))),
                .. build.Modules(cancellation).Value!.Targets.Select(target => Convert.ToHexString(target.Helper.MatchBytes.Span)),
                .. build.Judgement(cancellation).Diagnostics.Select(diagnostic => diagnostic.ToString()),
            ];
    }

    [Fact]
    public async Task What_is_refused_is_refused_by_the_same_rule_whichever_stage_is_asked()
    {
        var inputs = await KernelAsync(
            (
                "fs/proc/version.c",
                "static int __init proc_version_init(void)\n{\n",
                "static int __init proc_version_init(void)\n{\n\tpr_info(\"x\\n\");\n"
            )
        );
        UpdateBuild build = new(inputs);
        var cancellation = TestContext.Current.CancellationToken;
        var (differences, modules, judgement) = (
            build.Differences(cancellation),
            build.Modules(cancellation),
            build.Judgement(cancellation)
        );
        Assert.Null(differences.Value);
        Assert.Null(modules.Value);
        Assert.Null(judgement.Value);
        Assert.Equal("KSP3004", Assert.Single(differences.Diagnostics).Id);
        Assert.Equal(differences.Diagnostics, modules.Diagnostics);
        Assert.Contains(differences.Diagnostics[0], judgement.Diagnostics);
    }

    /// <summary>
    /// As a source that lacks the kernel's patches: most functions of the unit differ, the changed one among them, and one cause is told.
    /// </summary>
    [Theory]
    [InlineData("-fno-omit-frame-pointer", "KSP2077")]
    [InlineData("", null)]
    public async Task A_kernel_that_was_made_from_another_source_is_told_by_one_diagnostic(string options, string? id)
    {
        const string Unit = "fs/proc/task_mmu.c";
        const string Show = "static int show_smap(struct seq_file *m, void *v)\n{\n";
        var inputs = await KernelAsync((Unit, Show, Show + "\tpr_info(\"smap\\n\");\n"));
        var objects = Assert.Single(inputs.Units);
        var kernel = await KernelUnderTest.PreparedAsync();
        UnitCompiler compiler = new(kernel, NullLogger.Instance);
        var cancellation = TestContext.Current.CancellationToken;
        string[] added = options.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var unit = kernel.Units.Find(Unit)!;
        if (added.Length != 0)
            Assert.NotNull(await compiler.CompileAsync(unit, kernel.SourceDirectory, objects.Pre, added, [], cancellation));
        var matches = new UpdateBuild(inputs).Matches(cancellation);
        Assert.Equal(id is null, matches.Value is not null);
        Assert.Equal(id is null ? [] : [id], matches.Diagnostics.Select(diagnostic => diagnostic.Id));
    }

    [Fact]
    public async Task Exports_that_cannot_be_read_are_refused_by_the_same_rule_whichever_stage_is_asked()
    {
        var inputs = await KernelAsync(("fs/proc/version.c", Version, Version + "\tpr_info(\"version\\n\");\n"));
        UpdateBuild build = new(inputs with { Kernel = null, Release = inputs.Release! with { Headers = _folder.FullName } });
        var cancellation = TestContext.Current.CancellationToken;
        Assert.NotNull(build.Differences(cancellation).Value);
        Assert.Equal("KSP6006", Assert.Single(build.Kernel(cancellation).Diagnostics).Id);
        Assert.Null(build.Judgement(cancellation).Value);
        Assert.Null(build.Modules(cancellation).Value);
        Assert.Equal(build.Kernel(cancellation).Diagnostics, build.Judgement(cancellation).Diagnostics);
        Assert.Equal(build.Kernel(cancellation).Diagnostics, build.Modules(cancellation).Diagnostics);
    }

    [Fact]
    public void A_stage_that_was_canceled_can_be_asked_again()
    {
        var unit = PatchedKernel.OfC("int f(int a) { return probe(a); }", "int f(int a) { return probe(a) + 1; }").Units[0];
        UpdateBuild build = new(new() { UpdateId = "0123abcd", Units = [Write(unit)] });
        Assert.ThrowsAny<OperationCanceledException>(() => build.Differences(new CancellationToken(canceled: true)));
        Assert.Equal("f", Assert.Single(build.Differences(TestContext.Current.CancellationToken).Value![0].Replaced).Name);
    }

    // Of two local functions of one name in a unit, as assembly and linked units may have them, one place is shown: the first.
    [Fact]
    public void Two_functions_of_one_name_in_a_unit_are_described_by_the_first()
    {
        var unit = PatchedKernel.OfC("int f(int a) { return probe(a); }", "int f(int a) { return probe(a) + 1; }").Units[0];
        UpdateBuild build = new(new() { UpdateId = "0123abcd", Units = [Write(unit)] });
        var diffs = build.Differences(TestContext.Current.CancellationToken).Value!;
        TargetDiffs target = new(new UpdateTarget("0123abcd", UpdateTarget.KernelName, 0, 1), diffs);
        MatchData data = new([], [], [new(unit.Source, "f"), new(unit.Source, "f"), new("other/unit.c", "f")]);
        RunFunction[] places = [.. ((ulong[])[0x1000, 0x2000, 0x3000]).Select(at => new RunFunction("f", at, at + 16, at, 0, []))];
        MatchResult found = new(null, [], [.. places], []);
        var described = new UpdateDescriber("/none", "/none").Describe(
            build,
            KernelUnderTest.Image,
            [new(new(target, null, new ExportedSymbols([]), data), "vmlinux", found)],
            null,
            new([]),
            []
        );
        var function = Assert.Single(Assert.Single(described.Units).Replaced);
        Assert.Equal(("f", new MatchedRange(0x1000, 0x10)), (function.Name, function.Code!.Place));
        Assert.Equal("f", Assert.Single(Assert.Single(described.Targets).Functions).Name);
    }

    [Fact]
    public void A_difference_is_what_the_schema_says()
    {
        var pair = CPair.Compare(
            "int f(int a) { return probe(a) + 1; } int h(int a) { return probe(a); }",
            "int f(int a) { printk(\"text\"); return probe(a) + 2; } int g(int a) { return probe(a); }",
            "-g",
            "-gbtf"
        );
        Schema.Check("difference.schema.json", UnitDescription.Of(pair.Accepted).ToJson());
        Schema.Check("difference.schema.json", UnitDescription.Nothing("fs/x.c").ToJson());
    }
}
