// SPDX-License-Identifier: MIT
// A patch that adds a source and has it built: its unit is new code of the kernel or of a module.
using System.Text.Json;

namespace Ksplice.Tasks.Tests;

public sealed class NewFileTests
{
    private const string Makefile = "fs/proc/Makefile";
    private const string Line = "proc-y\t+= version.o\n";

    // Called from version.c; it has a variable, and calls back.
    private const string Extra = """
        // SPDX-License-Identifier: GPL-2.0
        #include <linux/seq_file.h>

        void extra_show(struct seq_file *m);
        void version_show_one(struct seq_file *m, unsigned long number);

        static unsigned long extra_reads;

        void extra_show(struct seq_file *m)
        {
        	version_show_one(m, ++extra_reads);
        }
        """;

    private static async Task<string> AddedToProcAsync(string text, string line = "proc-y\t+= extra.o\n", string? release = null) =>
        await KernelTree.ChangeAsync(release ?? Patches.Release, Makefile, (Line, Line + line)) + KernelTree.Added("fs/proc/extra.c", text);

    private static Task<string> VersionAsync(string? release = null) =>
        KernelTree.ChangeAsync(
            release ?? Patches.Release,
            "fs/proc/version.c",
            (
                "static int version_proc_show(",
                "void extra_show(struct seq_file *m);\nvoid version_show_one(struct seq_file *m, unsigned long number);\n\n"
                    + "void version_show_one(struct seq_file *m, unsigned long number)\n{\n\tseq_printf(m, \"%lu\\n\", number);\n}\n\n"
                    + "static int version_proc_show("
            ),
            ("\treturn 0;\n", "\textra_show(m);\n\treturn 0;\n")
        );

    private static async Task<PatchProject> ProjectAsync(string? release = null)
    {
        PatchProject project = new(release ?? Patches.Release);
        project.Write("fix.patch", await AddedToProcAsync(Extra, release: release) + await VersionAsync(release));
        return project;
    }

    private static JsonElement Unit(PatchProject project, string source)
    {
        string update = Assert.Single(Directory.GetFiles(project.At("obj"), "update.json", SearchOption.AllDirectories));
        return JsonDocument
            .Parse(File.ReadAllBytes(update))
            .RootElement.GetProperty("units")
            .EnumerateArray()
            .Single(unit => unit.GetProperty("unit").GetString() == source);
    }

    [Fact]
    public async Task All_of_a_new_unit_is_new_code_and_units_call_each_other()
    {
        using var project = await ProjectAsync();
        var result = (await project.BuildAsync()).MustSucceed();
        Assert.DoesNotContain("warning KSP", result.Output, StringComparison.Ordinal);
        Assert.Equal(4, new BuildLog(result).Compiled.Count);
        Assert.Equal(
            ["extra_show"],
            Unit(project, "fs/proc/extra.c").GetProperty("new").EnumerateArray().Select(function => function.GetString())
        );
        Assert.Equal(0, Unit(project, "fs/proc/extra.c").GetProperty("replaced").GetArrayLength());
        string manifest = File.ReadAllText(Path.Combine(project.Package, "manifest.json"));
        Assert.Contains("version_proc_show", manifest, StringComparison.Ordinal);
        CheckPrimary(project);

        // Nothing is made again, until the new file changes; then its post object is.
        Assert.Empty(new BuildLog((await project.BuildAsync()).MustSucceed()).Compiled);
        project.Write(
            "fix.patch",
            await AddedToProcAsync(Extra.Replace("++extra_reads", "extra_reads += 2", StringComparison.Ordinal)) + await VersionAsync()
        );
        string compiled = Assert.Single(new BuildLog((await project.BuildAsync()).MustSucceed()).Compiled);
        Assert.StartsWith("compiling fs/proc/extra.c (post)", compiled, StringComparison.Ordinal);
    }

    // Neither unit calls the other through the kernel: readelf finds both functions in the primary, and no undefined symbol of them.
    private static void CheckPrimary(PatchProject project)
    {
        string primary = Assert.Single(Directory.GetFiles(project.Package, "*_primary.ko"));
        var symbols = Programs.Run("readelf", ["-sW", primary]).Output.Split('\n');
        foreach (string name in (string[])["extra_show", "version_show_one"])
        {
            string symbol = Assert.Single(symbols, line => line.EndsWith(" " + name, StringComparison.Ordinal));
            Assert.Contains(" FUNC ", symbol, StringComparison.Ordinal);
        }
    }

    // Its objects are seen by objtool at the link (K2), so the listing of the folder has no command of objtool.
    [Fact]
    public async Task A_new_file_is_brought_to_a_kernel_of_the_other_series()
    {
        using var project = await ProjectAsync(await NewerSeries.ReleaseAsync());
        (await project.BuildAsync()).MustSucceed();
        CheckPrimary(project);
    }

