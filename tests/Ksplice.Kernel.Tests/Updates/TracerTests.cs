// SPDX-License-Identifier: MIT
// A function that has no room for a jump is reached through the function tracer (K18).
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class TracerTests(Guest guest)
{
    // The first thing in rng_is_initialized is a jump label.
    private const string Random = """
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

        """;

    /// <summary>An update of a function that has no room for a jump: asker.ko sees it.</summary>
    internal static async Task<PatchProject> BuildRandomAsync(string release)
    {
        PatchProject project = new(release);
        project.Write("random.patch", Random);
        return await UpdateGuest.BuiltAsync(project);
    }

    private static string[] Ends(GuestResult result) => [.. result.Lines.Where(line => Regex.IsMatch(line, @"^\w+ \d+$"))];

    [Fact]
    public async Task While_ftrace_is_disabled_a_jump_is_written_and_a_handler_refused_by_name()
    {
        var jump = await UpdateGuest.SampleAsync("a-smaps-pages", guest.Release);
        using var handler = await BuildRandomAsync(guest.Release);
        var result = await guest.RunAsync(
            $$"""
            echo 0 >/proc/sys/kernel/ftrace_enabled
            ksplice apply {{UpdateGuest.Place(jump)}} >/dev/null
            echo "jump $?"
            grep -q ^Pages: /proc/self/smaps; echo "pages $?"
            ksplice apply {{UpdateGuest.Place(handler)}} >/dev/null
            echo "handler $?"
            echo 1 >/proc/sys/kernel/ftrace_enabled
            ksplice apply {{UpdateGuest.Place(handler)}} >/dev/null
            echo "handler $?"
            ksplice undo {{jump.Id}} >/dev/null && ksplice undo {{handler.Id}} >/dev/null
            echo "undo $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(jump),
            UpdateGuest.Package(handler)
        );
        result.MustEndWith(0);
        Assert.Equal(["jump 0", "pages 0", "handler 2", "handler 0", "undo 0"], Ends(result));
        Assert.Matches(@"rng_is_initialized is redirected by a livepatch or a probe, or ftrace is\s+disabled", result.Errors);
    }

    [Fact]
    public async Task A_function_without_room_for_a_jump_is_reached_through_the_tracer()
    {
        using var project = await BuildRandomAsync(guest.Release);
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
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("asker", guest.Release)
        );
        result.MustEndWith(0);
        string[] round = ["applied 11", "tracer 1", "traced 11", "seen 0", "undone 0"];
        Assert.Equal(["before 0", .. round, .. round], Ends(result));
    }

    // The kernel does that when something about the tracer went wrong, and for good. Handlers that are there go on being called.
    [Fact]
    public async Task Once_ftrace_is_dead_an_update_stays_in_force_and_can_be_undone_and_its_handler_stays()
    {
        using PatchProject project = new(guest.Release);
        project.Write("random.patch", Random);
        project.Write(
            "smaps.patch",
            await File.ReadAllTextAsync(
                Repository.At("samples", "a-smaps-pages", "smaps-pages.patch"),
                TestContext.Current.CancellationToken
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ask() {
                insmod /asker.ko 2>/dev/null; echo "random $?"; rmmod asker 2>/dev/null
                grep -q ^Pages: /proc/self/smaps; echo "pages $?"
                cat /sys/kernel/ksplice/ftrace
            }
            ksplice apply {{UpdateGuest.Place(project)}} || exit 1
            awk '{ print "way", $1, $5 }' /sys/kernel/ksplice/{{project.Id}}/functions
            ask
            ksplice view {{project.Id}} >&2; ksplice status >&2; echo "status $?"
            insmod /killer.ko address=0x$(sed -n 's/ T ftrace_kill$//p' /proc/kallsyms) 2>/dev/null
            ask
            ksplice status >&2; echo "status $?"
            ksplice undo {{project.Id}} >&2
            echo "undo $?, $(cat /sys/kernel/ksplice/{{project.Id}}/stage), $(lsmod | grep -c ^ksplice) modules"
            ask
            ksplice apply {{UpdateGuest.Place(project)}} >&2
            echo "apply $?"
            ask
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("asker", guest.Release),
            await TestModule.BuildAsync("killer", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "way rng_is_initialized tracer",
                "way show_smap jump",
                "random 11",
                "pages 0",
                "alive",
                "status 0",
                "random 11",
                "pages 0",
                "dead",
                "status 0",
                "undo 0, reversed, 4 modules",
                "random 0",
                "pages 1",
                "dead",
                "apply 9",
                "random 0",
                "pages 1",
                "dead",
            ],
            result.Lines.Where(line => Regex.IsMatch(line, "^(way|random|pages|alive|dead|status|undo|apply) ?"))
        );
        Assert.Contains(
            "rng_is_initialized cannot be redirected: the kernel has given up its function tracer",
            result.Errors,
            StringComparison.Ordinal
        );
    }

    // K18: the handler is there before the machine is stopped, and leads on from when the jumps are written.
    [Fact]
    public async Task A_handler_leads_nowhere_while_the_update_waits_for_a_thread()
    {
        using PatchProject project = new(guest.Release);
        project.Write("random.patch", Random);
        await EventReader.WritePatchAsync(project, guest.Release);
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ask() { insmod /asker.ko 2>/dev/null; echo "$1 $?"; rmmod asker 2>/dev/null; }
            insmod {{UpdateGuest.Place(project)}}/ksplice.ko hold_ms=0 || exit 1
            {{EventReader.Park}}
            ksplice apply --wait 60 {{UpdateGuest.Place(project)}} &
            apply=$!
            until grep -q rng_is_initialized /sys/kernel/tracing/enabled_functions; do sleep 0.1; done
            ask waiting
            kill $parked
            wait $apply || exit 1
            ask applied
            ksplice undo {{project.Id}}
            """,
            UpdateGuest.Command,
            await EventReader.ProgramAsync(),
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("asker", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(["waiting 0", "applied 11"], Ends(result));
    }

    // The first thing in rng_is_initialized is a jump label, in the kernel's code and in the lower update's.
    [Fact]
    public async Task One_goes_through_the_tracer_on_top_of_one_that_does()
    {
        using PatchProject first = new(guest.Release),
            second = new(guest.Release);
        first.Write("first.patch", Random);
        (await first.BuildAsync()).MustSucceed();
        second.OnTopOf(first);
        second.Write(
            "second.patch",
            Random
                .Replace("-	return crng_ready();", "-	return crng_ready() && task_pid_nr(current) == 1;", StringComparison.Ordinal)
                .Replace(
                    "+	return crng_ready() && task_pid_nr(current) == 1;",
                    "+	return crng_ready() && task_pid_nr(current) != 1;",
                    StringComparison.Ordinal
                )
        );
        (await second.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            ask() { insmod /asker.ko 2>/dev/null; echo "$1 $?"; rmmod asker 2>/dev/null; }
            ask before
            for round in 1 2; do
                ksplice apply {{UpdateGuest.Place(first)}} >/dev/null || exit 1
                ask first
                ksplice apply {{UpdateGuest.Place(second)}} >/dev/null || exit 1
                ask second
                ksplice undo {{first.Id}} 2>/dev/null && exit 1
                ksplice undo {{second.Id}} >/dev/null || exit 1
                ask first
                ksplice undo {{first.Id}} >/dev/null || exit 1
                ask none
            done
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(first),
            UpdateGuest.Package(second),
            await TestModule.BuildAsync("asker", guest.Release)
        );
        result.MustEndWith(0);
        string[] round = ["first 11", "second 0", "first 11", "none 0"];
        Assert.Equal(["before 0", .. round, .. round], result.Lines);
    }
}
