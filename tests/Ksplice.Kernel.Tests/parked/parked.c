// SPDX-License-Identifier: GPL-2.0
/*
 * A thread that sleeps with a word of the loader's choice on its stack, or with
 * a function of that choice to restart a system call through, or that says of
 * itself that it runs, for tests of the stack check.  Only unloading wakes it.
 * One that leaves can be woken by others, and then forgets the word.
 *
 * DOC: context
 *
 * One kernel thread, from load to unload; no lock.  It rests when the module has
 * been loaded.
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
	for (;;) {
		set_current_state(leaves ? TASK_INTERRUPTIBLE : TASK_IDLE);
		if (kthread_should_stop())
			break;
		barrier_data(&kept);
		schedule();
		if (leaves)
			kept = 0;
	}
	__set_current_state(TASK_RUNNING);
	current->restart_block.fn = before;
	return 0;
}

static void wait_until_it_rests(void)
{
	while (!(READ_ONCE(thread->__state) & TASK_NORMAL) || READ_ONCE(thread->on_cpu))
		msleep(10);
}

static int __init parked_init(void)
{
	thread = kthread_create(park, NULL, "parked");
	if (IS_ERR(thread))
		return PTR_ERR(thread);
	if (!running)
		wake_up_process(thread);
	wait_until_it_rests();
	if (running)
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