    [Fact]
    public async Task A_new_file_of_a_module_goes_into_the_module_s_primary()
    {
        using PatchProject project = new(Patches.Release);
        project.Write(
            "fix.patch",
            await Patches.ChangeAsync("fs/xfs/Makefile", "xfs_bio_io.o \\\n", "xfs_bio_io.o \\\n\t\t\t\t   xfs_extra.o \\\n")
                + KernelTree.Added(
                    "fs/xfs/xfs_extra.c",
                    "#include \"xfs.h\"\n\nint xfs_extra(int error);\n\nint xfs_extra(int error)\n{\n\treturn error ? error : -EAGAIN;\n}"
                )
                + await KernelTree.ChangeAsync(
                    Patches.Release,
                    "fs/xfs/xfs_discard.c",
                    ("int\nxfs_ioc_trim(", "int xfs_extra(int error);\n\nint\nxfs_ioc_trim("),
                    ("\t\treturn -EPERM;", "\t\treturn xfs_extra(-EPERM);")
                )
        );
        (await project.BuildAsync()).MustSucceed();
        using var manifest = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(project.Package, "manifest.json")));
        var target = Assert.Single(manifest.RootElement.GetProperty("targets").EnumerateArray());
        Assert.Equal("xfs", target.GetProperty("name").GetString());
        string primary = Assert.Single(Directory.GetFiles(project.Package, "*_primary.ko"));
        Assert.Contains(" xfs_extra\n", Programs.Run("readelf", ["-sW", primary]).Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("static int __init extra_init(void)\n{\n\treturn 0;\n}\nfs_initcall(extra_init);", "KSP3005", ".initcall5.init")]
    [InlineData("static int extra;\nmodule_param(extra, int, 0444);", "KSP3005", "__param")]
    [InlineData("static int __init extra_init(char *text)\n{\n\treturn 0;\n}\n__setup(\"extra=\", extra_init);", "KSP3005", ".init.setup")]
    [InlineData("static int extra __initdata;\nint *extra_of(void);\nint *extra_of(void)\n{\n\treturn &extra;\n}", "KSP3005", ".init.data")]
    [InlineData("#define CREATE_TRACE_POINTS\n#include <trace/events/oom.h>", "KSP3012", "__tracepoints")]
    public async Task What_a_kernel_takes_up_when_it_boots_is_refused_in_a_new_file(string text, string id, string section)
    {
        using PatchProject project = new(Patches.Release);
        const string Includes = "#include <linux/module.h>\n#include <linux/init.h>\n";
        project.Write("fix.patch", await AddedToProcAsync(Includes + text));
        var result = await project.BuildAsync();
        Assert.Contains("fs/proc/extra.c", result.MustFailWith(id), StringComparison.Ordinal);
        Assert.Contains(section, result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_init_function_of_a_module_is_refused_in_a_new_file()
    {
        using PatchProject project = new(Patches.Release);
        project.Write(
            "fix.patch",
            await Patches.ChangeAsync("fs/xfs/Makefile", "xfs_bio_io.o \\\n", "xfs_bio_io.o xfs_extra.o \\\n")
                + KernelTree.Added(
                    "fs/xfs/xfs_extra.c",
                    "#include <linux/module.h>\n\nstatic int __init extra_init(void)\n{\n\treturn 0;\n}\nmodule_init(extra_init);"
                )
        );
        Assert.Contains("fs/xfs/xfs_extra.c", (await project.BuildAsync()).MustFailWith("KSP3005"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_export_of_a_new_file_is_told_as_one_of_any_unit_is()
    {
        using PatchProject project = new(Patches.Release);
        project.Write(
            "fix.patch",
            await AddedToProcAsync(
                Extra.Replace("#include", "#include <linux/export.h>\n#include", StringComparison.Ordinal)
                    + "\nEXPORT_SYMBOL_GPL(extra_show);"
            ) + await VersionAsync()
        );
        var result = (await project.BuildAsync("-v:n")).MustSucceed();
        string line = result.Output.Split('\n').First(line => line.Contains("KSP3017", StringComparison.Ordinal));
        Assert.Contains("extra_show", line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_new_file_that_nothing_builds_is_refused()
    {
        using PatchProject project = new(Patches.Release);
        project.Write(
            "fix.patch",
            KernelTree.Added("fs/proc/extra.c", Extra)
                + await Patches.ChangeAsync("fs/proc/version.c", "\treturn 0;", "\tbarrier();\n\treturn 0;")
        );
        Assert.Contains(
            "no Makefile that it changes builds it",
            (await project.BuildAsync()).MustFailWith("KSP1034"),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task A_new_module_is_refused_at_the_line_that_makes_it()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("fix.patch", await AddedToProcAsync(Extra, "obj-m += extra.o\n"));
        string said = (await project.BuildAsync()).MustFailWith("KSP1025");
        Assert.Contains("fix.patch(7,1)", said, StringComparison.Ordinal);
        Assert.Contains("it makes a module of its own", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_update_on_top_changes_what_the_one_below_it_added()
    {
        using var lower = await ProjectAsync();
        (await lower.BuildAsync()).MustSucceed();
        using PatchProject upper = new(Patches.Release);
        upper.OnTopOf(lower);
        string changed = Extra.Replace("++extra_reads", "extra_reads += 2", StringComparison.Ordinal);
        string before = upper.At("before.c"),
            after = upper.At("after.c");
        upper.Write("before.c", Extra.TrimEnd('\n') + "\n");
        upper.Write("after.c", changed.TrimEnd('\n') + "\n");
        upper.Write("more.patch", await KernelTree.DiffAsync("fs/proc/extra.c", before, after));
        var result = (await upper.BuildAsync("-v:n")).MustSucceed();
        Assert.Contains("fs/proc/extra.c: extra_show is replaced", result.Output, StringComparison.Ordinal);
        Assert.Equal(
            ["extra_show"],
            Unit(upper, "fs/proc/extra.c")
                .GetProperty("replaced")
                .EnumerateArray()
                .Select(function => function.GetProperty("name").GetString())
        );
    }
}
