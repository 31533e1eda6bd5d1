// SPDX-License-Identifier: GPL-2.0
/*
 * Stops the machine as the core does and does nothing: what a pause costs by
 * itself.  Reading /sys/module/empty/parameters/ns does it once and shows the
 * time from the first CPU's arrival to its end.  words tells how many words
 * are on all stacks, from the saved stack pointer to the top.
 */
#include <linux/cpu.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/stop_machine.h>
#include <linux/timekeeping.h>
#include <asm/sync_core.h>

static atomic_t arrived;
static unsigned int n_cpus;
static int done;
static u64 pause;

static int stop(void *unused)
{
	if (atomic_inc_return(&arrived) == 1) {
		u64 start = ktime_get_mono_fast_ns();

		while (atomic_read_acquire(&arrived) < n_cpus)
			cpu_relax();
		pause = ktime_get_mono_fast_ns() - start;
		smp_store_release(&done, 1);
	} else {
		while (!smp_load_acquire(&done))
			cpu_relax();
	}
	sync_core();
	return 0;
}

static int get_ns(char *page, const struct kernel_param *parameter)
{
	atomic_set(&arrived, 0);
	done = 0;
	n_cpus = num_online_cpus();
	stop_machine(stop, NULL, cpu_online_mask);
	return sysfs_emit(page, "%llu\n", pause);
}

static const struct kernel_param_ops ops = { .get = get_ns };
module_param_cb(ns, &ops, NULL, 0400);

static int get_words(char *page, const struct kernel_param *parameter)
{
	struct task_struct *process, *task;
	u64 words = 0;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (task->stack)
			words += ((unsigned long)task_stack_page(task) + THREAD_SIZE -
				  READ_ONCE(task->thread.sp)) / sizeof(long);
	}
	rcu_read_unlock();
	return sysfs_emit(page, "%llu\n", words);
}

static const struct kernel_param_ops words_ops = { .get = get_words };
module_param_cb(words, &words_ops, NULL, 0400);

static int __init empty_init(void)
{
	return 0;
}
module_init(empty_init);

static void __exit empty_exit(void)
{
}
module_exit(empty_exit);

MODULE_DESCRIPTION("An empty stop of the machine");
MODULE_LICENSE("GPL");
