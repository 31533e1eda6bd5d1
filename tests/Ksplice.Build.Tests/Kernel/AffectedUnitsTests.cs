// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Tests.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>What a changed file reaches is what the compiler reads, and not what has its path.</summary>
public sealed class AffectedUnitsTests : IDisposable
{
    private readonly TestTree _tree = new();
    private readonly DiagnosticBag _bag = [];

    public void Dispose() => _tree.Dispose();

    [Fact]
    public async Task A_source_that_another_unit_includes_reaches_both() =>
        Assert.Equal(["fs/binfmt_elf.o", "fs/compat_binfmt_elf.o"], await ObjectsAsync("fs/binfmt_elf.c"));

    [Fact]
    public async Task A_source_of_which_a_unit_is_made_reaches_it_alone() =>
        Assert.Equal(["fs/proc/version.o"], await ObjectsAsync("fs/proc/version.c"));

    [Fact]
    public async Task A_source_of_which_no_unit_is_made_reaches_who_includes_it() =>
        Assert.Equal(["kernel/sched/build_policy.o"], await ObjectsAsync("kernel/sched/rt.c"));

    [Fact]
    public async Task A_source_that_is_compiled_into_another_image_too_reaches_that() =>
        Assert.Equal(["arch/x86/purgatory/sha256.o", "lib/crypto/sha256.o"], await ObjectsAsync("lib/crypto/sha256.c"));

    [Fact]
    public async Task A_source_that_only_another_image_includes_reaches_it()
    {
        var objects = await ObjectsAsync("lib/vdso/gettimeofday.c");
        Assert.Contains("arch/x86/entry/vdso/vclock_gettime.o", objects);
        Assert.Contains("arch/x86/entry/vdso/vdso32/vclock_gettime.o", objects);
    }

    [Fact]
    public async Task A_header_reaches_generated_sources()
    {
        var objects = await ObjectsAsync("include/linux/raid/pq.h");
        Assert.Contains("lib/raid6/int4.o", objects);
        Assert.Contains("lib/raid6/algos.o", objects);
    }

    [Fact]
    public async Task A_unit_that_kbuild_reaches_from_another_folder_is_reached_by_its_plain_path() =>
        Assert.Single(await ObjectsAsync("virt/kvm/kvm_main.c"), file => file.EndsWith("virt/kvm/kvm_main.o", StringComparison.Ordinal));

    [Fact]
    public async Task Files_that_are_not_in_the_configuration_are_told_where_others_count()
    {
        Assert.Equal(["fs/proc/version.o"], await ObjectsAsync("fs/proc/version.c", "fs/proc/nommu.c", "tools/lib/bpf/libbpf.c"));
        Assert.Equal(["fs/proc/nommu.c", "tools/lib/bpf/libbpf.c"], Reported("KSP1020").Select(told => told.Message.Split(' ')[0]));
        Assert.All(Reported("KSP1020"), told => Assert.Equal(DiagnosticSeverity.Info, told.Severity));
    }

    [Fact]
    public async Task Files_that_are_not_in_the_configuration_are_refused_by_name_where_nothing_else_counts()
    {
        Assert.Null(await FindAsync("fs/proc/nommu.c", "tools/lib/bpf/libbpf.c"));
        Assert.EndsWith("fs/proc/nommu.c, tools/lib/bpf/libbpf.c", Assert.Single(Reported("KSP1021")).Message, StringComparison.Ordinal);
    }

    // A file that an update below added has no place in the kernel's own tree, and so none in the index of who reads what.
    [Fact]
    public async Task A_file_that_an_update_below_added_reaches_who_that_update_made_to_read_it()
    {
        var units = await FindAboveAsync(
            KernelTree.Added("fs/proc/extra.h", "#define EXTRA 1") + await AfterFirstLineAsync("fs/proc/version.c", "#include \"extra.h\""),
            "--- a/fs/proc/extra.h\n+++ b/fs/proc/extra.h\n@@ -1 +1 @@\n-#define EXTRA 1\n+#define EXTRA 2\n"
        );
        Assert.Equal(["fs/proc/version.o"], units);
    }

