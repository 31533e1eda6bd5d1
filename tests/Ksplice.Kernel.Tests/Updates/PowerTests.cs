// SPDX-License-Identifier: MIT
// Processors that come and go, sleep, hibernation, another kernel by kexec, a crash: what is in force before, meanwhile and after.
using Ksplice.Kernel.Tests.Guests;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class PowerTests(Guest guest) : IDisposable
{
    // What the first and the second processor run.
    private const string See = """
        online() { echo $1 >/sys/devices/system/cpu/cpu1/online || exit 1; }
        see() {
            echo "$1:$(for cpu in $(seq $(nproc)); do
                taskset $cpu grep -q ^Pages: /proc/self/smaps && echo -n ' new' || echo -n ' old'
            done)"
        }

        """;

    private readonly string _work = Directory.CreateTempSubdirectory("ksplice-power-").FullName;

    public void Dispose() => Directory.Delete(_work, recursive: true);

    private Task<PatchProject> BuildAsync(string sample = "a-smaps-pages") => UpdateGuest.SampleAsync(sample, guest.Release);

    // A kernel that is started from this one gets an initramfs of what this one has.
    private static GuestFile Image => new(StockKernel.Image, "/vmlinuz");

    private const string Pack =
        "(cd / && find bin sbin lib lib64 usr init script vmlinuz objects dev proc sys tmp root etc var -xdev | "
        + "grep -v '^\\(dev\\|proc\\|sys\\|tmp\\)/' | cpio -o -H newc 2>/dev/null | gzip -1 >/tmp/initrd)";

    private static string[] Seen(GuestResult result) =>
        [.. result.Lines.Where(line => line.EndsWith(" new", StringComparison.Ordinal) || line.EndsWith(" old", StringComparison.Ordinal))];

    // The kernel of tests/long/debug-kernel has a reduced configuration.
    private void SkipWithout() =>
        Assert.SkipWhen(
            guest.Release.EndsWith("-ksplice-debug", StringComparison.Ordinal),
            "the debug kernel has no NVMe, no sleep, no hibernation and no kexec"
        );

    [Fact]
    public async Task A_processor_that_was_away_while_an_update_was_applied_or_undone_runs_what_the_others_run()
    {
        using var project = await BuildAsync();
        var result = await guest.RunAsync(
            $$"""
            {{See}}
            online 0
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            see away
            online 1
            see back
            online 0
            ksplice undo {{project.Id}} >/dev/null || exit 1
            see away
            online 1
            see back
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(["away: new", "back: new new", "away: old", "back: old old"], Seen(result));
    }

    [Fact]
    public async Task An_update_is_applied_and_undone_while_a_processor_comes_and_goes()
    {
        using var project = await BuildAsync();
        var result = await guest.RunAsync(
            $$"""
            {{See}}
            (times=0; while [ ! -e /tmp/enough ]; do online 0; online 1; times=$((times + 1)); echo $times >/tmp/times; done) &
            until [ -s /tmp/times ]; do usleep 100000; done
            before=$(cat /tmp/times) n=0
            while [ $n -lt 5 ]; do
                n=$((n + 1))
                ksplice apply {{UpdateGuest.Place(project)}} >/dev/null && grep -q ^Pages: /proc/self/smaps || exit 1
                ksplice undo {{project.Id}} >/dev/null && ! grep -q ^Pages: /proc/self/smaps || exit 1
            done
            [ $(cat /tmp/times) -ge $((before + 3)) ] || exit 2
            touch /tmp/enough
            wait
            see end
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(["end: old old"], Seen(result));
    }

    // K14: a processor that is offline has an idle task too; an NMI, or a kexec, lets it go on for a moment where it rests.
    [Fact]
    public async Task An_undo_waits_for_a_processor_that_rests_in_new_code()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "dead.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "arch/x86/kernel/smpboot.c",
                ("void native_play_dead(void)\n{\n", "void native_play_dead(void)\n{\n\tif (smp_processor_id() > 4096)\n\t\treturn;\n")
            )
        );
        (await project.BuildAsync()).MustSucceed();
        Assert.Contains("native_play_dead", UpdateGuest.Replaced(project));
        var result = await guest.RunAsync(
            $$"""
            {{See}}
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            online 0
            ksplice undo {{project.Id}}
            echo "undo $?"
            online 1
            ksplice undo {{project.Id}}
            echo "undo $?"
            online 0
            ksplice apply {{UpdateGuest.Place(project)}}
            echo "apply $?"
            online 1
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["undo 3", "undo 0", "apply 3"],
            result.Lines.Where(line =>
                line.StartsWith("undo ", StringComparison.Ordinal) || line.StartsWith("apply ", StringComparison.Ordinal)
            )
        );
        Assert.Matches(@"swapper/1\W+0\W+new code", result.Errors);
        Assert.Matches(@"swapper/1\W+0\W+native_play_dead", result.Errors);
    }

    // With one processor the kernel takes the lock prefixes out of its own code and of each module's, and
    // puts them back when a second one comes.
    [Fact]
    public async Task New_code_that_was_loaded_with_one_processor_locks_when_there_are_two()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "uptime.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/uptime.c",
                ("static int uptime_proc_show(", "static atomic_t shown;\n\nstatic int uptime_proc_show("),
                (
                    "\tidle_nsec = 0;\n",
                    "\tidle_nsec = 0;\n\tfor (i = 0; i < 100000; i++)\n\t\tatomic_inc(&shown);\n"
                        + "\tseq_printf(m, \"shown %d\\n\", atomic_read(&shown));\n"
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            {{See}}
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            online 1
            dmesg | grep -q 'switching to SMP code' || exit 2
            for cpu in 1 2; do taskset $cpu sh -c 'n=0; while [ $n -lt 50 ]; do read line </proc/uptime; n=$((n + 1)); done' & done
            wait
            head -1 /proc/uptime
            ksplice undo {{project.Id}} >/dev/null || exit 1
            grep -c shown /proc/uptime
            online 0
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            grep -c shown /proc/uptime
            """,
            ["--append", "maxcpus=1"],
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(["shown 10100000", "0", "1"], result.Lines);
    }

    // To wake a machine is to start all processors but the first one anew.
    [Fact]
    public async Task An_update_stays_in_force_over_a_sleep_and_one_that_waits_for_a_thread_is_applied_after_it()
    {
        SkipWithout();
        using var project = await BuildAsync();
        using var other = await BuildAsync("c-kmsg-permission");
        var result = await guest.RunAsync(
            $$"""
            {{See}}
            sleep_now() {
                echo 0 >/sys/class/rtc/rtc0/wakealarm; echo +5 >/sys/class/rtc/rtc0/wakealarm
                echo mem >/sys/power/state || exit 2
            }
            restrict() { echo "$1: restrict $(cat /proc/sys/kernel/dmesg_restrict)"; }
            echo 0 >/proc/sys/kernel/dmesg_restrict
            grep -q '\[deep\]' /sys/power/mem_sleep || exit 2
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            see before
            sleep_now
            see awake
            echo 0 >/sys/module/ksplice/parameters/hold_ms
            cat /dev/kmsg >/dev/null & parked=$!
            while ! grep -q devkmsg_read /proc/$parked/stack; do sleep 0.1; done
            ksplice apply --wait 300 {{UpdateGuest.Place(other)}} >/dev/null & asker=$!
            until [ "$(cat /sys/kernel/ksplice/{{other.Id}}/tries 2>/dev/null || echo 0)" -ge 1 ]; do sleep 0.1; done
            sleep_now
            kill $parked
            wait $asker
            echo "asked: $?"
            restrict applied
            ksplice undo {{other.Id}} >/dev/null || exit 1
            restrict undone
            ksplice undo {{project.Id}} >/dev/null || exit 1
            see undone
            sleep_now
            see awake
            [ $(dmesg | grep -c 'PM: suspend exit') = 3 ] || exit 2
            """,
            ["--allow", "hpet: Lost"],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            UpdateGuest.Package(other)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "before: new new",
                "awake: new new",
                "asked: 0",
                "applied: restrict 1",
                "undone: restrict 0",
                "undone: old old",
                "awake: old old",
            ],
            result.Lines
        );
    }

    // The image holds the kernel's code as it is and the modules; the kernel that reads it, at other addresses, is overwritten by it.
    [Fact]
    public async Task An_update_stays_in_force_over_hibernation()
    {
        SkipWithout();
        using var project = await BuildAsync();
        string disk = Path.Combine(_work, "disk");
        await using (var file = File.Create(disk))
            file.SetLength(1L << 30);
        var first = await guest.RunAsync(
            $$"""
            {{See}}
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            see before
            mkswap /dev/nvme0n1 >/dev/null && swapon /dev/nvme0n1 && echo shutdown >/sys/power/disk || exit 2
            echo "address $(sed -n 's/ T _text$//p' /proc/kallsyms)"
            echo disk >/sys/power/state || exit 2
            # From here on another machine has read the image.
            see awake
            echo "address $(sed -n 's/ T _text$//p' /proc/kallsyms)"
            ksplice undo {{project.Id}} >/dev/null || exit 1
            see undone
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            see again
            """,
            ["--disk", disk],
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        // It has switched itself off in the middle of the script.
        first.MustEndWith(GuestResult.KernelDied);
        Assert.Contains("reboot: Power down", first.Errors, StringComparison.Ordinal);
        Assert.Equal(["before: new new"], Seen(first));
        var second = await guest.RunAsync(
            "cat /sys/class/block/nvme0n1/dev >/sys/power/resume; echo not resumed; exit 3",
            ["--disk", disk]
        );
        second.MustEndWith(0);
        Assert.Equal(["awake: new new", "undone: old old", "again: new new"], Seen(second));
        Assert.Single(second.Lines, first.Lines.Single(line => line.StartsWith("address ", StringComparison.Ordinal)));
    }

    [Fact]
    [Trait("Run", "long")]
    public async Task A_kernel_that_is_started_by_kexec_has_no_update_until_they_are_restored()
    {
        SkipWithout();
        using var project = await BuildAsync();
        var result = await guest.RunAsync(
            $$"""
            {{See}}
            if ! grep -qw second /proc/cmdline; then
                mkdir -p /etc/systemd/system
                ksplice enable {{UpdateGuest.Place(project)}} >/dev/null && ksplice apply {{UpdateGuest.Place(
                project
            )}} >/dev/null || exit 1
                see first
                {{Pack}}
                exec start now /vmlinuz /tmp/initrd 'console=ttyS0 quiet no_timer_check panic=-1 panic_on_warn=1 oops=panic second'
            fi
            see second
            ksplice view
            eval "$(sed -n 's/^ExecStart=//p' /etc/systemd/system/multi-user.target.wants/ksplice.service)" >/dev/null || exit 1
            see restored
            """,
            ["--memory", "1200"],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            Image,
            await UpdateGuest.ProgramAsync("kexec/start.c")
        );
        result.MustEndWith(0);
        Assert.Equal(["first: new new", "second: old old", "no updates are loaded", "restored: new new"], result.Lines);
    }

    [Fact]
    [Trait("Run", "long")]
    public async Task A_crash_dump_of_a_kernel_with_an_update_shows_the_redirect_and_the_rest_of_the_unit_unchanged()
    {
        SkipWithout();
        using var project = await BuildAsync();
        string pre = Assert.Single(Directory.GetFiles(project.At("obj"), "task_mmu.pre.o", SearchOption.AllDirectories), file =>
            file.Contains(project.Id, StringComparison.Ordinal) || file.Contains(guest.Release, StringComparison.Ordinal)
        );
        var result = await guest.RunAsync(
            $$"""
            if [ ! -e /proc/vmcore ]; then
                {{Pack}}
                start crash /vmlinuz /tmp/initrd 'console=ttyS0 quiet no_timer_check panic=-1 nr_cpus=1 reset_devices' || exit 1
                ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
                grep -q ^Pages: /proc/self/smaps || exit 1
                echo c >/proc/sysrq-trigger
            fi
            ksplice match /objects/task_mmu.o --image /proc/vmcore --kernel /vmlinuz
            echo "match $?"
            """,
            ["--memory", "1400", "--smp", "1", "--append", "crashkernel=512M", "--allow", "."],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            Image,
            new(pre, "/objects/task_mmu.o"),
            await UpdateGuest.ProgramAsync("kexec/start.c")
        );
        result.MustEndWith(0);
        Assert.Equal("match 2", result.Lines[^1]);
        Assert.StartsWith(
            "differs  show_smap: other content: show_smap (",
            Assert.Single(result.Lines, line => line.StartsWith("differs", StringComparison.Ordinal)),
            StringComparison.Ordinal
        );
        Assert.Contains(result.Lines, line =>
            line.StartsWith("  > 0005: ", StringComparison.Ordinal)
            && line.EndsWith("  # code of a module, as an update's is", StringComparison.Ordinal)
        );
    }
}
