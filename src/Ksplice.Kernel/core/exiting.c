// SPDX-License-Identifier: GPL-2.0
/*
 * Tasks on their way out (K23).
 */

/**
 * DOC: why, and how
 *
 * A task that is unhashed is in no list of the kernel's, but the end of
 * do_exit() may still run and sleep: in release_task() if nobody waits for the
 * task, behind exit_notify() if its parent was quick.  From 6.12 on no grace
 * period of RCU-tasks waits for one that sleeps there.  So the core keeps a
 * list of its own.  A probe on sched_process_exit, which fires while the task
 * is still in the kernel's list, adds the task; a probe on sched_process_free,
 * which fires after the last switch away from it, takes it off.  In between
 * the task's structure is alive.
 *
 * Tasks past the first probe when the core comes are found on the kernel's list
 * if they are still there.  Those that have left it are waited for by a grace
 * period of RCU-tasks.  One hole remains: since 6.12 that grace period does not
 * wait for a task that was unhashed before the core came and sleeps.
 */

/**
 * DOC: context and locking
 *
 * The probes run on any CPU, in the exiting task and in RCU's callbacks, with
 * preemption disabled or not: they allocate nothing, and the list's lock is a
 * raw one, taken with interrupts off.  So nobody holds it while the machine is
 * stopped, with PREEMPT_RT neither, and the stack check reads the list without
 * it.  Entries come from a pool that a work item makes larger when half of it
 * is used.  A task that finds no entry is counted as missed.  The work item
 * looks for missed tasks on the kernel's list; those that have left the list
 * are missed until they are gone, and nothing may change as long as one is.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/tracepoint.h>
#include <linux/version.h>
#include <linux/workqueue.h>
#include <trace/events/sched.h>

#include "core.h"

LIST_HEAD(ksplice_exiting);

static unsigned int first_room = 1024;
module_param_named(exiting, first_room, uint, 0400);
MODULE_PARM_DESC(exiting, "for how many tasks on their way out there is room at first");

struct pool {
	struct pool *next;
	struct ksplice_exiting entries[];
};

static DEFINE_RAW_SPINLOCK(exiting_lock);
static DEFINE_HASHTABLE(exiting_by_task, 8);
static LIST_HEAD(free_entries);
static unsigned int n_entries, n_used, n_missed;
static struct pool *pools;	/* the work item's */

static void grow(struct work_struct *work);
static DECLARE_WORK(grow_work, grow);
static bool waited;		/* the work item's */

static struct tracepoint *exit_point, *free_point;

static struct ksplice_exiting *find(const struct task_struct *task)
{
	struct ksplice_exiting *entry;

	hash_for_each_possible(exiting_by_task, entry, node, (unsigned long)task) {
		if (entry->task == task)
			return entry;
	}
	return NULL;
}

/* Returns false if there is no room. */
static bool add(struct task_struct *task)
{
	struct ksplice_exiting *entry;

	if (find(task))
		return true;
	entry = list_first_entry_or_null(&free_entries, struct ksplice_exiting, list);
	if (!entry)
		return false;
	entry->task = task;
	list_move_tail(&entry->list, &ksplice_exiting);
	hash_add(exiting_by_task, &entry->node, (unsigned long)task);
	n_used++;
	return true;
}

static void task_exits(struct task_struct *task)
{
	unsigned long flags;
	bool is_scarce;

	raw_spin_lock_irqsave(&exiting_lock, flags);
	if (ksplice_fails_by_name("room for a task on its way out") || !add(task))
		n_missed++;
	is_scarce = n_missed || n_used > n_entries / 2;
	raw_spin_unlock_irqrestore(&exiting_lock, flags);
	if (is_scarce)
		schedule_work(&grow_work);
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
static void on_exit(void *unused, struct task_struct *task, bool group_dead)
#else
static void on_exit(void *unused, struct task_struct *task)
#endif
{
	task_exits(task);
}

static void on_free(void *unused, struct task_struct *task)
{
	struct ksplice_exiting *entry;
	unsigned long flags;

	raw_spin_lock_irqsave(&exiting_lock, flags);
	entry = find(task);
	if (entry) {
		hash_del(&entry->node);
		list_move(&entry->list, &free_entries);
		n_used--;
	} else if (n_missed) {
		n_missed--;
	}
	raw_spin_unlock_irqrestore(&exiting_lock, flags);
}

static int make_room(unsigned int n)
{
	struct pool *pool = ksplice_fails("memory for tasks on their way out") ? NULL :
			    kvzalloc(struct_size(pool, entries, n), GFP_KERNEL);
	unsigned long flags;
	unsigned int i;

	if (!pool)
		return -ENOMEM;
	pool->next = pools;
	pools = pool;
	raw_spin_lock_irqsave(&exiting_lock, flags);
	for (i = 0; i < n; i++)
		list_add_tail(&pool->entries[i].list, &free_entries);
	n_entries += n;
	raw_spin_unlock_irqrestore(&exiting_lock, flags);
	return 0;
}

/*
 * Adds the tasks on the kernel's list that were missed.  One with an exit state
 * is past the probe.  Returns false if there is no room.
 */
static bool find_missed(void)
{
	struct task_struct *process, *task;
	unsigned long flags;
	bool found = true;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (!READ_ONCE(task->exit_state))
			continue;
		raw_spin_lock_irqsave(&exiting_lock, flags);
		if (n_missed && !find(task)) {
			found = add(task);
			n_missed -= found;
		}
		raw_spin_unlock_irqrestore(&exiting_lock, flags);
		if (!found)
			break;
	}
	rcu_read_unlock();
	return found;
}

