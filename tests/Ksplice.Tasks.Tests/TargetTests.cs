// SPDX-License-Identifier: MIT
// Loadable modules, alone and beside the kernel, in one project.
using System.Text.Json;
using Ksplice.Build.Elf;

namespace Ksplice.Tasks.Tests;

public sealed class TargetTests
{
    private static string Loop { get; } = File.ReadAllText(Repository.At("samples", "d-loop-backing-file", "loop-backing-file.patch"));

    // compact_store is a static function of the kernel too.
    private static Task<string> ZramAsync() =>
        Patches.ChangeAsync(
            "drivers/block/zram/zram_drv.c",
            "\tif (!init_done(zram)) {\n\t\tup_read(&zram->init_lock);\n\t\treturn -EINVAL;\n\t}\n\n\tzs_compact",
            "\tif (!init_done(zram)) {\n\t\tup_read(&zram->init_lock);\n\t\treturn -ENODEV;\n\t}\n\n\tzs_compact"
        );

    // Guests show what the samples do on the kernel under test (SampleTests).
    [Fact]
    public async Task The_samples_build_for_the_newer_series_without_a_word_of_kbuild()
    {
        using PatchProject project = new(await NewerSeries.ReleaseAsync());
        foreach (
            string patch in Directory.GetDirectories(Repository.At("samples")).SelectMany(sample => Directory.GetFiles(sample, "*.patch"))
        )
            project.Write(Path.GetFileName(patch), await File.ReadAllTextAsync(patch, TestContext.Current.CancellationToken));
        var result = (await project.BuildAsync()).MustSucceed();
        Assert.DoesNotContain("KSP6008", result.Output, StringComparison.Ordinal);
        using var manifest = JsonDocument.Parse(
            await File.ReadAllBytesAsync(Path.Combine(project.Package, "manifest.json"), TestContext.Current.CancellationToken)
        );
        var functions = manifest
            .RootElement.GetProperty("targets")
            .EnumerateArray()
            .SelectMany(target => target.GetProperty("functions").EnumerateArray())
            .Select(function => function.GetProperty("name").GetString());
        // Two patches of one file may make the compiler inline further functions.
        string?[] wanted = ["devkmsg_read", "loop_attr_do_show_backing_file", "m_next", "m_start", "show_smap"];
        Assert.Empty(wanted.Except(functions));
    }

    [Fact]
    public async Task The_kernel_and_two_modules_make_three_pairs_and_a_second_build_makes_nothing()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("1-loop.patch", Loop);
        project.Write("2-smaps.patch", Patches.Smaps);
        project.Write("3-zram.patch", await ZramAsync());
        var first = new BuildLog((await project.BuildAsync()).MustSucceed());
        Assert.Equal(6, first.Compiled.Count);
        using var manifest = JsonDocument.Parse(
            await File.ReadAllBytesAsync(Path.Combine(project.Package, "manifest.json"), TestContext.Current.CancellationToken)
        );
        Assert.Equal(
            [
                $"vmlinux ksplice_{project.Id}_0_helper.ko ksplice_{project.Id}_0_primary.ko show_smap",
                $"loop ksplice_{project.Id}_1_helper.ko ksplice_{project.Id}_1_primary.ko loop_attr_do_show_backing_file",
                $"zram ksplice_{project.Id}_2_helper.ko ksplice_{project.Id}_2_primary.ko compact_store",
            ],
            manifest
                .RootElement.GetProperty("targets")
                .EnumerateArray()
                .Select(target =>
                    $"{target.GetProperty("name")} {target.GetProperty("helper")} {target.GetProperty("primary")} "
                    + string.Join(' ', target.GetProperty("functions").EnumerateArray().Select(function => function.GetProperty("name")))
                )
        );
        Assert.Equal(8, Directory.GetFiles(project.Package, "*.ko").Length);
        // Each primary is bound to the exports of its own helper, if to any; a late one's fields are left to the core, as
        // zram's use of what zsmalloc exports.
        for (int i = 0; i < 3; i++)
        {
            string path = Path.Combine(project.Package, $"ksplice_{project.Id}_{i}_primary.ko");
            var undefined = ElfObject
                .Read(await File.ReadAllBytesAsync(path, TestContext.Current.CancellationToken), path)
                .Symbols.Where(symbol => symbol.IsUndefined)
                .Select(symbol => symbol.Name)
                .ToList();
            // The data module is all targets'; only the kernel's new code hands a string out.
            var ours = undefined.Where(name => name.StartsWith("ksp_", StringComparison.Ordinal)).ToLookup(name => name.Split('_')[2]);
            Assert.Equal(["data"], ours.Select(group => group.Key).Except([$"{i}"], StringComparer.Ordinal));
            Assert.Equal(i == 0 ? 2 : 1, ours["data"].Count());
            Assert.Equal(i == 2, undefined.Contains("ksplice_unresolved"));
            Assert.DoesNotContain("zs_compact", undefined);
        }
        var before = Directory.GetFiles(project.Package).ToDictionary(file => file, File.GetLastWriteTimeUtc);
        var second = new BuildLog((await project.BuildAsync()).MustSucceed());
        Assert.Empty(second.Compiled);
        Assert.DoesNotContain(second.Ran, name =>
            name is "KspliceDiff" or "KspliceMatch" or "KspliceGenerate" or "KspliceLink" or "KsplicePackage"
        );
        Assert.All(before, file => Assert.Equal(file.Value, File.GetLastWriteTimeUtc(file.Key)));

