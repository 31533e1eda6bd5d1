// SPDX-License-Identifier: MIT
// On a processor with IBT an indirect call must lead to an ENDBR, and the kernel takes that from each of its functions whose
// address it does not take itself. On the same processor the kernel leads indirect branches through thunks that it makes behind its
// own image (ITS). One guest does everything that the core does, since it boots slowly, and leaves a dump to match against.
using System.Buffers.Binary;
using Ksplice.Kernel.Tests.Matching;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class IbtTests(Guest guest) : IDisposable
{
    private readonly string _work = Directory.CreateTempSubdirectory("ksplice-ibt-").FullName;

    public void Dispose() => Directory.Delete(_work, recursive: true);

    private static readonly string[] s_hooks =
    [
        "pre_apply",
        "check_apply",
        "apply",
        "post_apply",
        "fail_apply",
        "pre_reverse",
        "check_reverse",
        "reverse",
        "post_reverse",
        "fail_reverse",
    ];

    // Every kind of hook says its name; one that checks refuses while kernel.panic is 101.
    private static string Hook(string name)
    {
        string answer =
            name.StartsWith("check_", StringComparison.Ordinal) ? "panic_timeout == 101 ? -EPERM : 0"
            : name.StartsWith("pre_", StringComparison.Ordinal) ? "0"
            : "";
        return $$"""
            static {{(answer.Length == 0 ? "void" : "int")}} hook_{{name}}(void)
            {
            	pr_info("hook: {{name}}\n");
            	return {{answer}};
            }
            ksplice_{{name}}(hook_{{name}});


            """;
    }

    private static async Task<PatchProject> BuildAsync(string release, params (string Name, string Patch)[] patches)
    {
        PatchProject project = new(release);
        foreach (var (name, patch) in patches)
            project.Write(name, patch);
        return await UpdateGuest.BuiltAsync(project);
    }

    private static Task<string> SampleAsync(string path) =>
        File.ReadAllTextAsync(Repository.At("samples", path), TestContext.Current.CancellationToken);

    [Fact]
    public async Task Updates_hooks_probes_late_modules_and_matching_work_where_the_processor_checks_indirect_branches_and_has_ITS()
    {
        string release = await NewerSeries.ReleaseAsync();
        string pages = await SampleAsync("a-smaps-pages/smaps-pages.patch"),
            kernelPages = await SampleAsync("b-kernel-pages/kernel-pages.patch");
        // The first thing in rng_is_initialized is a jump label: it is reached through the tracer (K18).
        string random = await KernelTree.ChangeAsync(
            release,
            "drivers/char/random.c",
            ("\treturn crng_ready();\n", "\treturn crng_ready() && task_pid_nr(current) == 1;\n")
        );
        string loop = await KernelTree.ChangeAsync(
            release,
            "drivers/block/loop.c",
            ("\tsprintf(disk->disk_name, \"loop%d\", i);\n", "\tsprintf(disk->disk_name, \"loop%d\", i);\n\tdisk->disk_name[0] = 'w';\n")
        );
        using var first = await BuildAsync(
            release,
            ("pages.patch", pages),
            ("kernel-pages.patch", kernelPages),
            ("random.patch", random),
            ("loop.patch", loop)
        );
        using PatchProject second = new(release);
        second.OnTopOf(first);
        second.Write(
            "second.patch",
            """
            --- a/fs/proc/task_mmu.c
            +++ b/fs/proc/task_mmu.c
            @@ -900,4 +900,5 @@
             	seq_puts(m, " kB\n");
             	seq_printf(m, "Pages:          %8lu\n", vma_pages(vma));
            +	seq_printf(m, "Second:         %8lu\n", vma_pages(vma));
             
             	__show_smap(m, &mss, false);

            """
        );
        (await second.BuildAsync()).MustSucceed();
        using var hooks = await BuildAsync(
            release,
            (
                "hooks.patch",
                await KernelTree.ChangeAsync(
                    release,
                    "kernel/panic.c",
                    ("#include <asm/sections.h>\n", "#include <asm/sections.h>\n#include <ksplice/hooks.h>\n"),
                    ("\treturn test_bit(flag, &tainted_mask);\n", "\treturn flag == 31 || test_bit(flag, &tainted_mask);\n"),
                    ("unsigned long get_taint(void)\n", string.Concat(s_hooks.Select(Hook)) + "unsigned long get_taint(void)\n")
                )
            )
        );
        string unit = await MatchCommand.CompileAsync("drivers/base/attribute_container.c", release, _work),
            dump = Path.Combine(_work, "dump");

        var result = await guest.RunAsync(
            $$"""
            grep -qw ibt /proc/cpuinfo && dmesg | grep -o 'Indirect Branch Tracking enabled'
            cat /sys/devices/system/cpu/vulnerabilities/indirect_target_selection
            tracing=/sys/kernel/tracing
            some() { sed 's/^[1-9].*/some/'; }
            look() {
                echo >$tracing/trace
                echo "$1: pages $(grep -c ^Pages: /proc/self/smaps | some), second $(grep -c ^Second: /proc/self/smaps | some)," \
                    "vvar $(grep -c vvar /proc/1/maps), probe $(grep -c entry: $tracing/trace | some)"
            }
            ask() { insmod /asker.ko 2>/dev/null; echo "random $?"; rmmod asker 2>/dev/null; }
            module() { insmod /loop.ko && echo "module $(cd /sys/block && echo *oop0)"; }
            do_() { ksplice $1 $2 >/dev/null; echo "$1 $?"; }
            echo 'p:entry show_smap' >$tracing/kprobe_events
            echo 1 >$tracing/events/kprobes/entry/enable
            look before
            ask
            do_ apply {{UpdateGuest.Place(first)}}
            look first
            ask
            module
            do_ apply {{UpdateGuest.Place(second)}}
            look second
            do_ undo {{second.Id}}
            look first
            rmmod loop && module
            do_ undo {{first.Id}}
            look undone
            ask
            rmmod loop && module

            cd {{UpdateGuest.Place(hooks)}}
            sys=/sys/kernel/ksplice/{{hooks.Id}}
            insmod ksplice.ko && insmod *_helper.ko && insmod *_data.ko && insmod *_primary.ko || exit 1
            for request in "applied 101" "applied 1" "reversed 101" "reversed 1"; do
                set -- $request
                echo "request $request" >/dev/kmsg
                echo $2 >/proc/sys/kernel/panic
                echo $1 >$sys/stage
                while [ "$(cat $sys/busy)" = 1 ]; do usleep 20000; done
                echo "$(dmesg | sed "1,/request $request\$/d" | sed -n 's/.*hook: //p' | tr '\n' ' ')$(cat $sys/stage)"
            done
            """,
            ["--emulator", "bochs", "--release", release, "--timeout", "900", "--dump", dump],
            UpdateGuest.Command,
            UpdateGuest.Package(first),
            UpdateGuest.Package(second),
            UpdateGuest.Package(hooks),
            UpdateGuest.Module(release, "drivers/block/loop"),
            await TestModule.BuildAsync("asker", release)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "Indirect Branch Tracking enabled",
                "Mitigation: Aligned branch/return thunks",
                "before: pages 0, second 0, vvar 1, probe some",
                "random 0",
                "apply 0",
                "first: pages some, second 0, vvar 0, probe some",
                "random 11",
                "module woop0",
                "apply 0",
                "second: pages some, second some, vvar 0, probe some",
                "undo 0",
                "first: pages some, second 0, vvar 0, probe some",
                "module woop0",
                "undo 0",
                "undone: pages 0, second 0, vvar 1, probe some",
                "random 0",
                "module loop0",
                "pre_apply check_apply fail_apply preparing",
                "pre_apply check_apply apply post_apply applied",
                "pre_reverse check_reverse fail_reverse applied",
                "pre_reverse check_reverse reverse post_reverse reversed",
            ],
            result.Lines
        );

        // Some of the unit's functions branch through thunks of the kernel's own making: without the pages behind the image they differ.
        await MatchCommand.RunAsync(0, unit, dump);
        RemoveSegmentsBehindTheImage(dump);
        string[] differing =
        [
            .. (await MatchCommand.RunAsync(2, unit, dump)).Where(line => line.StartsWith("differs", StringComparison.Ordinal)),
        ];
        Assert.NotEmpty(differing);
        Assert.All(differing, line => Assert.Contains(": two values of one symbol: ", line, StringComparison.Ordinal));
    }

    private static void RemoveSegmentsBehindTheImage(string dump)
    {
        const ulong ModulesStart = 0xffffffffc0000000;
        const int HeaderSize = 64,
            ProgramHeaderSize = 56;
        using var file = File.Open(dump, FileMode.Open, FileAccess.ReadWrite);
        byte[] header = new byte[HeaderSize];
        file.ReadExactly(header);
        byte[] headers = new byte[BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(56)) * ProgramHeaderSize];
        file.ReadExactly(headers);
        for (int at = 0; at < headers.Length; at += ProgramHeaderSize)
        {
            if (BinaryPrimitives.ReadUInt64LittleEndian(headers.AsSpan(at + 16)) >= ModulesStart)
                headers.AsSpan(at, 4).Clear(); // PT_NULL
        }
        file.Position = HeaderSize;
        file.Write(headers);
    }
}