/* Adds the tasks that are on their way out when the core comes, past the probe or before it. */
static bool find_first(void)
{
	struct task_struct *process, *task;
	unsigned long flags;
	bool found = true;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (!(READ_ONCE(task->flags) & PF_EXITING))
			continue;
		raw_spin_lock_irqsave(&exiting_lock, flags);
		found = add(task);
		raw_spin_unlock_irqrestore(&exiting_lock, flags);
		if (!found)
			break;
	}
	rcu_read_unlock();
	return found;
}

static void grow(struct work_struct *work)
{
	if (!waited)
		synchronize_rcu_tasks();
	waited = true;
	while (READ_ONCE(n_used) > n_entries / 2 || (READ_ONCE(n_missed) && !find_missed())) {
		if (make_room(max(n_entries, 16U)))
			return;		/* the next task that exits asks again */
	}
}

/**
 * ksplice_exiting_settle - wait until the list is as complete as it gets
 *
 * Context: process context, sleeps: the first time for a grace period of RCU-tasks.
 */
void ksplice_exiting_settle(void)
{
	if (READ_ONCE(n_missed))
		schedule_work(&grow_work);
	flush_work(&grow_work);
}

/**
 * ksplice_exiting_missed - how many tasks on their way out are on no list?
 *
 * Context: inside stop_machine; else the answer is of the past.
 * Return: their number; nothing may change unless it is 0.
 */
unsigned int ksplice_exiting_missed(void)
{
	return READ_ONCE(n_missed);
}

static void find_point(struct tracepoint *point, void *unused)
{
	if (!strcmp(point->name, "sched_process_exit"))
		exit_point = point;
	else if (!strcmp(point->name, "sched_process_free"))
		free_point = point;
}

static void free_pools(void)
{
	struct pool *pool;

	while ((pool = pools)) {
		pools = pool->next;
		kvfree(pool);
	}
}

/**
 * ksplice_exiting_init - see tasks on their way out from now on
 *
 * Return: 0 or an error, which is logged.
 */
int ksplice_exiting_init(void)
{
	int err;

	check_trace_callback_type_sched_process_exit(on_exit);
	check_trace_callback_type_sched_process_free(on_free);
	for_each_kernel_tracepoint(find_point, NULL);
	if (!exit_point || !free_point) {
		pr_err("cannot find tracepoint sched_process_%s in this kernel\n",
		       exit_point ? "free" : "exit");
		return -ENOENT;
	}
	err = make_room(clamp(first_room, 1U, 1U << 20));
	if (err)
		return err;
	err = ksplice_fails("probe on tasks that are gone") ? -ENOMEM :
	      tracepoint_probe_register(free_point, on_free, NULL);
	if (err)
		goto free_pools;
	err = ksplice_fails("probe on tasks on their way out") ? -ENOMEM :
	      tracepoint_probe_register(exit_point, on_exit, NULL);
	if (err)
		goto unregister_free;
	while (!find_first()) {
		err = make_room(n_entries);
		if (err)
			goto unregister_exit;
	}
	schedule_work(&grow_work);
	return 0;

unregister_exit:
	tracepoint_probe_unregister(exit_point, on_exit, NULL);
unregister_free:
	tracepoint_probe_unregister(free_point, on_free, NULL);
	tracepoint_synchronize_unregister();
	cancel_work_sync(&grow_work);
free_pools:
	free_pools();
	pr_err("cannot see tasks on their way out (%d)\n", err);
	return err;
}

/**
 * ksplice_exiting_exit - the opposite
 */
void ksplice_exiting_exit(void)
{
	tracepoint_probe_unregister(exit_point, on_exit, NULL);
	tracepoint_probe_unregister(free_point, on_free, NULL);
	tracepoint_synchronize_unregister();
	cancel_work_sync(&grow_work);
	free_pools();
}
