// SPDX-License-Identifier: MIT
// The ten hooks of a patch: which run, in which order, on which code, and that a failure leaves none without its counterpart.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class HookTests(Guest guest)
{
    // Each hook says its name and what the replaced function answers; kernel.panic names the one that is to refuse.
    internal const string Patch = """
        --- a/kernel/panic.c
        +++ b/kernel/panic.c
        @@ -36,4 +36,5 @@
         #include <linux/context_tracking.h>
         #include <trace/events/error_report.h>
         #include <asm/sections.h>
        +#include <ksplice/hooks.h>
         
        @@ -520,11 +521,80 @@
         }
         
         int test_taint(unsigned flag)
         {
        -	return test_bit(flag, &tainted_mask);
        +	return flag == 31 || test_bit(flag, &tainted_mask);
         }
         EXPORT_SYMBOL(test_taint);
         
        +/* Through its address, as everybody who keeps one: the old code or the new. */
        +static int seen(const char *hook, int refuse)
        +{
        +	int (*volatile ask)(unsigned int flag) = test_taint;
        +
        +	pr_info("hook: %s %d\n", hook, ask(31));
        +	return panic_timeout == refuse ? -EPERM : 0;
        +}
        +
        +static int pre_apply(void)
        +{
        +	return seen("pre_apply", 101);
        +}
        +ksplice_pre_apply(pre_apply);
        +
        +static int check_apply(void)
        +{
        +	return seen("check_apply", 102);
        +}
        +ksplice_check_apply(check_apply);
        +
        +static void apply(void)
        +{
        +	seen("apply", 0);
        +}
        +ksplice_apply(apply);
        +
        +static void post_apply(void)
        +{
        +	seen("post_apply", 0);
        +}
        +ksplice_post_apply(post_apply);
        +
        +static void fail_apply(void)
        +{
        +	seen("fail_apply", 0);
        +}
        +ksplice_fail_apply(fail_apply);
        +
        +static int pre_reverse(void)
        +{
        +	return seen("pre_reverse", 103);
        +}
        +ksplice_pre_reverse(pre_reverse);
        +
        +static int check_reverse(void)
        +{
        +	return seen("check_reverse", 104);
        +}
        +ksplice_check_reverse(check_reverse);
        +
        +static void reverse(void)
        +{
        +	seen("reverse", 0);
        +}
        +ksplice_reverse(reverse);
        +
        +static void post_reverse(void)
        +{
        +	seen("post_reverse", 0);
        +}
        +ksplice_post_reverse(post_reverse);
        +
        +static void fail_reverse(void)
        +{
        +	seen("fail_reverse", 0);
        +}
        +ksplice_fail_reverse(fail_reverse);
        +
         unsigned long get_taint(void)
         {
         	return tainted_mask;

        """;

    private static readonly string[] s_applied = ["pre_apply 0", "check_apply 0", "apply 1", "post_apply 1"];
    private static readonly string[] s_reversed = ["pre_reverse 1", "check_reverse 1", "reverse 1", "post_reverse 0"];

    [Fact]
    public async Task All_run_in_their_order_and_every_failure_calls_the_one_for_failures()
    {
        using PatchProject project = new(guest.Release);
        project.Write("hooks.patch", Patch);
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            sys=/sys/kernel/ksplice/{{project.Id}} trace=/sys/kernel/tracing
            ask() { # what is said since, and how it ended
                echo "-- $1 $2" >/dev/kmsg
                echo $2 >/proc/sys/kernel/panic
                echo $1 >$sys/stage
                while [ "$(cat $sys/busy)" = 1 ]; do usleep 20000; done
                echo -1 >/proc/sys/kernel/panic
                dmesg | sed "1,/-- $1 $2\$/d" | sed -n 's/.*hook: //p'
                echo "$(cat $sys/stage) $(cat $sys/abort_cause)"
            }
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko && insmod *_helper.ko && insmod *_data.ko && insmod *_primary.ko || exit 1
            ask applied 101
            ask applied 102
            start=$(sed -n 's/ T test_taint$//p' /proc/kallsyms)
            echo "p:inside $(printf '0x%x' $((0x$start + 5)))" >$trace/kprobe_events; echo 1 >$trace/events/kprobes/inside/enable
            ask applied 1
            echo 0 >$trace/events/kprobes/inside/enable; echo >$trace/kprobe_events
            ask applied 2
            ask reversed 103
            ask reversed 104
            ask reversed 3
            ask applied 4
            ask reversed 5
            """,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "pre_apply 0",
                "fail_apply 0",
                "preparing call_failed",
                "pre_apply 0",
                "check_apply 0",
                "fail_apply 0",
                "preparing call_failed",
                "pre_apply 0",
                "fail_apply 0",
                "preparing probed",
                .. s_applied,
                "applied ok",
                "pre_reverse 1",
                "fail_reverse 1",
                "applied call_failed",
                "pre_reverse 1",
                "check_reverse 1",
                "fail_reverse 1",
                "applied call_failed",
                .. s_reversed,
                "reversed ok",
                .. s_applied,
                "applied ok",
                .. s_reversed,
                "reversed ok",
            ],
            result.Lines
        );
    }

    [Fact]
    public async Task A_hook_that_keeps_a_lock_or_turns_interrupts_on_is_named_and_the_machine_goes_on()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "unbalanced.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "fs/proc/version.c",
                (
                    "static int version_proc_show(struct seq_file *m, void *v)\n{\n",
                    """
                    #include <linux/preempt.h>
                    #include <linux/irqflags.h>
                    #include <ksplice/hooks.h>
                    static int keeps_preemption_off(void)
                    {
                    	preempt_disable();
                    	return 0;
                    }
                    ksplice_pre_apply(keeps_preemption_off);
                    static int turns_interrupts_on(void)
                    {
                    	local_irq_enable();
                    	return 0;
                    }
                    ksplice_check_apply(turns_interrupts_on);
                    static void turns_interrupts_off(void)
                    {
                    	local_irq_disable();
                    }
                    ksplice_post_reverse(turns_interrupts_off);

                    static int version_proc_show(struct seq_file *m, void *v)
                    {
                    	seq_puts(m, "patched ");

                    """
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            sys=/sys/kernel/ksplice/{{project.Id}}
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko && insmod *_helper.ko && insmod *_data.ko && insmod *_primary.ko || exit 1
            for stage in applied reversed; do
                echo $stage >$sys/stage
                while [ "$(cat $sys/busy)" = 1 ]; do usleep 20000; done
                echo "$(cat $sys/stage) $(cut -d' ' -f1 /proc/version)"
            done
            dmesg | sed -n 's/.*\(hook [a-z_]*\) \[[^]]*\] \(came back .*\)/\1 \2/p'
            """,
            UpdateGuest.Package(project)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "applied patched",
                "reversed Linux",
                "hook keeps_preemption_off came back with a preempt count of 1 and interrupts on, and was called with 0 and on",
                "hook turns_interrupts_on came back with a preempt count of 1 and interrupts on, and was called with 1 and off",
                "hook turns_interrupts_off came back with a preempt count of 0 and interrupts off, and was called with 0 and on",
            ],
            result.Lines
        );
    }

    // K28: the core of a kernel with PREEMPT_RT takes no such update, whoever built it. The kernel here is another, so the core is told.
    [Fact]
    public async Task Hooks_in_the_stop_are_refused_by_the_core_of_a_real_time_kernel()
    {
        using PatchProject project = new(guest.Release);
        project.Write("hooks.patch", Patch);
        (await project.BuildAsync()).MustSucceed();
        const string RealTime = "IS_ENABLED(CONFIG_PREEMPT_RT)";
        var folder = Directory.CreateTempSubdirectory("ksplice-real-time-");
        try
        {
            TestModule.CopyCore(folder.FullName);
            string redirect = Path.Combine(folder.FullName, "core", "redirect.c"),
                source = File.ReadAllText(redirect);
            Assert.Contains(RealTime, source, StringComparison.Ordinal);
            File.WriteAllText(redirect, source.Replace(RealTime, "1", StringComparison.Ordinal));
            await TestModule.MakeAsync(folder.FullName, guest.Release);
            var result = await guest.RunAsync(
                $$"""
                cd {{UpdateGuest.Place(project)}}
                insmod /ksplice.ko && insmod *_helper.ko && insmod *_data.ko || exit 1
                insmod ksplice_{{project.Id}}_0_primary.ko && echo "primary taken"
                cat /sys/kernel/ksplice/{{project.Id}}/abort_cause /sys/kernel/ksplice/{{project.Id}}/reason
                """,
                UpdateGuest.Package(project),
                new GuestFile(Path.Combine(folder.FullName, "ksplice.ko"), "/ksplice.ko")
            );
            result.MustEndWith(0);
            Assert.Equal(
                [
                    "bad_data",
                    "the primary for vmlinux has hooks that run while the machine is stopped, which is not safe on a PREEMPT_RT kernel",
                ],
                result.Lines
            );
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    // The kernel's hooks come before the module's: what the module's would give back was never taken.
    [Fact]
    public async Task A_target_whose_hooks_were_not_asked_is_not_told_of_the_failure()
    {
        using PatchProject project = new(guest.Release);
        project.Write("1-panic.patch", Patch);
        project.Write(
            "2-loop.patch",
            await KernelTree.ChangeAsync(
                guest.Release,
                "drivers/block/loop.c",
                (
                    "static int loop_add(int i)\n{\n",
                    """
                    #include <linux/panic.h>
                    #include <ksplice/hooks.h>
                    static int take(void)
                    {
                    	pr_info("hook: take\n");
                    	return panic_timeout == 105 ? -EPERM : 0;
                    }
                    static void give_back(void)
                    {
                    	pr_info("hook: give_back\n");
                    }
                    ksplice_pre_apply(take);
                    ksplice_fail_apply(give_back);

                    static int loop_add(int i)
                    {
                    	if (i == 12345)
                    		return -EPERM;

                    """
                )
            )
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            sys=/sys/kernel/ksplice/{{project.Id}} modules={{UpdateGuest.Place(project)}}/ksplice_{{project.Id}}
            ask() {
                echo "-- $1" >/dev/kmsg; echo $1 >/proc/sys/kernel/panic
                echo applied >$sys/stage
                while [ "$(cat $sys/busy)" = 1 ]; do usleep 20000; done
                echo -1 >/proc/sys/kernel/panic
                dmesg | sed "1,/-- $1\$/d" | sed -n 's/.*hook: \([a-z_]*\).*/\1/p'
                echo "$(cat $sys/stage) $(cat $sys/abort_cause)"
            }
            insmod /loop.ko && insmod {{UpdateGuest.Place(project)}}/ksplice.ko || exit 1
            for part in 0_helper 1_helper data 0_primary 1_primary; do insmod ${modules}_$part.ko || exit 1; done
            ask 101
            ask 105
            ask 102
            """,
            UpdateGuest.Package(project),
            UpdateGuest.Module(guest.Release, "drivers/block/loop")
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "pre_apply",
                "fail_apply",
                "preparing call_failed",
                "pre_apply",
                "take",
                "fail_apply",
                "give_back",
                "preparing call_failed",
                "pre_apply",
                "take",
                "check_apply",
                "fail_apply",
                "give_back",
                "preparing call_failed",
            ],
            result.Lines
        );
    }

    // Behind sample c's hooks: what is held between pre_* and the hook that ends the request.
    private const string Holding = """
        --- a/kernel/printk/printk.c
        +++ b/kernel/printk/printk.c
        @@ -809,7 +809,33 @@
         	dmesg_restrict = dmesg_restrict_before;
         }
         ksplice_reverse(devkmsg_reverse);
         
        +static int held;
        +
        +static int hold(void)
        +{
        +	held++;
        +	return 0;
        +}
        +ksplice_pre_apply(hold);
        +ksplice_pre_reverse(hold);
        +
        +static void done(void)
        +{
        +	held--;
        +	pr_info("hook: done, %d held\n", held);
        +}
        +ksplice_post_apply(done);
        +ksplice_post_reverse(done);
        +
        +static void failed(void)
        +{
        +	held--;
        +	pr_info("hook: failed, %d held\n", held);
        +}
        +ksplice_fail_apply(failed);
        +ksplice_fail_reverse(failed);
        +
         /*
          * Be careful when modifying this function!!!
          *

        """;

    [Fact]
    public async Task A_request_that_others_prevent_gives_back_what_its_hooks_took()
    {
        using PatchProject project = new(guest.Release);
        project.Write(
            "1-kmsg.patch",
            await File.ReadAllTextAsync(
                Repository.At("samples/c-kmsg-permission/kmsg-permission.patch"),
                TestContext.Current.CancellationToken
            )
        );
        await EventReader.WritePatchAsync(project, guest.Release);
        project.Write("2-holding.patch", Holding);
        project.Write(
            "3-smaps.patch",
            await File.ReadAllTextAsync(Repository.At("samples/a-smaps-pages/smaps-pages.patch"), TestContext.Current.CancellationToken)
        );
        (await project.BuildAsync()).MustSucceed();
        var result = await guest.RunAsync(
            $$"""
            sys=/sys/kernel/ksplice/{{project.Id}} n=0
            ask() {
                n=$((n + 1)); echo "-- request $n" >/dev/kmsg
                echo $1 >$sys/stage
                while [ "$(cat $sys/busy)" = 1 ]; do usleep 20000; done
                dmesg | sed "1,/-- request $n\$/d" | sed -n 's/.*hook: //p'
                echo "$(cat $sys/stage) $(cat $sys/abort_cause)"
            }
            park() {
                {{EventReader.Park}}
            }
            leave() { kill $parked; wait $parked 2>/dev/null; }
            cd {{UpdateGuest.Place(project)}}
            insmod ksplice.ko hold_ms=0 && insmod *_helper.ko && insmod *_data.ko && insmod *_primary.ko || exit 1
            echo 1 >$sys/max_tries
            park
            ask applied
            leave
            insmod /livepatch.ko || exit 1
            ask applied
            echo 0 >/sys/kernel/livepatch/livepatch/enabled
            while [ -e /sys/kernel/livepatch/livepatch ]; do sleep 0.2; done
            rmmod ksplice_{{project.Id}}_0_primary || exit 1
            insmod ksplice_{{project.Id}}_0_primary.ko || exit 1
            ask applied
            park
            ask reversed
            leave
            ask reversed
            """,
            ["--allow", "livepatch", "--allow", "TAINT_LIVEPATCH"],
            UpdateGuest.Package(project),
            await EventReader.ProgramAsync(),
            await TestModule.BuildAsync("livepatch", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(
            [
                "failed, 0 held",
                "preparing code_busy",
                "failed, 0 held",
                "preparing redirected",
                "done, 0 held",
                "applied ok",
                "failed, 0 held",
                "applied code_busy",
                "done, 0 held",
                "reversed ok",
            ],
            result.Lines
        );
    }
}
