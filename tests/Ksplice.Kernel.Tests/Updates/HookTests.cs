// The ten hooks of a patch: which run, in which order, on which code, and that a failure leaves none without its counterpart.
namespace Ksplice.Kernel.Tests.Updates;

public sealed class HookTests(Guest guest)
{
    // Each hook says its name and what the replaced function answers; kernel.panic names the one that is to refuse.
    private const string Patch = """
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
            insmod ksplice.ko && insmod ksplice_{{project.Id}}_0_helper.ko && insmod ksplice_{{project.Id}}_0_primary.ko || exit 1
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
            UpdateGuest.Package(project));
        result.MustEndWith(0);
        Assert.Equal(
            [
                "pre_apply 0", "fail_apply 0", "preparing call_failed",
                "pre_apply 0", "check_apply 0", "fail_apply 0", "preparing call_failed",
                "pre_apply 0", "fail_apply 0", "preparing probed",
                .. s_applied, "applied ok",
                "pre_reverse 1", "fail_reverse 1", "applied call_failed",
                "pre_reverse 1", "check_reverse 1", "fail_reverse 1", "applied call_failed",
                .. s_reversed, "reversed ok",
                .. s_applied, "applied ok", .. s_reversed, "reversed ok",
            ],
            result.Lines);
    }
}
