// SPDX-License-Identifier: MIT
// K32: threads that come back into the code again and again are held at their return to user mode until the machine was stopped.
using System.Globalization;
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class HoldTests(Guest guest)
{
    // Modules in place, requests by hand. "on" takes a name of the kernel's, for a word on the stack of a kernel thread.
    private const string Requests = """
        sys=/sys/kernel/ksplice/$id parameters=/sys/module/ksplice/parameters
        modules="ksplice_${id}_0_helper ksplice_${id}_0_primary"
        load() {
            insmod ${core:-$package/ksplice.ko} "$@" || exit 1
            for module in $modules; do insmod $package/$module.ko || exit 1; done
        }
        unload() { rmmod ksplice_${id}_0_primary ksplice_${id}_0_helper ksplice && echo unloaded; }
        await() { while [ "$(cat $sys/busy)" = 1 ]; do usleep 20000; done; }
        see() {
            ms=$(($(cat $sys/held_ns) / 1000000))
            echo "$1 $(cat $sys/abort_cause), stops $(cat $sys/stops), held $(cat $sys/held) for $ms ms"
        }
        ask() { echo $1 >$sys/stage; await; see $1; }
        on() { printf 0x%x $((0x$(sed -n "s/ t $1$//p" /proc/kallsyms) + 32)); }
        # Until so many threads of a load are all there and rest in the function or between two reads.
        settle() { until [ "$(grep -l 'eventfd_read\|nanosleep' /proc/$1/task/*/wchan | wc -l)" = $2 ]; do usleep 20000; done; }

        """;

    private async Task<PatchProject> BuildAsync(params (string File, string Old, string New)[] changes)
    {
        PatchProject project = new(guest.Release);
        foreach (var (file, old, @new) in changes)
        {
            string patch = await KernelTree.ChangeAsync(guest.Release, file, (old, @new));
            project.Write(Path.GetFileNameWithoutExtension(file) + ".patch", patch);
        }
        return await UpdateGuest.BuiltAsync(project);
    }

    private Task<PatchProject> BuildAsync() => BuildAsync(EventReader.Change);

    private async Task<GuestResult> RunAsync(PatchProject project, string script, params GuestFile[] files) =>
        await guest.RunAsync(
            $"package={UpdateGuest.Place(project)} id={project.Id}\n{Requests}\n{script}",
            [
                UpdateGuest.Package(project),
                await UpdateGuest.ProgramAsync("../../benchmarks/livepatch-load/load.c"),
                await UpdateGuest.ProgramAsync("../../benchmarks/livepatch-load/measure.c"),
                await EventReader.ProgramAsync(),
                await TestModule.BuildAsync("parked", guest.Release),
                .. files,
            ]
        );

    private static (string Cause, int Stops, int Held, int Milliseconds) Report(GuestResult result, string request)
    {
        var match = Regex.Match(result.Output, $@"^{request} (\w+), stops (\d+), held (\d+) for (\d+) ms$", RegexOptions.Multiline);
        Assert.True(match.Success, result.Output);
        return (match.Groups[1].Value, Number(2), Number(3), Number(4));
        int Number(int group) => int.Parse(match.Groups[group].Value, CultureInfo.InvariantCulture);
    }

    // The load ends when a read ends without a value. Eight are in the function for three quarters of the time; nobody wakes the one.
    [Theory]
    [InlineData("0 0 0 8 0", 0)]
    [InlineData("0 0 0 0 1", 1)]
    [InlineData("0 0 0 40 9", 9)]
    public async Task Threads_that_are_in_the_function_again_and_again_are_held_and_see_nothing_of_it(string load, int least)
    {
        using var project = await BuildAsync();
        var result = await RunAsync(
            project,
            $$"""
            load
            load_is() { kill -0 $pid && echo "the load goes on" || exit 1; }
            /bin/load {{load}} & pid=$!
            settle $pid {{1 + load.Split(' ').Sum(int.Parse)}}
            measure effect
            ask applied; measure effect; sleep 1; load_is
            ask reversed; measure effect; sleep 1; load_is
            kill $pid
            unload
            """
        );
        result.MustEndWith(0);
        foreach (string request in (string[])["applied", "reversed"])
        {
            var report = Report(result, request);
            Assert.Equal("ok", report.Cause);
            Assert.InRange(report.Stops, 1, 2);
            Assert.True(report.Held >= least, result.Output);
        }
        Assert.Equal(
            ["old", "new", "the load goes on", "old", "the load goes on", "unloaded"],
            result.Lines.Where(line => !line.Contains(", stops ", StringComparison.Ordinal))
        );
    }

    [Fact]
    public async Task A_system_call_that_can_be_restarted_is_and_one_that_cannot_ends_with_EINTR()
    {
        using var project = await BuildAsync(
            ("fs/select.c", "\tif (nfds > rlimit(RLIMIT_NOFILE))\n", "\tif (nfds > rlimit(RLIMIT_NOFILE) || nfds == 424242)\n"),
            ("fs/eventpoll.c", "\tif (maxevents <= 0 || maxevents", "\tif (maxevents == 424242 || maxevents <= 0 || maxevents"),
            (
                "kernel/time/hrtimer.c",
                "\thrtimer_init_sleeper_on_stack(&t, clockid, mode);\n\thrtimer_set_expires_range_ns(&t.timer, rqtp, current",
                "\tif (rqtp == 424242)\n\t\treturn -EFBIG;\n"
                    + "\thrtimer_init_sleeper_on_stack(&t, clockid, mode);\n\thrtimer_set_expires_range_ns(&t.timer, rqtp, current"
            )
        );
        var result = await RunAsync(
            project,
            """
            load
            enter() { held $1 15000 >/tmp/$1 & until grep -q $2 /proc/$!/stack; do usleep 20000; done; }
            enter nanosleep hrtimer_nanosleep; enter poll do_sys_poll; enter epoll do_epoll_wait
            ask applied
            wait
            cat /tmp/*l* | sort -u
            ask reversed
            """
        );
        result.MustEndWith(0);
        var report = Report(result, "applied");
        Assert.Equal("ok", report.Cause);
        Assert.True(report.Held >= 3, result.Output);
        Assert.Equal(
            ["epoll: Interrupted system call, early", "nanosleep: ok, in time", "poll: ok, in time"],
            result.Lines.Where(line => Regex.IsMatch(line, "^(epoll|nanosleep|poll): "))
        );
        Assert.Equal("ok", Report(result, "reversed").Cause);
    }

    // A kernel thread stays in the way, so that the request fails.
    [Fact]
    public async Task Nobody_is_held_for_longer_than_the_limit_and_all_go_on_when_the_request_fails()
    {
        using var project = await BuildAsync();
        var result = await RunAsync(
            project,
            """
            load hold_ms=300
            insmod /parked.ko word=$(on eventfd_read) || exit 1
            /bin/load 0 0 0 4 1 & pid=$!
            settle $pid 6
            echo 1 >$sys/max_tries; echo 6000 >$sys/retry_ms
            ask applied
            settle $pid 6
            cat /proc/$pid/task/*/stack | grep -c eventfd_read
            rmmod parked
            ask reversed
            ask applied
            """
        );
        result.MustEndWith(0);
        var report = Report(result, "applied");
        Assert.Equal(("code_busy", 0), (report.Cause, report.Stops));
        Assert.True(report.Held >= 5, result.Output);
        Assert.InRange(report.Milliseconds, 1, 2000);
        Assert.Equal("applied ok", result.Lines[^1][.."applied ok".Length]);
        Assert.Matches("(?m)^[1-5]$", result.Output);
    }

    [Fact]
    public async Task A_thread_that_is_held_dies_at_once_when_it_is_killed()
    {
        using var project = await BuildAsync();
        var result = await RunAsync(
            project,
            $$"""
            load hold_ms=10000
            insmod /parked.ko word=$(on eventfd_read) || exit 1
            {{EventReader.Park}}
            echo 1 >$sys/max_tries; echo 6000 >$sys/retry_ms
            echo applied >$sys/stage
            until grep -q stand_at_the_door /proc/$parked/stack; do usleep 10000; done
            kill -9 $parked
            wait $parked
            echo "died $?, busy $(cat $sys/busy)"
            await
            see applied
            rmmod parked
            unload
            """
        );
        result.MustEndWith(0);
        Assert.Contains("died 137, busy 1", result.Lines);
        Assert.Contains("unloaded", result.Lines);
        Assert.True(Report(result, "applied").Held >= 1, result.Output);
    }

    // The thread is asked to the door, and nobody wakes it: it comes when the core is not there any more.
    [Fact]
    public async Task What_a_thread_was_asked_to_do_is_taken_back_when_the_request_ends()
    {
        using var project = await BuildAsync();
        var result = await RunAsync(
            project,
            $$"""
            load interrupt_after_ms=10000
            {{EventReader.Park}}
            echo 1 >$sys/max_tries
            ask applied
            unload || exit 1
            kill -STOP $parked; until grep -q '^State:.T' /proc/$parked/status; do usleep 20000; done
            kill -CONT $parked; until [ "$(cat /proc/$parked/wchan)" = eventfd_read ]; do usleep 20000; done
            grep -c eventfd_read /proc/$parked/stack
            """
        );
        result.MustEndWith(0);
        Assert.Equal(["applied code_busy, stops 0, held 0 for 0 ms", "unloaded", "1"], result.Lines);
    }

    // With a core that fails on purpose, from $core.
    private async Task<GuestResult> RunWithFaultsAsync(PatchProject project, string script)
    {
        return await RunAsync(project, "core=/ksplice.ko\n" + script, await TestModule.BuildCoreAsync(guest.Release, "KSPLICE_FAULTS=y"));
    }

    [Fact]
    public async Task The_core_stays_until_the_last_thread_has_left_the_door()
    {
        using var project = await BuildAsync();
        var result = await RunWithFaultsAsync(
            project,
            $$"""
            load
            {{EventReader.Park}}
            echo 'on the way from the door' >$parameters/fail_at
            ask applied
            ask reversed
            grep -c stand_at_the_door /proc/$parked/stack
            unload & unload=$!
            until [ ! -e /sys/kernel/ksplice ]; do usleep 20000; done
            kill -0 $unload && grep -c stand_at_the_door /proc/$parked/stack
            echo 0 >$parameters/fail_at
            wait $unload
            until [ "$(cat /proc/$parked/wchan)" = eventfd_read ]; do usleep 20000; done
            echo "back again"
            """
        );
        result.MustEndWith(0);
        Assert.Equal(("ok", "ok"), (Report(result, "applied").Cause, Report(result, "reversed").Cause));
        Assert.Equal(["1", "1", "unloaded", "back again"], result.Lines.TakeLast(4));
    }

    // The core waits between the scan, which sees the thread at the door, and the stop, until the thread is in the function again. What of
    // its stack was listed at the door is as high up as the frame of vfs_read.
    [Fact]
    public async Task A_thread_that_has_left_the_door_and_is_in_the_function_again_is_found()
    {
        const string First = "\tif (!(file->f_mode & FMODE_READ))\n";
        using var project = await BuildAsync(("fs/read_write.c", First, "\tif (count == 4242)\n\t\treturn -EFBIG;\n" + First));
        var result = await RunWithFaultsAsync(
            project,
            $$"""
            load hold_ms=1000
            {{EventReader.Park}}
            echo 1 >$sys/max_tries
            echo 'between scan and stop' >$parameters/fail_at
            echo applied >$sys/stage
            until grep -q '^0 between' $parameters/fail_at; do usleep 20000; done
            until [ "$(cat /proc/$parked/wchan)" = eventfd_read ]; do usleep 20000; done
            echo 0 >$parameters/fail_at
            await
            see applied
            grep -c '^held .* vfs_read' $sys/conflicts
            echo 5 >$sys/max_tries
            ask applied
            """
        );
        result.MustEndWith(0);
        Assert.Matches("^applied code_busy, stops 1, held [1-9]", result.Lines[0]);
        Assert.Equal("1", result.Lines[1]);
        Assert.Matches("^applied ok, ", result.Lines[2]);
    }

    // The second thread sleeps so that the core does not wake it: it never runs, and so there is no stop.
    [Fact]
    public async Task A_kernel_thread_that_sleeps_in_the_function_is_woken_and_not_held()
    {
        using var project = await BuildAsync();
        var result = await RunAsync(
            project,
            """
            load
            insmod /parked.ko leaves=1 word=$(on eventfd_read) || exit 1
            ask applied
            rmmod parked
            ask reversed
            insmod /parked.ko word=$(on eventfd_read) || exit 1
            echo 2 >$sys/max_tries
            ask applied
            cut -d' ' -f1,3 $sys/conflicts
            """
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "applied ok, stops 1, held 0 for 0 ms",
                "reversed ok, stops 1, held 0 for 0 ms",
                "applied code_busy, stops 0, held 0 for 0 ms",
                "parked eventfd_read",
            ],
            result.Lines
        );
    }
}
