// SPDX-License-Identifier: GPL-2.0
/*
 * A thread that sleeps with a word of the loader's choice on its stack, or with
 * a function of that choice to restart a system call through, or that says of
 * itself that it runs, for tests of the stack check.  One that leaves forgets the
 * word when it is woken.
 *
 * DOC: context
 *
 * One kernel thread, from load to unload; no lock.
 */
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched.h>

static unsigned long word;
module_param(word, ulong, 0);
static unsigned long restart;
module_param(restart, ulong, 0);
static bool running;
module_param(running, bool, 0);
static bool leaves;
module_param(leaves, bool, 0);

static struct task_struct *thread;

static int park(void *unused)
{
	typeof(current->restart_block.fn) before = current->restart_block.fn;
	unsigned long kept = word;

	if (restart)
		current->restart_block.fn = (void *)restart;
	while (!kthread_should_stop()) {
		barrier_data(&kept);
		schedule_timeout_interruptible(leaves ? MAX_SCHEDULE_TIMEOUT : HZ);
		if (leaves)
			kept = 0;
	}
	current->restart_block.fn = before;
	return 0;
}

static int __init parked_init(void)
{
	thread = kthread_create(park, NULL, "parked");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	if (!running) {
		wake_up_process(thread);
		return 0;
	}
	/* It has not run yet, and nobody wakes it. */
	msleep(100);
	thread->on_cpu = 1;
	return 0;
}
module_init(parked_init);

static void __exit parked_exit(void)
{
	if (running)
		thread->on_cpu = 0;
	kthread_stop(thread);
}
module_exit(parked_exit);

MODULE_DESCRIPTION("A thread that sleeps with a word on its stack");
MODULE_LICENSE("GPL");
