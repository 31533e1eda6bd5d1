// SPDX-License-Identifier: MIT
// K27: the instructions that an optimised probe has displaced run in a slot of its own, which is in no function. A thread may still be in
// it when the probe is gone.
using System.Text.RegularExpressions;
using CliWrap;
using CliWrap.Buffered;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class SlotTests(Guest guest)
{
    private async Task<GuestResult> RunAsync(PatchProject project, string script) =>
        await UpdateGuest.RunAsync(guest, project, script, await TestModule.BuildAsync("parked", guest.Release));

    // Where the instructions of devkmsg_read begin that a probe can be put on, from its start, for the shell.
    private static async Task<string> InstructionsAsync(string file)
    {
        var listing = await Cli.Wrap("objdump")
            .WithArguments(["-d", "--no-show-raw-insn", "--disassemble=devkmsg_read", file])
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        ulong[] addresses =
        [
            .. Regex
                .Matches(listing.StandardOutput, @"^ *([0-9a-f]+):\t(?!call|j|nop|int3|ud2)", RegexOptions.Multiline)
                .Select(match => Convert.ToUInt64(match.Groups[1].Value, 16)),
        ];
        ulong start = Convert.ToUInt64(
            Regex.Match(listing.StandardOutput, @"^([0-9a-f]+) <devkmsg_read>:", RegexOptions.Multiline).Groups[1].Value,
            16
        );
        return string.Join(' ', addresses.Select(address => address - start).Where(offset => offset > 16));
    }

    // Puts a probe into the function at $1 that is optimised; a thread with the address of a probe's slot on its stack is parked.
    private const string Slots = """
        trace=/sys/kernel/tracing
        probe() {
            start=$1
            shift
            for at; do
                echo "p:slot $(printf 0x%x $((start + at)))" >$trace/kprobe_events && echo 1 >$trace/events/kprobes/slot/enable || exit 1
                for wait in 1 2 3 4 5 6 7 8; do
                    ! grep -q OPTIMIZED /sys/kernel/debug/kprobes/list || return 0
                    usleep 200000
                done
                forget
            done
            exit 1
        }
        forget() { echo 0 >$trace/events/kprobes/slot/enable; echo >$trace/kprobe_events; }
        park() { insmod /parked.ko word=$(printf 0x%x $((0x$(sed -n "s/ . kprobe_optinsn_page\t.*//p" /proc/kallsyms) + 1))) || exit 1; }

        """;

    [Fact]
    public async Task A_thread_in_the_slot_of_a_probe_in_the_function_counts_as_in_the_function()
    {
        using var project = await UpdateGuest.BuildKmsgAsync(guest.Release);
        string pre = Assert.Single(Directory.GetFiles(project.At("obj"), "printk.pre.o", SearchOption.AllDirectories));
        var result = await RunAsync(
            project,
            $$"""
            {{Slots}}
            probe $((0x$(sed -n 's/ t devkmsg_read$//p' /proc/kallsyms))) {{await InstructionsAsync(pre)}}
            park
            forget
            ksplice apply $package
            echo "apply $?"
            rmmod parked
            ksplice apply $package
            echo "apply $?"
            ksplice undo $id || exit 1
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["apply 3", "apply 0"], result.Lines.Where(line => line.StartsWith("apply ", StringComparison.Ordinal)));
        Assert.Matches(@"parked\W+\d+\W+slot of a probe in devkmsg_read", result.Errors);
    }

    // K20, K27: a probe in code that goes keeps the code, and after it a thread in its slot.
    [Fact]
    public async Task Undo_is_refused_while_a_probe_stands_in_new_code_and_waits_for_a_thread_in_its_slot()
    {
        using var project = await UpdateGuest.BuildKmsgAsync(guest.Release);
        string primary = Assert.Single(Directory.GetFiles(project.Package, "*_0_primary.ko"));
        var result = await RunAsync(
            project,
            $$"""
            {{Slots}}
            ksplice apply $package || exit 1
            probe $((0x$(sed -n 's/ t devkmsg_read\t\[ksplice_.*//p' /proc/kallsyms))) {{await InstructionsAsync(primary)}}
            park
            ksplice undo $id
            echo "undo $?"
            forget
            ksplice undo $id
            echo "undo $?"
            rmmod parked
            ksplice undo $id
            echo "undo $?"
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["undo 2", "undo 3", "undo 0"], result.Lines.Where(line => line.StartsWith("undo ", StringComparison.Ordinal)));
        Assert.Contains("a kprobe stands in the new code at devkmsg_read+0x", result.Errors, StringComparison.Ordinal);
        Assert.Matches(@"parked\W+\d+\W+slot of a probe in new code", result.Errors);
    }
}
