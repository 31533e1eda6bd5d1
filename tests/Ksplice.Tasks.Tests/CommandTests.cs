// SPDX-License-Identifier: MIT
// ksplice diff sees two objects, a build has the kernel and the source too. What the objects show, both say by the same rule and in the
// same words: here for every rule that refused a patch of the corpus.
extern alias Command;

using System.Text.Json;
using DiffCommand = Command::Ksplice.Cli.Commands.DiffCommand;

namespace Ksplice.Tasks.Tests;

public sealed class CommandTests
{
    // Changes of the same things that patches of the corpus change, and further ones that only differencing refuses.
    private static readonly (string Rule, string File, string Old, string New)[] Changes =
    [
        (
            "KSP3004",
            "fs/quota/dquot.c",
            "\tunsigned long nr_hash, order;\n\n",
            "\tunsigned long nr_hash, order;\n\n\tpr_info(\"quota\\n\");\n"
        ),
        (
            "KSP3005",
            "drivers/input/keyboard/atkbd.c",
            "DMI_MATCH(DMI_SYS_VENDOR, \"Dell Inc.\")",
            "DMI_MATCH(DMI_SYS_VENDOR, \"Dell Ltd.\")"
        ),
        ("KSP3012", "kernel/bpf/bpf_lsm.c", "BTF_ID(func, bpf_lsm_vm_enough_memory)\n", ""),
        ("KSP3043", "kernel/bpf/inode.c", "\t.drop_inode\t= generic_delete_inode,\n", ""),
        ("KSP3045", "net/ipv4/sysctl_net_ipv4.c", "\"tcp_max_tw_buckets\",", "\"tcp_max_tw_bucket\","),
        ("KSP3049", "drivers/video/fbdev/core/modedb.c", "\t{ NULL, 70, 640, 400, 39721,", "\t{ NULL, 71, 640, 400, 39721,"),
        (
            "KSP5011",
            "mm/maccess.c",
            "long copy_from_kernel_nofault(void *dst, const void *src, size_t size)\n{\n",
            "long copy_from_kernel_nofault(void *dst, const void *src, size_t size)\n{\n\tpr_info(\"changed\\n\");\n"
        ),
        (
            "KSP5013",
            "kernel/audit.c",
            "\tset_freezable();\n\twhile (!kthread_should_stop()) {\n",
            "\tset_freezable();\n\tpr_info(\"audit\\n\");\n\twhile (!kthread_should_stop()) {\n"
        ),
        (
            "KSP3013",
            "arch/x86/entry/common.c",
            "\tadd_random_kstack_offset();\n",
            "\tasm volatile(\"nop\");\n\tadd_random_kstack_offset();\n"
        ),
        (
            "KSP3044",
            "drivers/char/random.c",
            "static int ratelimit_disable __read_mostly =\n\tIS_ENABLED(CONFIG_WARN_ALL_UNSEEDED_RANDOM);",
            "static int ratelimit_disable __read_mostly = 2;"
        ),
    ];

    // Fixes of tests/Ksplice.Kernel.Tests/cves: KSP3001, KSP3046, KSP5001 and, of other things, some of the above.
    private static readonly string[] Fixes = ["2005-2709", "2005-3179", "2006-2071", "2006-5753", "2007-3851", "2007-4571", "2008-0007"];

    // Who runs while code is patched stands in the image only.
    private static readonly string[] OfTheImage = ["KSP5011"];

    // Which code uses a member is found in the source.
    private const string OfTheSource = "; functions that are not replaced use a member of that name";

    [Fact]
    public async Task The_command_and_the_build_refuse_by_the_same_rules_in_the_same_words()
    {
        using PatchProject project = new(Patches.Release);
        foreach (var (rule, file, old, now) in Changes)
            project.Write(rule + ".patch", await Patches.ChangeAsync(file, old, now));
        foreach (string fix in Fixes)
            File.Copy(Repository.At("tests", "Ksplice.Kernel.Tests", "cves", fix + "-fix.patch"), project.At(fix + ".patch"));
        var built = await project.BuildAsync();
        Assert.NotEqual(0, built.ExitCode);
        var byBuild = new BuildLog(built).Errors.Select(error => (error.Id, Words(error.Message))).Distinct().Order().ToList();
        string[] expected = [.. Changes.Select(change => change.Rule), "KSP3001", "KSP3046", "KSP5001"];
        Assert.Empty(expected.Except(byBuild.Select(error => error.Id)));
        Assert.Empty(RulesOfTheCorpus().Except(byBuild.Select(error => error.Id)));

        string objects = project.At($"obj/Debug/ksplice/update/{Patches.Release}/units");
        var byCommand = Directory
            .EnumerateFiles(objects, "*.pre.o", SearchOption.AllDirectories)
            .SelectMany(pre => Diff(objects, pre))
            .Distinct()
            .Order()
            .ToList();
        Assert.Equal(byBuild.Where(error => !OfTheImage.Contains(error.Id)), byCommand);
    }

    private static IReadOnlyList<(string Id, string Message)> Diff(string objects, string pre)
    {
        string stem = pre[..^".pre.o".Length],
            source = Path.GetRelativePath(objects, stem) + ".c";
        using StringWriter output = new();
        int code = DiffCommand.Run(output, TextWriter.Null, pre, stem + ".post.o", json: true);
        using var report = JsonDocument.Parse(output.ToString());
        var errors = report
            .RootElement.GetProperty("diagnostics")
            .EnumerateArray()
            .Where(reported => reported.GetProperty("severity").GetString() == "error")
            .Select(reported =>
                (
                    reported.GetProperty("id").GetString()!,
                    Words(reported.GetProperty("message").GetString()!.Replace(pre, source, StringComparison.Ordinal))
                )
            )
            .ToList();
        Assert.Equal(errors.Count == 0 ? 0 : 2, code);
        return errors;
    }

    private static string Words(string message) => message.Split(OfTheSource)[0];

    // What the compiler says of patches that do not compile alone is no refusal.
    private static IEnumerable<string> RulesOfTheCorpus() =>
        ((string[])["corpus.csv", "headers.csv"])
            .SelectMany(table => File.ReadLines(Repository.At("docs", "results", table)).Skip(1))
            .SelectMany(row => row.Split(',')[2].Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(rule => rule != "KSP2009")
            .Distinct();
}