        // One target less: its modules do not stay in the package.
        File.Delete(project.At("3-zram.patch"));
        (await project.BuildAsync()).MustSucceed();
        Assert.Equal(6, Directory.GetFiles(project.Package, "*.ko").Length);
    }

    [Fact]
    public async Task Assembly_of_a_module()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("sha1.patch", await Patches.ChangeAsync("arch/x86/crypto/sha1_ni_asm.S", "\tRET\n", "\tnop\n\tRET\n"));
        (await project.BuildAsync()).MustSucceed();
        using var manifest = JsonDocument.Parse(
            await File.ReadAllBytesAsync(Path.Combine(project.Package, "manifest.json"), TestContext.Current.CancellationToken)
        );
        Assert.Equal("sha1_ssse3", manifest.RootElement.GetProperty("targets")[0].GetProperty("name").GetString());
    }

    [Fact]
    public async Task What_a_module_does_only_when_it_is_loaded_or_unloaded_must_not_change()
    {
        using PatchProject project = new(Patches.Release);
        (string Old, string Changed)[] changes =
        [
            ("\t\terr = -EIO;", "\t\terr = -EBUSY;"),
            (
                "\tunregister_blkdev(LOOP_MAJOR, \"loop\");\n\tmisc_deregister(&loop_misc);",
                "\tmisc_deregister(&loop_misc);\n\tunregister_blkdev(LOOP_MAJOR, \"loop\");"
            ),
            (
                "module_param(max_part, int, 0444);\nMODULE_PARM_DESC(max_part, \"Maximum",
                "module_param(max_part, int, 0644);\nMODULE_PARM_DESC(max_part, \"Largest"
            ),
        ];
        for (int i = 0; i < changes.Length; i++)
            project.Write($"{i}.patch", await Patches.ChangeAsync("drivers/block/loop.c", changes[i].Old, changes[i].Changed));
        var build = await project.BuildAsync();
        build.MustFailWith("KSP3004");
        foreach (
            string what in (string[])
                ["KSP3004: 'init_module'", "KSP3004: 'cleanup_module'", "KSP3005: Section .modinfo", "KSP3005: Section __param"]
        )
            Assert.Contains(what, build.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task KSP2030_modules_that_are_not_where_the_project_says()
    {
        using PatchProject project = new(Patches.Release, ("KernelModules", "nowhere"));
        project.Write("loop.patch", Loop);
        Assert.Contains("module loop", (await project.BuildAsync()).MustFailWith("KSP2030"), StringComparison.Ordinal);
    }
}
