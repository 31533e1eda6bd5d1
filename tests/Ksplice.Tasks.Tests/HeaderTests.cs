// SPDX-License-Identifier: MIT
namespace Ksplice.Tasks.Tests;

public sealed class HeaderTests
{
    [Fact]
    public async Task A_patched_header_affects_every_unit_that_includes_it_and_a_comment_in_it_changes_none()
    {
        using PatchProject project = new(Patches.Release);
        project.Write(
            "header.patch",
            await Patches.ChangeAsync(
                "fs/proc/internal.h",
                "static inline struct pid *proc_pid(",
                "/* The process of a /proc inode. */\nstatic inline struct pid *proc_pid("
            )
        );
        var result = await project.BuildAsync();
        // Lines below the comment moved, and __LINE__ with them, had the post tree not put the numbers right.
        result.MustFailWith("KSP6003");
        var compiled = new BuildLog(result).Compiled.Select(message => message.Split(' ')[1]).Distinct().ToHashSet();
        // Everything in the folder that names the header, but what is for machines without an MMU.
        string source = await Patches.SourceAsync();
        var including = Directory
            .GetFiles(Path.Combine(source, "fs/proc"), "*.c")
            .Where(file => File.ReadAllText(file).Contains("#include \"internal.h\"", StringComparison.Ordinal))
            .Select(file => "fs/proc/" + Path.GetFileName(file))
            .Where(unit => !unit.Contains("nommu", StringComparison.Ordinal))
            .ToHashSet();
        Assert.True(including.Count > 15);
        Assert.Equal(including, compiled.Where(unit => unit.StartsWith("fs/proc/", StringComparison.Ordinal)).ToHashSet());
    }

    [Fact]
    public async Task A_source_that_is_not_in_the_configuration_is_refused()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("fix.patch", await Patches.ChangeAsync("fs/proc/nommu.c", "static int ", "static  int "));
        string said = (await project.BuildAsync()).MustFailWith("KSP1021");
        Assert.Contains("fix.patch(", said, StringComparison.Ordinal);
        Assert.Contains("fs/proc/nommu.c", said, StringComparison.Ordinal);
    }

    // fs/compat_binfmt_elf.c includes it and makes of it what runs 32-bit programs.
    [Fact]
    public async Task A_source_that_another_unit_includes_is_replaced_in_both()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("fix.patch", await Patches.ChangeAsync("fs/binfmt_elf.c", "\tint prot = 0;", "\tint prot = 0;\n\n\tbarrier();"));
        var result = await project.BuildAsync();
        result.MustSucceed();
        var compiled = new BuildLog(result).Compiled.Select(message => message.Split(' ')[1]).ToHashSet();
        Assert.Equal(["fs/binfmt_elf.c", "fs/compat_binfmt_elf.c"], compiled.Order(StringComparer.Ordinal));
        string manifest = File.ReadAllText(Path.Combine(project.Package, "manifest.json"));
        Assert.Equal(2, manifest.Split("\"load_elf_binary\"").Length - 1);
    }

    [Theory]
    [InlineData("arch/x86/include/asm/vdso/gettimeofday.h", "(u64)rdtsc_ordered();", "(u64)rdtsc_ordered() + 2;", "the vDSO")]
    [InlineData("lib/crypto/sha256.c", "return z ^ (x & (y ^ z));", "return z ^ (x & (y | z));", "kexec's purgatory")]
    [InlineData("arch/x86/lib/inat.c", "return inat_primary_table[opcode];", "return inat_primary_table[opcode] | 2;", "the boot image")]
    public async Task A_change_that_reaches_another_image_is_refused_by_its_name(string file, string old, string changed, string image)
    {
        using PatchProject project = new(Patches.Release);
        project.Write("fix.patch", await Patches.ChangeAsync(file, old, changed));
        string said = (await project.BuildAsync()).MustFailWith("KSP1033");
        Assert.Contains(image, said, StringComparison.Ordinal);
        // What was refused is refused again.
        (await project.BuildAsync()).MustFailWith("KSP1033");
    }

    // arch/x86/boot/header.S needs numbers of the linked boot image.
    [Fact]
    public async Task A_unit_that_only_a_whole_build_can_compile_is_told_by_what_the_preprocessor_makes_of_it()
    {
        using PatchProject project = new(Patches.Release);
        project.Write(
            "fix.patch",
            await Patches.ChangeAsync("include/linux/pe.h", "#include <linux/types.h>", "#include <linux/types.h>\n/* A. */")
        );
        (await project.BuildAsync()).MustFailWith("KSP6003");
        project.Write(
            "fix.patch",
            await Patches.ChangeAsync(
                "include/linux/pe.h",
                "#define PE_OPT_MAGIC_PE32PLUS\t0x020b",
                "#define PE_OPT_MAGIC_PE32PLUS\t0x020c"
            )
        );
        Assert.Contains(
            "reaches arch/x86/boot/header.S, which",
            (await project.BuildAsync()).MustFailWith("KSP2056"),
            StringComparison.Ordinal
        );
    }

    [Fact]
    public async Task Numbers_that_do_not_sort_are_warned_of()
    {
        using PatchProject project = new(Patches.Release);
        project.Write("10-last.patch", await Patches.ChangeAsync("fs/proc/version.c", "\treturn 0;", "\treturn  0;"));
        project.Write("2-second.patch", await Patches.ChangeAsync("fs/proc/cmdline.c", "\treturn 0;", "\treturn  0;"));
        var result = await project.BuildAsync("-t:KsplicePatch");
        Assert.Contains("10-last.patch is applied before 2-second.patch", result.MustSucceed().Output, StringComparison.Ordinal);
        File.Move(project.At("2-second.patch"), project.At("02-second.patch"));
        Assert.DoesNotContain("KSP1035", (await project.BuildAsync("-t:KsplicePatch")).MustSucceed().Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_new_source_that_nothing_includes_is_refused_and_one_that_is_included_is_brought()
    {
        using PatchProject project = new(Patches.Release);
        string added = "--- /dev/null\n+++ b/fs/proc/extra.c\n@@ -0,0 +1 @@\n+static int extra(int a) { return a ^ 1; }\n";
        string user = await Patches.ChangeAsync("fs/proc/version.c", "\tseq_printf(m,", "\tseq_puts(m, \"\");\n\tseq_printf(m,");
        project.Write("fix.patch", added + user);
        Assert.Contains("fs/proc/extra.c", (await project.BuildAsync()).MustFailWith("KSP1034"), StringComparison.Ordinal);
        string including = await Patches.ChangeAsync(
            "fs/proc/version.c",
            "static int version_proc_show(struct seq_file *m, void *v)\n{",
            "#include \"extra.c\"\n\nstatic int version_proc_show(struct seq_file *m, void *v)\n{\n\tm->count = extra((int)m->count);"
        );
        project.Write("fix.patch", added + including);
        (await project.BuildAsync()).MustSucceed();
    }
}
