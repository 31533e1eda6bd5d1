// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Tests.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>Patched Makefiles add what kbuild would build of them, and nothing else may follow from them.</summary>
public sealed class AddedUnitsTests : IDisposable
{
    private const string Version = "proc-y\t+= version.o\n";

    private readonly TestTree _tree = new();
    private readonly DiagnosticBag _bag = [];

    public void Dispose() => _tree.Dispose();

    // Kernels of the other series are listed with other steps, and objtool sees their objects at the link (K2).
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task An_object_of_a_part_of_the_kernel_is_compiled_like_its_neighbours(bool newer)
    {
        var unit = await TheUnitAsync("fs/proc/Makefile", Version, Version + "proc-y += extra.o\n", "fs/proc/extra.c", newer);
        Assert.Null(unit.Module);
        var kernel = await PreparedAsync(newer);
        var like = kernel.Units.Find("fs/proc/version.c")!;
        Assert.Equal(like.Compiler.Select(Renamed), unit.Compiler);
        Assert.Equal(like.Objtool, unit.Objtool);
        Assert.Equal(like.LinkObjtool, unit.LinkObjtool);

        static string Renamed(string word) =>
            word.Replace("proc/version", "proc/extra", StringComparison.Ordinal)
                .Replace("proc/.version", "proc/.extra", StringComparison.Ordinal)
                .Replace("=version", "=extra", StringComparison.Ordinal)
                .Replace("\"version\"", "\"extra\"", StringComparison.Ordinal)
                .Replace("kmod_version", "kmod_extra", StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("fs/xfs/Makefile", "xfs_bio_io.o \\\n", "xfs_bio_io.o \\\n\t\t\t\t   xfs_extra.o \\\n", "fs/xfs/xfs_extra.c")]
    [InlineData("fs/xfs/Makefile", "xfs_bit.o \\\n", "xfs_bit.o \\\n\t\t\t\t   xfs_extra.o \\\n", "fs/xfs/libxfs/xfs_extra.c")]
    [InlineData("fs/xfs/Makefile", "xfs_bio_io.o \\\n", "xfs_bio_io.o \\\n\t\t\t\t   xfs_extra.o \\\n", "fs/xfs/xfs_extra.c", true)]
    public async Task An_object_of_a_module_s_list_is_the_module_s(
        string makefile,
        string old,
        string changed,
        string source,
        bool newer = false
    )
    {
        var unit = await TheUnitAsync(makefile, old, changed, source, newer);
        Assert.Equal("xfs", unit.Module);
        Assert.Contains("-DMODULE", unit.Compiler);
        var like = (await PreparedAsync(newer)).Units.Find("fs/xfs/xfs_super.c")!;
        Assert.Equal(like.Objtool, unit.Objtool);
        Assert.Equal(like.LinkObjtool, unit.LinkObjtool);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Assembly_of_a_module_is_the_module_s(bool newer)
    {
        var unit = await TheUnitAsync(
            "arch/x86/kvm/Makefile",
            "vmx/vmenter.o",
            "vmx/vmenter.o vmx/extra.o",
            "arch/x86/kvm/vmx/extra.S",
            newer
        );
        Assert.Equal("kvm_intel", unit.Module);
        Assert.Equal((await PreparedAsync(newer)).Units.Find("arch/x86/kvm/vmx/vmenter.S")!.LinkObjtool, unit.LinkObjtool);
    }

    [Theory]
    [InlineData("proc-$(CONFIG_NO_MMU) += extra.o\n", "builds it only with CONFIG_NO_MMU, which the configuration of ")]
    [InlineData("proc2-y += extra.o\n", "the list of fs/proc/Makefile that names it is not built in the configuration of ")]
    [InlineData("version-y := extra.o\n", "the list of fs/proc/Makefile that names it is not built in the configuration of ")]
    public async Task A_source_whose_list_is_not_built_is_refused_by_the_option(string line, string message)
    {
        Assert.Null(await FindAsync("fs/proc/Makefile", Version, Version + line, "fs/proc/extra.c"));
        var error = Patches.TheError(_bag);
        Assert.Equal("KSP1034", error.Id);
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("obj-m += extra.o\n", "it makes a module of its own of fs/proc/extra.c (extra)")]
    [InlineData("obj-m += more.o\nmore-y := extra.o\n", "it makes a module of its own of fs/proc/extra.c (more)")]
    [InlineData("proc-y += extra.o nowhere.o\n", "make does not take it: ")]
    [InlineData("obj-m += extra.o\n", "it makes a module of its own of fs/proc/extra.c (extra)", true)]
    [InlineData("proc-y += extra.o nowhere.o\n", "make does not take it: ", true)]
    public async Task What_does_more_than_to_add_objects_is_refused(string line, string message, bool newer = false)
    {
        Assert.Null(await FindAsync("fs/proc/Makefile", Version, Version + line, "fs/proc/extra.c", newer));
        var error = Patches.TheError(_bag);
        Assert.Equal(("KSP1025", "test.patch"), (error.Id, error.Location!.Path));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("fs/proc/Makefile", "proc-y\t+= util.o\n", "proc-y\t+= extra.o\n", "it takes fs/proc/util.c out of the build")]
    [InlineData("fs/quota/Makefile", "\t+= dquot.o\n", "\t+= dquot.o\ndquot-y := extra.o\n", "it takes fs/quota/dquot.c out of the build")]
    [InlineData("fs/xfs/Makefile", "xfs_bio_io.o \\\n", "extra.o \\\n", "it takes fs/xfs/xfs_bio_io.c out of the build")]
    [InlineData(
        "arch/x86/kvm/Makefile",
        "+= svm/svm.o",
        "+= extra.o vmx/vmx.o svm/svm.o",
        "it changes how arch/x86/kvm/vmx/vmx.c is compiled"
    )]
    public async Task A_list_that_loses_or_moves_an_object_is_refused(string makefile, string old, string changed, string message)
    {
        Assert.Null(await FindAsync(makefile, old, changed, Path.GetDirectoryName(makefile) + "/extra.c"));
        Assert.Contains(message, Patches.TheError(_bag).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_part_of_an_image_of_its_own_is_refused_by_the_image()
    {
        Assert.Null(await FindAsync("arch/x86/realmode/Makefile", "obj-y += init.o", "obj-y += init.o ../purgatory/stack.o"));
        Assert.Contains("kexec's purgatory", Patches.TheError(_bag).Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_Makefile_that_adds_nothing_is_told_and_nothing_else_counts()
    {
        Assert.Null(await FindAsync("fs/proc/Makefile", Version, Version + "# proc-y += extra.o\n"));
        Assert.Equal(["KSP1021", "KSP1026"], _bag.Select(diagnostic => diagnostic.Id).Order(StringComparer.Ordinal));
    }

    // What kbuild prints for a folder is what it prints for the kernel.
    [Theory]
    [InlineData("fs/proc", false)]
    [InlineData("fs/xfs", false)]
    [InlineData("kernel", false)]
    [InlineData("arch/x86/kvm", false)]
    [InlineData("fs/proc", true)]
    [InlineData("arch/x86/kvm", true)]
    public async Task A_folder_s_listing_has_the_units_of_the_configuration_and_leaves_the_prepared_tree_as_it_is(string folder, bool newer)
    {
        var kernel = await PreparedAsync(newer);
        var before = Snapshot(kernel.OutputDirectory);
        FolderListing.LinkOutput(kernel, _tree["links"]);
        var listing = await FolderListing.ReadAsync(
            kernel,
            _tree["links"],
            kernel.SourceDirectory,
            folder,
            _bag,
            TestContext.Current.CancellationToken
        );
        Assert.Equal("", listing!.Errors);
        Assert.Equal(before, Snapshot(kernel.OutputDirectory));
        var expected = kernel.Units.Units.Where(unit => unit.Object.StartsWith(folder + "/", StringComparison.Ordinal)).ToList();
        Assert.True(expected.Count > 25);
        Assert.Equal(expected.Select(Words), listing.Units.Units.Select(Words));

        static string Words(CompilationUnit unit) =>
            $"{unit.Object} {unit.Module} {string.Join(' ', unit.Compiler)} {string.Join(' ', unit.Objtool)}";
    }

    [Fact]
    public async Task A_unit_that_an_update_below_added_is_its_own_and_what_this_one_adds_is_new()
    {
        var cancellation = TestContext.Current.CancellationToken;
        var kernel = await KernelUnderTest.PreparedAsync();
        var includes = await IncludeIndex.OpenAsync(kernel, NullLogger.Instance, cancellation);
        string makefile = await File.ReadAllTextAsync(Path.Combine(kernel.SourceDirectory, "fs/proc/Makefile"), cancellation);
        var lower = Patches.Parse(
            await KernelTree.ChangeAsync(kernel.Release.Release, "fs/proc/Makefile", (Version, Version + "proc-y += extra.o\n"))
                + KernelTree.Added("fs/proc/extra.c", "int extra = 1;")
        );
        var upper = Patches.Parse("--- a/fs/proc/extra.c\n+++ b/fs/proc/extra.c\n@@ -1 +1 @@\n-int extra = 1;\n+int extra = 2;\n");
        int line = makefile[..makefile.IndexOf(Version, StringComparison.Ordinal)].Count(letter => letter == '\n') + 2;
        var more = Patches.Parse(
            $"--- a/fs/proc/Makefile\n+++ b/fs/proc/Makefile\n@@ -{line},2 +{line},3 @@\n proc-y += extra.o\n"
                + "+proc-y += more.o\n proc-y\t+= softirqs.o\n"
                + KernelTree.Added("fs/proc/more.c", "int more;")
        );
        var pre = PostTree.Write(kernel.SourceDirectory, _tree["pre"], [lower], _bag, cancellationToken: cancellation)!;
        foreach (SourcePatch[] patches in new SourcePatch[][] { [upper], [upper, more] })
        {
            var post = PostTree.Write(kernel.SourceDirectory, _tree["post"], [lower, .. patches], _bag, cancellationToken: cancellation);
            Assert.False(_bag.HasErrors, string.Join('\n', _bag));
            var changed = post! with { Files = post!.ChangesSince(pre) };
            var units = await AffectedUnits.FindAsync(kernel, changed, pre, includes, _bag, cancellation);
            Assert.False(_bag.HasErrors, string.Join('\n', _bag));
            Assert.Equal(
                patches.Length == 1
                    ? [("fs/proc/extra.o", UnitOrigin.Below)]
                    : [("fs/proc/extra.o", UnitOrigin.Below), ("fs/proc/more.o", UnitOrigin.New)],
                units!.Select(unit => (unit.Unit.Object, unit.Origin))
            );
        }
    }

    private static List<(string, DateTime)> Snapshot(string folder) =>
        [
            .. new DirectoryInfo(folder)
                .EnumerateFileSystemInfos("*", SearchOption.AllDirectories)
                .Select(file => (file.FullName, file.LastWriteTimeUtc))
                .OrderBy(file => file.FullName, StringComparer.Ordinal),
        ];

    private static async Task<PreparedKernel> PreparedAsync(bool newer) =>
        newer ? (await NewerKernel.PreparedAsync()).Kernel : await KernelUnderTest.PreparedAsync();

    private async Task<CompilationUnit> TheUnitAsync(string makefile, string old, string changed, string source, bool newer = false)
    {
        var units = await FindAsync(makefile, old, changed, source, newer);
        Assert.False(_bag.HasErrors, string.Join('\n', _bag));
        var unit = Assert.Single(units!);
        Assert.Equal((source, UnitOrigin.New), (unit.Unit.Source, unit.Origin));
        return unit.Unit;
    }

    private async Task<IReadOnlyList<AffectedUnit>?> FindAsync(
        string makefile,
        string old,
        string changed,
        string? source = null,
        bool newer = false
    )
    {
        var cancellation = TestContext.Current.CancellationToken;
        var kernel = await PreparedAsync(newer);
        var includes = await IncludeIndex.OpenAsync(kernel, NullLogger.Instance, cancellation);
        string patch =
            await KernelTree.ChangeAsync(kernel.Release.Release, makefile, (old, changed))
            + (source is null ? "" : KernelTree.Added(source, "/* Nothing. */"));
        var post = PostTree.Write(kernel.SourceDirectory, _tree["post"], [Patches.Parse(patch)], _bag, cancellationToken: cancellation);
        Assert.False(_bag.HasErrors, string.Join('\n', _bag));
        return await AffectedUnits.FindAsync(kernel, post!, null, includes, _bag, cancellation);
    }
}
