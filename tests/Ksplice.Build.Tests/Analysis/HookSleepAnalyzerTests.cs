// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Tests.Analysis;

public sealed class HookSleepAnalyzerTests
{
    private const string Version = "fs/proc/version.c",
        VersionStart = "static int version_proc_show(struct seq_file *m, void *v)\n{\n";

    [Fact]
    public async Task A_hook_that_sleeps_whenever_it_runs_is_refused_with_the_way_to_it() =>
        Assert.Equal(
            [
                "KSP5020 'allocates', a hook of kind apply: allocates → kmalloc_trace with flags 0xdc0, which may wait for memory",
                "KSP5020 'by_itself', a hook of kind check_apply: by_itself → mutex_lock",
                "KSP5020 'in_the_image', a hook of kind reverse: in_the_image → unregister_netdevice_notifier → down_write",
                "KSP5020 'through', a hook of kind check_reverse: through → inner → __SCT__might_resched",
            ],
            await FindAsync(
                """
                static DEFINE_MUTEX(guard);
                static DEFINE_SEMAPHORE(gate);
                static int by_itself(void) { mutex_lock(&guard); mutex_unlock(&guard); return 0; }
                ksplice_check_apply(by_itself);
                static noinline int inner(int i) { if (i > 3) i = 3; might_sleep(); return i; }
                static int through(void) { return inner(panic_timeout); }
                ksplice_check_reverse(through);
                static struct notifier_block watcher;
                static void in_the_image(void) { unregister_netdevice_notifier(&watcher); }
                ksplice_reverse(in_the_image);
                static void *kept;
                static void allocates(void) { kept = kzalloc(64, GFP_KERNEL); }
                ksplice_apply(allocates);
                """
            )
        );

    [Fact]
    public async Task A_hook_that_may_sleep_is_warned_of() =>
        Assert.Equal(
            [
                "KSP5021 'asks', a hook of kind check_apply: asks → a function that a pointer names",
                "KSP5021 'sometimes', a hook of kind apply: sometimes → mutex_lock",
            ],
            await FindAsync(
                """
                static DEFINE_MUTEX(guard);
                static void sometimes(void) { if (panic_timeout) { mutex_lock(&guard); mutex_unlock(&guard); } }
                ksplice_apply(sometimes);
                extern int (*unknown)(void);
                int (*unknown)(void);
                static int asks(void) { return READ_ONCE(unknown)(); }
                ksplice_check_apply(asks);
                """
            )
        );

    // What hooks do, and what the other hooks may.
    [Fact]
    public async Task A_hook_that_does_not_sleep_and_one_that_may_are_left_alone() =>
        Assert.Empty(
            await FindAsync(
                """
                static DEFINE_MUTEX(guard);
                static DEFINE_SPINLOCK(lock);
                static LIST_HEAD(list);
                static struct work_struct work;
                static struct timer_list timer;
                static DECLARE_COMPLETION(done);
                static void *kept;
                static int tries(void)
                {
                	struct task_struct *thread, *leader;

                	if (!mutex_trylock(&guard))
                		return -EBUSY;
                	mutex_unlock(&guard);
                	for_each_process_thread(leader, thread)
                		if (thread->exit_state && !leader->exit_state)
                			pr_info("%s\n", thread->comm);
                	return 0;
                }
                ksplice_check_apply(tries);
                static void works(void)
                {
                	unsigned long flags;
                	char text[32];

                	spin_lock_irqsave(&lock, flags);
                	if (!list_empty(&list))
                		list_del(list.next);
                	spin_unlock_irqrestore(&lock, flags);
                	snprintf(text, sizeof(text), "%d", panic_timeout);
                	kfree(kept);
                	kept = kzalloc(64, GFP_ATOMIC);
                	schedule_work(&work);
                	mod_timer(&timer, jiffies + HZ);
                	complete(&done);
                	WARN_ON_ONCE(panic_timeout > 1000);
                	pr_warn("%s\n", text);
                	wake_up_process(current);
                }
                ksplice_apply(works);
                ksplice_reverse(works);
                static void before(void) { mutex_lock(&guard); mutex_unlock(&guard); }
                ksplice_post_apply(before);
                """
            )
        );

    private static async Task<IEnumerable<string>> FindAsync(string hooks)
    {
        const string includes = """
            #include <linux/completion.h>
            #include <linux/mutex.h>
            #include <linux/netdevice.h>
            #include <linux/sched/signal.h>
            #include <linux/slab.h>
            #include <linux/timer.h>
            #include <linux/workqueue.h>
            #include <ksplice/hooks.h>

            """;
        var update = await PatchedKernel.ChangeAsync([Version], (Version, VersionStart, includes + hooks + "\n" + VersionStart));
        return update
            .Analyze()
            .Where(diagnostic => diagnostic.Id is "KSP5020" or "KSP5021")
            .Select(diagnostic =>
            {
                Assert.True(diagnostic.Location is { Line: > 0 } place && LineDirectives.PathOf(place.Path) == Version);
                int open = diagnostic.Message.IndexOf('(', StringComparison.Ordinal);
                string kind = diagnostic.Message[..diagnostic.Message.LastIndexOf(',', open)];
                string way = diagnostic.Message[(open + 1)..diagnostic.Message.IndexOfAny(['(', ')'], open + 1)].TrimEnd();
                return $"{diagnostic.Id} {kind}: {way}";
            })
            .Order(StringComparer.Ordinal);
    }
}
