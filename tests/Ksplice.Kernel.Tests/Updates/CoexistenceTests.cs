// Others who have to do with a replaced function: tracers and probes on it go on working, what cannot be is refused by
// name, and a function that has no room for a jump is reached through the tracer.
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class CoexistenceTests(Guest guest)
{
    private static async Task<PatchProject> SampleAsync(Guest guest)
    {
        var project = PatchProject.Sample("a-smaps-pages");
        (await project.BuildAsync($"-p:KernelRelease={guest.Release}")).MustSucceed();
        return project;
    }

    private static string[] Ends(GuestResult result) => [.. result.Lines.Where(line => Regex.IsMatch(line, @"^\w+ \d+$"))];

    [Fact]
    public async Task A_probe_on_the_entry_is_hit_as_before_and_one_on_the_redirect_keeps_it_where_it_is()
    {
        using var project = await SampleAsync(guest);
        var result = await guest.RunAsync(
            $$"""
            cd /sys/kernel/tracing
            hits() { echo >trace; cat /proc/self/smaps >/dev/null; [ "$(grep -c entry: trace)" -gt 3 ]; echo "$1 $?"; }
            echo 'p:entry show_smap' >kprobe_events
            echo 1 >events/kprobes/entry/enable
            hits before
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            hits applied
            start=$(sed -n 's/ t show_smap$//p' /proc/kallsyms)
            echo "p:jump $(printf '0x%x' $((0x$start + 5)))" >>kprobe_events
            echo 1 >events/kprobes/jump/enable
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            ksplice undo {{project.Id}}
            echo "undo $?"
            echo 0 >events/kprobes/jump/enable
            echo '-:jump' >>kprobe_events
            ksplice undo {{project.Id}}
            echo "undo $?"
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            hits undone
            """,
            UpdateGuest.Command, UpdateGuest.Package(project));
        result.MustEndWith(0);
        Assert.Equal(["before 0", "apply 0", "pages 0", "applied 0", "pages 0", "undo 2", "undo 0", "pages 1", "undone 0"], Ends(result));
        Assert.Contains("probed", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_function_that_a_livepatch_redirects_is_refused_until_it_is_gone()
    {
        using var project = await SampleAsync(guest);
        var result = await guest.RunAsync(
            $"""
            insmod /livepatch.ko || exit 1
            ksplice apply {UpdateGuest.Place(project)}
            echo "apply $?"
            echo 0 >/sys/kernel/livepatch/livepatch/enabled
            while [ -e /sys/kernel/livepatch/livepatch ]; do sleep 0.2; done
            ksplice apply {UpdateGuest.Place(project)}
            echo "apply $?"
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            """,
            ["--allow", "livepatch", "--allow", "TAINT_LIVEPATCH"],
            UpdateGuest.Command, UpdateGuest.Package(project), await TestModule.BuildAsync("livepatch", guest.Release));
        result.MustEndWith(0);
        Assert.Equal(["apply 2", "apply 0", "pages 0"], Ends(result));
        Assert.Matches(@"redirected\s+show_smap is redirected by a livepatch", result.Errors);
    }

    // The first thing in rng_is_initialized is a jump label (K18).
    [Fact]
    public async Task A_function_without_room_for_a_jump_is_reached_through_the_tracer()
    {
        using PatchProject project = new(guest.Release);
        project.Write("random.patch", """
            --- a/drivers/char/random.c
            +++ b/drivers/char/random.c
            @@ -103,6 +103,6 @@
              *          false if the input pool has not been seeded.
              */
             bool rng_is_initialized(void)
             {
            -	return crng_ready();
            +	return crng_ready() && task_pid_nr(current) == 1;
             }

            """);
        (await project.BuildAsync()).MustSucceed();
        Assert.Contains("rng_is_initialized", UpdateGuest.Replaced(project));
        var result = await guest.RunAsync(
            $$"""
            ask() { insmod /asker.ko 2>/dev/null; echo "$1 $?"; rmmod asker 2>/dev/null; }
            ask before
            for round in 1 2; do
                ksplice apply {{UpdateGuest.Place(project)}} || exit 1
                ask applied
                echo 0 >/proc/sys/kernel/ftrace_enabled; echo "tracer $(cat /proc/sys/kernel/ftrace_enabled)"
                echo rng_is_initialized >/sys/kernel/tracing/set_ftrace_filter
                echo function >/sys/kernel/tracing/current_tracer
                ask traced
                grep -q 'rng_is_initialized <-' /sys/kernel/tracing/trace; echo "seen $?"
                echo nop >/sys/kernel/tracing/current_tracer
                ksplice undo {{project.Id}} || exit 1
                ask undone
            done
            """,
            UpdateGuest.Command, UpdateGuest.Package(project), await TestModule.BuildAsync("asker", guest.Release));
        result.MustEndWith(0);
        string[] round = ["applied 11", "tracer 1", "traced 11", "seen 0", "undone 0"];
        Assert.Equal(["before 0", .. round, .. round], Ends(result));
    }
}
