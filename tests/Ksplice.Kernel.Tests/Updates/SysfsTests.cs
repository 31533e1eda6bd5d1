// SPDX-License-Identifier: MIT
// What /sys/kernel/ksplice shows of an update that is larger than the examples.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class SysfsTests(Guest guest)
{
    // Every function of five files that returns EINVAL differs. Nothing of it is ever applied.
    private const string Patch = """
        --- a/fs/namespace.c
        +++ b/fs/namespace.c
        @@ -35,5 +35,7 @@
         
         #include "pnode.h"
         #include "internal.h"
        +#undef EINVAL
        +#define EINVAL 122
         
         /* Maximum number of mounts in a mount namespace */
        --- a/fs/open.c
        +++ b/fs/open.c
        @@ -36,3 +36,5 @@
         
         #include "internal.h"
        +#undef EINVAL
        +#define EINVAL 122
         
        --- a/mm/mempolicy.c
        +++ b/mm/mempolicy.c
        @@ -109,4 +109,6 @@
         
         #include "internal.h"
        +#undef EINVAL
        +#define EINVAL 122
         
         /* Internal flags */
        --- a/net/core/sock.c
        +++ b/net/core/sock.c
        @@ -143,5 +143,7 @@
         #include <linux/ethtool.h>
         
         #include "dev.h"
        +#undef EINVAL
        +#define EINVAL 122
         
         static DEFINE_MUTEX(proto_list_mutex);
        --- a/kernel/events/core.c
        +++ b/kernel/events/core.c
        @@ -60,4 +60,6 @@
         
         #include <asm/irq_regs.h>
        +#undef EINVAL
        +#define EINVAL 122
         
         typedef int (*remote_function_f)(void *);

        """;

    [Fact]
    public async Task Shows_all_functions_of_an_update_that_has_more_than_a_page_of_them()
    {
        using PatchProject project = new(guest.Release);
        project.Write("many.patch", Patch);
        (await project.BuildAsync()).MustSucceed();
        string[] replaced = UpdateGuest.Replaced(project);
        var result = await guest.RunAsync(
            $$"""
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko && insmod ksplice_{{project.Id}}_0_helper.ko && insmod ksplice_{{project.Id}}_0_primary.ko || exit 1
            cd /sys/kernel/ksplice/{{project.Id}}
            cat functions
            dd if=functions bs=7 2>/dev/null | cmp - functions; echo "pieces $?"
            echo $(stat -c %n:%a *)
            for set in max_tries=0 max_tries=1001 max_tries=1000 retry_ms=60001 retry_ms=0 max_tries=-1 retry_ms=; do
                echo ${set#*=} >${set%=*} 2>/dev/null && echo "taken $set"
            done
            echo "left with $(cat max_tries retry_ms | tr '\n' ' ')"
            cd /sys/module/ksplice/parameters
            for set in hold_ms=10001 hold_ms=10000 hold_ms=0 hold_after_ms=-1 interrupt_after_ms=70; do
                echo ${set#*=} >${set%=*} 2>/dev/null && echo "taken $set"
            done
            echo $(stat -c %n:%a *hold* inter*) left with $(cat hold_after_ms interrupt_after_ms hold_ms)
            """,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "pieces 0",
                "abort_cause:444 busy:444 conflicts:400 functions:400 held:444 held_ns:444 max_tries:600 overridden:400 pause_ns:444 "
                    + "reason:400 retry_ms:600 scan_ms:600 stage:644 stops:400 targets:400 tries:444",
                "taken max_tries=1000",
                "taken retry_ms=0",
                "left with 1000 0 ",
                "taken hold_ms=10000",
                "taken hold_ms=0",
                "taken interrupt_after_ms=70",
                "hold_after_ms:600 hold_ms:600 interrupt_after_ms:600 left with 50 70 0",
            ],
            result.Lines.TakeLast(9)
        );
        string[] lines = [.. result.Lines.SkipLast(9)];
        Assert.True(lines.Sum(line => line.Length + 1) > 4096, $"{lines.Length} functions");
        Assert.All(lines, line => Assert.Matches("^[\\w.]+ ffffffff[0-9a-f]{8} ffffffff[0-9a-f]{8} vmlinux (jump|tracer)$", line));
        Assert.Equal(replaced, lines.Select(line => line.Split(' ')[0]).Order(StringComparer.Ordinal));
    }
}