    // In the kernel's own tree version.c does not read fd.h.
    [Fact]
    public async Task A_header_reaches_who_an_update_below_made_to_include_it()
    {
        string between = KernelTree.Added("fs/proc/between.h", "#include \"fd.h\""),
            above = await AfterFirstLineAsync("fs/proc/fd.h", "");
        string[] own = ["fs/proc/base.o", "fs/proc/fd.o"];
        foreach (
            var (line, reaches) in ((string, bool)[])
                [
                    ("#include \"fd.h\"", true),
                    ("#include \\\n\t\"fd.h\"", true),
                    ("#include \"between.h\"", true),
                    ("#ifdef NEVER\n#include \"fd.h\"\n#endif", false),
                    ("struct fd;", false),
                ]
        )
            Assert.Equal(
                [.. own, .. reaches ? (string[])["fs/proc/version.o"] : []],
                await FindAboveAsync(between + await AfterFirstLineAsync("fs/proc/version.c", line), above)
            );
        // Whoever reads what includes it now.
        var readers = (await FindAboveAsync(await AfterFirstLineAsync("fs/proc/internal.h", "#include \"fd.h\""), above)).ToList();
        Assert.True(readers.Count > 15);
        Assert.Contains("fs/proc/version.o", readers);
        Assert.Equal(await ObjectsAsync("fs/proc/internal.h"), readers);
    }

    [Fact]
    public async Task A_source_reaches_who_an_update_below_made_to_include_it()
    {
        var units = await FindAboveAsync(
            await AfterFirstLineAsync("fs/proc/version.c", "#include \"cmdline.c\""),
            await AfterFirstLineAsync("fs/proc/cmdline.c", "")
        );
        Assert.Equal(["fs/proc/cmdline.o", "fs/proc/version.o"], units);
    }

    private IEnumerable<Diagnostic> Reported(string id) => _bag.Where(diagnostic => diagnostic.Id == id);

    private static async Task<string> AfterFirstLineAsync(string file, string line)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        string first = File.ReadLines(Path.Combine(kernel.SourceDirectory, file)).First() + "\n";
        return await KernelTree.ChangeAsync(kernel.Release.Release, file, (first, $"{first}{line}\n"));
    }

    // The objects that a patch reaches on top of another one, by the files that it changes itself.
    private async Task<IEnumerable<string>> FindAboveAsync(string lower, string upper)
    {
        var cancellation = TestContext.Current.CancellationToken;
        var kernel = await KernelUnderTest.PreparedAsync();
        var includes = await IncludeIndex.OpenAsync(kernel, NullLogger.Instance, cancellation);
        var (below, above) = (Patches.Parse(lower), Patches.Parse(upper));
        // As a build asks for it, so that folders are real where files may be included.
        var pre = PostTree.Write(kernel.SourceDirectory, _tree["pre"], [below], _bag, includes.MayBeIncluded, cancellation)!;
        var post = PostTree.Write(kernel.SourceDirectory, _tree["above"], [below, above], _bag, includes.MayBeIncluded, cancellation)!;
        var changed = post with { Files = post.ChangesSince(pre) };
        Assert.Equal(above.Files.Select(file => file.Path), changed.Files.Select(file => file.Path));
        var units = await AffectedUnits.FindAsync(kernel, changed, pre, includes, _bag, cancellation);
        Assert.False(_bag.HasErrors, string.Join('\n', _bag));
        return units!.Select(unit => unit.Unit.Object);
    }

    private async Task<List<string>> ObjectsAsync(params string[] files)
    {
        var units = await FindAsync(files);
        Assert.False(_bag.HasErrors, string.Join('\n', _bag));
        return [.. units!.Select(unit => unit.Unit.Object)];
    }

    // Each file gets an empty line more.
    private async Task<IReadOnlyList<AffectedUnit>?> FindAsync(params string[] files)
    {
        var cancellation = TestContext.Current.CancellationToken;
        var kernel = await KernelUnderTest.PreparedAsync();
        var includes = await IncludeIndex.OpenAsync(kernel, NullLogger.Instance, cancellation);
        string patch = string.Concat(
            files.Select(file =>
            {
                var context = File.ReadLines(Path.Combine(kernel.SourceDirectory, file)).Take(3).Select(line => $" {line}\n");
                return $"--- a/{file}\n+++ b/{file}\n@@ -1,3 +1,4 @@\n+\n{string.Concat(context)}";
            })
        );
        var post = PostTree.Write(kernel.SourceDirectory, _tree["post"], [Patches.Parse(patch)], _bag, cancellationToken: cancellation);
        Assert.False(_bag.HasErrors, string.Join('\n', _bag));
        return await AffectedUnits.FindAsync(kernel, post!, null, includes, _bag, cancellation);
    }
}
