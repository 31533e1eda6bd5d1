// SPDX-License-Identifier: MIT
// A booted kernel's memory, with all that boot and its own tools rewrote: seen from inside by /proc/kcore, and from outside by
// a dump. KASLR moves the kernel at each boot.
using Ksplice.Build.Kernel;
using Ksplice.Kernel.Tests.Updates;

namespace Ksplice.Kernel.Tests.Matching;

public sealed class MemoryMatchTests(Guest guest) : IDisposable
{
    private readonly string _work = Directory.CreateTempSubdirectory("ksplice-memory-").FullName;

    public void Dispose() => Directory.Delete(_work, recursive: true);

    private static string Image => StockKernel.Image;

    private Task<string> CompileAsync(string source, string? release = null) =>
        MatchCommand.CompileAsync(source, release ?? guest.Release, _work);

    [Fact]
    public async Task Memory_is_matched_from_inside_and_from_a_dump_and_a_probed_function_is_told()
    {
        // static_cpu_has, static calls, paravirt, jump labels, retpolines, lock prefixes; and what tracers and probes write.
        string stat = await CompileAsync("fs/stat.c"),
            xstate = await CompileAsync("arch/x86/kernel/fpu/xstate.c"),
            process = await CompileAsync("arch/x86/kernel/process.c");
        string dump = Path.Combine(_work, "dump");
        var result = await guest.RunAsync(
            """
            echo 0 >/proc/sys/debug/kprobes-optimization
            cd /sys/kernel/tracing
            echo 'p:middle generic_fillattr+5' >>kprobe_events
            echo 'p:entry vfs_getattr' >>kprobe_events
            echo 1 >events/kprobes/enable
            echo 'vfs_statx cp_new_stat' >set_ftrace_filter
            echo function >current_tracer
            ksplice match /stat.o --image /proc/kcore --kernel /vmlinuz
            [ $? = 2 ] && ksplice match /xstate.o --image /proc/kcore --kernel /vmlinuz &&
                ksplice match /process.o --image /proc/kcore --kernel /vmlinuz
            """,
            ["--dump", dump, "--memory", "400"],
            UpdateGuestCommand,
            new(stat, "/stat.o"),
            new(xstate, "/xstate.o"),
            new(process, "/process.o"),
            new(Image, "/vmlinuz")
        );
        result.MustEndWith(0);
        var inside = result.Lines.Where(line => !line.StartsWith("Linux", StringComparison.Ordinal));
        var outside = (await MatchCommand.RunAsync(2, stat, dump))
            .Concat(await MatchCommand.RunAsync(0, xstate, dump))
            .Concat(await MatchCommand.RunAsync(0, process, dump))
            .Where(line => !line.StartsWith("Linux", StringComparison.Ordinal));
        Assert.Equal(inside, outside.Select(line => line.Replace(_work, "", StringComparison.Ordinal)));
        string probed = Assert.Single(inside, line => line.StartsWith("differs", StringComparison.Ordinal));
        Assert.StartsWith("differs  generic_fillattr: a kprobe in the code: generic_fillattr (", probed, StringComparison.Ordinal);
        Assert.Contains(inside, line =>
            line.StartsWith("  > 0005: ", StringComparison.Ordinal) && line.EndsWith(": int3", StringComparison.Ordinal)
        );
        Assert.True(inside.Count(line => line.StartsWith("matched", StringComparison.Ordinal)) > 50);

        // An image of the same release but another build: one letter of its banner is another, behind the release.
        byte[] vmlinux = KernelPayload.Unpack(await File.ReadAllBytesAsync(Image, TestContext.Current.CancellationToken));
        string other = Path.Combine(_work, "vmlinux");
        byte[] banner = System.Text.Encoding.ASCII.GetBytes($"Linux version {guest.Release} (");
        int changed = 0;
        for (int at = 0, next; (next = vmlinux.AsSpan(at).IndexOf(banner)) >= 0; at += next + banner.Length, changed++)
            vmlinux[at + next + banner.Length] ^= 1;
        Assert.NotEqual(0, changed);
        await File.WriteAllBytesAsync(other, vmlinux, TestContext.Current.CancellationToken);
        Assert.Contains(await MatchCommand.RunAsync(1, stat, dump, "--kernel", other), line =>
            line.Contains("KSP4062", StringComparison.Ordinal)
        );

        // The dump with one bit of a matched function changed.
        string address = inside.First(line => line.StartsWith("matched  vfs_fstat ", StringComparison.Ordinal)).Split("at 0x")[1];
        await DamageAsync(dump, Convert.ToUInt64(address, 16) + 8);
        Assert.Equal(2, (await MatchCommand.RunAsync(2, stat, dump)).Count(line => line.StartsWith("differs", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task The_jumps_of_an_optimised_kprobe_and_of_an_update_are_told_apart()
    {
        string stat = await CompileAsync("fs/stat.c"),
            maps = await CompileAsync("fs/proc/task_mmu.c"),
            dump = Path.Combine(_work, "dump");
        var project = await UpdateGuest.SampleAsync("a-smaps-pages", guest.Release);
        var result = await guest.RunAsync(
            $"""
            cd /sys/kernel/tracing
            echo 'p:middle generic_fillattr+5' >>kprobe_events
            echo 1 >events/kprobes/enable
            until grep -q OPTIMIZED /sys/kernel/debug/kprobes/list; do usleep 100000; done
            ksplice apply {UpdateGuest.Place(project)}
            """,
            ["--dump", dump, "--memory", "400"],
            UpdateGuest.Command,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        string[] probed = await MatchCommand.RunAsync(2, stat, dump),
            updated = await MatchCommand.RunAsync(2, maps, dump);
        Assert.StartsWith(
            "differs  generic_fillattr: a kprobe in the code: generic_fillattr (",
            Assert.Single(probed, line => line.StartsWith("differs", StringComparison.Ordinal)),
            StringComparison.Ordinal
        );
        Assert.Contains(probed, line =>
            line.StartsWith("  > 0005: ", StringComparison.Ordinal) && line.EndsWith("  # a kprobe's detour", StringComparison.Ordinal)
        );
        Assert.StartsWith(
            "differs  show_smap: other content: show_smap (",
            Assert.Single(updated, line => line.StartsWith("differs", StringComparison.Ordinal)),
            StringComparison.Ordinal
        );
        Assert.Contains(updated, line =>
            line.StartsWith("  > 0005: ", StringComparison.Ordinal)
            && line.Contains(": jmp 0xFFFFFFFFC", StringComparison.Ordinal)
            && line.EndsWith("  # code of a module, as an update's is", StringComparison.Ordinal)
        );
    }

    [Fact]
    public async Task A_kernel_that_rewrote_its_indirect_jumps_returns_and_lock_prefixes_is_matched()
    {
        string stat = await CompileAsync("fs/stat.c"),
            xstate = await CompileAsync("arch/x86/kernel/fpu/xstate.c"),
            process = await CompileAsync("arch/x86/kernel/process.c");
        string dump = Path.Combine(_work, "dump");
        var result = await guest.RunAsync(
            "cd /sys/devices/system/cpu/vulnerabilities; cat spectre_v2 retbleed; nproc",
            [
                "--dump",
                dump,
                "--memory",
                "256",
                "--cpu",
                "EPYC",
                "--smp",
                "1",
                "--append",
                "nosmp spectre_v2=retpoline,lfence",
                "--allow",
                "Spectre V2",
            ]
        );
        result.MustEndWith(0);
        Assert.StartsWith("Vulnerable: LFENCE", result.Lines[0], StringComparison.Ordinal);
        Assert.StartsWith("Mitigation: untrained return thunk", result.Lines[1], StringComparison.Ordinal);
        Assert.Equal("1", result.Lines[2]);
        foreach (string path in (string[])[stat, xstate, process])
            Assert.DoesNotContain(await MatchCommand.RunAsync(0, path, dump), line => line.StartsWith("differs", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_6_12_kernel_that_made_jumps_of_alternatives_shorter_and_counts_calls_is_matched()
    {
        // pgtable_l5_enabled(), on a processor without five levels; call depth tracking.
        string release = await NewerSeries.ReleaseAsync(),
            unit = await CompileAsync("mm/memory-failure.c", release),
            dump = Path.Combine(_work, "dump");
        var result = await guest.RunAsync(
            "grep -c la57 /proc/cpuinfo; cat /sys/devices/system/cpu/vulnerabilities/retbleed",
            [
                "--release",
                release,
                "--dump",
                dump,
                "--memory",
                "256",
                "--cpu",
                "Skylake-Client",
                "--smp",
                "1",
                "--append",
                "retbleed=stuff spectre_v2=retpoline",
                "--allow",
                "RETBleed|Spectre V2",
            ]
        );
        Assert.Equal(["0", "Mitigation: Stuffing"], result.Lines);
        await MatchCommand.RunAsync(0, unit, dump);
    }

    private static GuestFile UpdateGuestCommand => new(Repository.Command, "/bin/ksplice");

    // The page is found in the file by its content; what the guest read of itself is there again.
    private static async Task DamageAsync(string dump, ulong address)
    {
        byte[] page = new byte[4096];
        using (var memory = KernelMemory.Open(dump))
            Assert.True(memory.TryRead(address & ~0xffful, page));
        byte[] file = await File.ReadAllBytesAsync(dump, TestContext.Current.CancellationToken);
        int damaged = 0;
        for (int at = 0, next; (next = file.AsSpan(at).IndexOf(page)) >= 0; damaged++)
        {
            at += next;
            file[at + (int)(address & 0xfff)] ^= 1;
        }
        Assert.NotEqual(0, damaged);
        File.Delete(dump);
        await File.WriteAllBytesAsync(dump, file, TestContext.Current.CancellationToken);
    }
}
