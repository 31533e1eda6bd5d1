// A thread inside of a replaced function: nothing may change until it has left. Sample c replaces devkmsg_read, where a
// reader of /dev/kmsg sleeps once it has read everything.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class BusyTests(Guest guest)
{
    private const string Park = """
        cat /dev/kmsg >/dev/null &
        parked=$!
        while ! grep -q devkmsg_read /proc/$parked/stack; do sleep 0.1; done
        """;

    private async Task<GuestResult> RunAsync(string script)
    {
        using var project = PatchProject.Sample("c-kmsg-permission");
        (await project.BuildAsync($"-p:KernelRelease={guest.Release}")).MustSucceed();
        return await guest.RunAsync($"package={UpdateGuest.Place(project)} id={project.Id}\n{script}", UpdateGuest.Command, UpdateGuest.Package(project));
    }

    [Fact]
    public async Task A_parked_thread_is_named_after_five_tries_and_nothing_has_changed()
    {
        var result = await RunAsync(
            $"""
            echo 0 >/proc/sys/kernel/dmesg_restrict
            {Park}
            ksplice apply $package
            echo "apply $?, restrict $(cat /proc/sys/kernel/dmesg_restrict)"
            echo "parked $parked"
            ls /sys/kernel/ksplice 2>/dev/null
            kill $parked
            wait $parked 2>/dev/null
            ksplice apply $package
            echo "apply $?, restrict $(cat /proc/sys/kernel/dmesg_restrict)"
            ksplice undo $id
            echo "undo $?, restrict $(cat /proc/sys/kernel/dmesg_restrict)"
            """);
        result.MustEndWith(0);
        Assert.Contains("apply 3, restrict 0", result.Lines);
        Assert.Contains("code_busy, after 5 tries", result.Errors, StringComparison.Ordinal);
        string pid = Assert.Single(result.Lines, line => line.StartsWith("parked ", StringComparison.Ordinal))["parked ".Length..];
        Assert.Matches($@"cat\W+{pid}\W+devkmsg_read", result.Errors);
        Assert.Matches(@"devkmsg_read\+0x[^\n]*\n\s+vfs_read\+0x", result.Errors);
        Assert.Contains("apply 0, restrict 1", result.Lines);
        Assert.Contains("undo 0, restrict 0", result.Lines);
    }

    [Fact]
    public async Task Undo_waits_for_a_thread_in_the_new_code()
    {
        var result = await RunAsync(
            $"""
            ksplice apply $package || exit 1
            {Park}
            ksplice undo $id
            echo "undo $?, $(ksplice view $id | grep stage)"
            kill $parked
            wait $parked 2>/dev/null
            ksplice undo $id
            echo "undo $?"
            """);
        result.MustEndWith(0);
        Assert.Contains("undo 3, stage:     applied", result.Lines);
        Assert.Contains("undo 0", result.Lines);
    }

    // K13: the return address into devkmsg_read is not on the stack while a tracer has put its own there.
    [Theory]
    [InlineData("echo 'r:parked schedule' >kprobe_events; echo 1 >events/kprobes/parked/enable", "echo 0 >events/kprobes/parked/enable; echo >kprobe_events")]
    [InlineData("echo schedule >set_graph_function; echo schedule >set_ftrace_filter; echo function_graph >current_tracer", "echo nop >current_tracer; echo >set_ftrace_filter")]
    public async Task A_return_address_that_a_tracer_keeps_counts_as_one_on_the_stack(string trace, string stop)
    {
        var result = await RunAsync(
            $"""
            cd /sys/kernel/tracing
            {trace}
            cat /dev/kmsg >/dev/null &
            parked=$!
            sleep 1
            cat /proc/$parked/stack >&2
            ksplice apply $package
            echo "apply $?"
            kill $parked
            wait $parked 2>/dev/null
            {stop}
            ksplice apply $package
            echo "apply $?"
            """);
        result.MustEndWith(0);
        Assert.Equal(["apply 3", "apply 0"], result.Lines.Where(line => line.StartsWith("apply ", StringComparison.Ordinal)));
        Assert.Contains("code_busy", result.Errors, StringComparison.Ordinal);
    }
}
