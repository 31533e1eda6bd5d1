// SPDX-License-Identifier: MIT
// The fixture itself: a test that relies on the guest is worth what the guest reports.
using Ksplice.Kernel.Tests.Updates;

namespace Ksplice.Kernel.Tests.Guests;

public sealed class GuestTests(Guest guest)
{
    [Fact]
    public async Task Boots_the_release_and_returns_output_errors_and_exit_code()
    {
        var result = await guest.RunAsync("uname -r; echo oh >&2; exit 7");
        result.MustEndWith(7);
        Assert.Equal([guest.Release], result.Lines);
        Assert.StartsWith("oh", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Has_tracefs_debugfs_two_processors_and_a_moved_kernel()
    {
        var result = await guest.RunAsync(
            """
            set -e
            test -d /sys/kernel/debug/tracing -a -f /sys/kernel/tracing/trace
            grep -c ^processor /proc/cpuinfo
            grep ' T _text$' /proc/kallsyms
            """
        );
        result.MustEndWith(0);
        Assert.Equal("2", result.Lines[0]);
        Assert.DoesNotContain("ffffffff81000000", result.Lines[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Runs_a_dynamic_program_with_its_libraries()
    {
        var result = await guest.RunAsync("/tools/readelf -h /tools/readelf", new GuestFile("/usr/bin/readelf", "/tools/readelf"));
        result.MustEndWith(0);
        Assert.Contains("ELF64", result.Output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Reports_a_kernel_panic()
    {
        var result = await guest.RunAsync("echo before; echo c >/proc/sysrq-trigger; echo after");
        result.MustEndWith(GuestResult.KernelDied);
        Assert.Equal(["before"], result.Lines);
        Assert.Contains("sysrq triggered crash", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Reports_a_kernel_message_of_warning_level()
    {
        // A module whose dependency is not loaded: the loader warns of its unknown symbols.
        var module = UpdateGuest.Module(guest.Release, "drivers/md/dm-crypt");
        var result = await guest.RunAsync("insmod /dm-crypt.ko; true", module);
        result.MustEndWith(GuestResult.KernelMessages);
        Assert.Contains("Unknown symbol", result.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Ends_a_guest_that_hangs()
    {
        var result = await guest.RunAsync("echo here; sleep 1000", ["--timeout", "15"]);
        result.MustEndWith(GuestResult.Hung);
        Assert.Equal(["here"], result.Lines);
    }
}
