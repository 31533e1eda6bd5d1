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
        Assert.Contains("fix.patch(", (await project.BuildAsync()).MustFailWith("KSP1020"), StringComparison.Ordinal);
    }
}
