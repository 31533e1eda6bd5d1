// SPDX-License-Identifier: MIT
// Who asks for an update is a thread of the machine that is updated, and the command has more of them.
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class OwnThreadTests(Guest guest)
{
    // K17: who asks for the update stands in this function until the request is taken.
    [Fact]
    public async Task The_writer_of_a_request_is_not_in_its_own_way()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "kernfs.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/kernfs/file.c",
                (
                    "\t\tlen = min_t(size_t, len, PAGE_SIZE);\n",
                    "\t\tlen = min_t(size_t, len, PAGE_SIZE);\n\t\tif (len == 17)\n\t\t\treturn -EFBIG;\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        Assert.Contains("kernfs_fop_write_iter", UpdateGuest.Replaced(project));
        var result = await UpdateGuest.RunAsync(
            guest,
            project,
            """
            write() { echo 0000000000000000 >/sys/kernel/rcu_expedited; echo "write $?"; }
            write
            ksplice apply $package || exit 1
            write
            ksplice undo $id || exit 1
            write
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["write 0", "write 1", "write 0"], result.Lines.Where(line => line.StartsWith("write ", StringComparison.Ordinal)));
    }

    // K30: the runtime's own threads sleep in these. No pipe around the command: its other end would sleep there too.
    [Theory]
    [InlineData(
        "fs/pipe.c",
        "\t/* Null read succeeds. */\n",
        "\tif (total_len == 4242)\n\t\treturn -EFBIG;\n",
        "pipe_read",
        "echo | dd bs=4242 count=1"
    )]
    [InlineData(
        "fs/read_write.c",
        "\tif (!(file->f_mode & FMODE_READ))\n",
        "\tif (count == 4242)\n\t\treturn -EFBIG;\n",
        "vfs_read",
        "dd if=/dev/zero bs=4242 count=1"
    )]
    [InlineData(
        "kernel/futex/waitwake.c",
        "\tto = futex_setup_timer(abs_time, &timeout, flags,\n",
        "\tif (val == 4242)\n\t\treturn -EFBIG;\n",
        "futex_wait",
        null
    )]
    public async Task The_command_is_not_in_its_own_way(string file, string before, string added, string function, string? use)
    {
        using PatchProject project = new(guest.Release);
        project.Write("own.patch", await KernelTree.ChangeAsync(guest.Release, file, (before, added + before)));
        (await project.BuildAsync()).MustSucceed();
        Assert.Contains(function, UpdateGuest.Replaced(project));
        var result = await UpdateGuest.RunAsync(
            guest,
            project,
            $$"""
            use() { {{use ?? "true"}} >/dev/null 2>&1; echo "use $?"; }
            use
            ksplice apply $package; echo "apply $?"
            use
            ksplice undo $id; echo "undo $?"
            use
            mkdir -p /etc/systemd/system
            ksplice enable $package >/dev/null
            ksplice restore; echo "restore $?"
            ksplice undo $id; echo "undo $?"
            """
        );
        result.MustEndWith(0);
        string changed = use is null ? "use 0" : "use 1";
        Assert.Equal(
            ["use 0", "apply 0", changed, "undo 0", "use 0", "restore 0", "undo 0"],
            result.Lines.Where(line => Regex.IsMatch(line, "^(use|apply|undo|restore) [0-9]+$"))
        );
        Assert.Contains("update " + project.Id + " applied: ", result.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("warning", result.Errors, StringComparison.Ordinal);
    }
}
