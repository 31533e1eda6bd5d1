// SPDX-License-Identifier: MIT
// Threads are read before the machine is stopped, while everybody else runs.
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class ScanTests(Guest guest)
{
    // K31: all threads are read before the machine stops, and in the stop those that ran since or are new. The core of this test waits
    // in between, until a thread has gone into the function; meanwhile each of a thousand threads runs.
    [Fact]
    public async Task A_thread_that_goes_into_the_function_between_scan_and_stop_is_found()
    {
        using PatchProject project = new(guest.Release);
        await EventReader.WritePatchAsync(project, guest.Release);
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            package={{UpdateGuest.Place(project)}} sys=/sys/kernel/ksplice/{{project.Id}}
            insmod /ksplice.ko || exit 1
            for module in $package/*_helper.ko $package/*_data.ko $package/*_primary.ko; do
                [ ! -e $module ] || insmod $module || exit 1
            done
            echo 1 >$sys/max_tries; echo 0 >$sys/retry_ms
            fail_at=/sys/module/ksplice/parameters/fail_at n=1001
            crowd 1000 &
            crowd=$!
            await_all() { until [ "$(ls /proc/$crowd/task 2>/dev/null | wc -l)" = $n ]; do sleep 0.1; done; }
            await_all
            send_in() { kill -$1 $crowd; until grep -q eventfd_read /proc/$crowd/task/*/wchan; do usleep 20000; done; }
            let_out() { kill -HUP $crowd; [ $1 = USR2 ] || n=$((n - 1)); await_all; }
            try() {
                echo 'between scan and stop' >$fail_at
                echo $1 >$sys/stage
                until grep -q '^0 between' $fail_at || [ "$(cat $sys/busy)" = 0 ]; do usleep 20000; done
                if [ -n "$2" ]; then send_in $2; else sleep 2; fi
                echo 0 >$fail_at
                while [ "$(cat $sys/busy)" = 1 ]; do sleep 0.1; done
                echo "$1 $2 $(cat $sys/abort_cause) stops $(cat $sys/stops) $(cut -d' ' -f1,3 $sys/conflicts)"
                [ -z "$2" ] || let_out $2
            }
            try applied USR1
            try applied USR1
            try applied USR2
            try applied
            try reversed USR1
            try reversed USR2
            try reversed
            kill -9 $crowd
            """,
            ["--timeout", "300"],
            UpdateGuest.Package(project),
            await TestModule.BuildCoreAsync(guest.Release, "KSPLICE_FAULTS=y"),
            await UpdateGuest.ProgramAsync("crowd/crowd.c")
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "applied USR1 code_busy stops 1 crowd eventfd_read",
                "applied USR1 code_busy stops 1 crowd eventfd_read",
                "applied USR2 code_busy stops 1 crowd eventfd_read",
                "applied  ok stops 1",
                "reversed USR1 code_busy stops 1 crowd new",
                "reversed USR2 code_busy stops 1 crowd new",
                "reversed  ok stops 1",
            ],
            result.Lines.Where(line => Regex.IsMatch(line, "^(applied|reversed) ")).Select(line => line.TrimEnd())
        );
    }
}
