// SPDX-License-Identifier: GPL-2.0
/*
 * Reading the stacks of resting threads before the machine is stopped (K31).
 */

/**
 * DOC: why a thread that rests need not be read again
 *
 * In the stop only the stacks of threads that ran since the scan have to be
 * read.  What has to be shown is: if the stop sees the same count of switches
 * as the scan, and the thread on no CPU, then what the scan read is what is there.
 *
 * A thread changes its own stack and what tracers park beside it (K13), and
 * nobody else's.  To run it has to be switched to, which sets on_cpu first.
 * When it is switched away from, the scheduler adds one to nvcsw or nivcsw and
 * then clears on_cpu, by a store with release semantics.  Where the scheduler
 * picks the same thread again it adds nothing, but nobody was switched away
 * from, and on_cpu stays set.  Neither count is set back in the life of a task.
 * So after it has run, a thread is on a CPU or has a higher sum of counts.
 *
 * The scan takes a reference on the task, so no other task gets its address,
 * and one on its stack.  It loads the sum of counts; on_cpu, with acquire
 * semantics, which has to be 0; the stack pointer, the words of the stack, and
 * the parked addresses; then again on_cpu and the sum.  Either no word was read
 * that the thread wrote after the first sum: then the scan has what stood there
 * at that sum, and the stop compares with it.  Or one was: then the later load
 * of on_cpu sees the 1 that was stored before the word, or what was stored when
 * the thread was switched away from, and then the sum after it is higher.  In
 * both cases the thread counts as unread.  Loads are not reordered with loads on
 * x86, nor stores with stores.
 *
 * What the stop reads whatever the scan saw: idle tasks, which are in no list;
 * whoever is on a CPU, that is the stoppers; tasks that have left the kernel's
 * list (exiting.c); restart_block, at an undo (K19), which is one word.  The
 * core's own thread runs while it scans, and so is unread.  A word that lies in
 * a slot of a probe is not followed here (K27), since its page may go away:
 * such a thread is unread, too.
 *
 * Of a thread that is held at its return to user mode some words are not read,
 * but a list of return addresses that the thread has made of them (door.c).  It
 * made the list before it rested, and says that the list is void before it
 * changes these words.
 */

/**
 * DOC: context and locking
 *
 * Process context, ksplice_operation held; sleeps.  The kernel's list is walked
 * under RCU, to take references.  Stacks are read without it, one after the
 * other, and with everybody else running.  Parked addresses are read with
 * copy_from_kernel_nofault and a limit: they may be half changed.
 */
#include <linux/hash.h>
#include <linux/kprobes.h>
#include <linux/log2.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rethook.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "core.h"

#define MOST_PARKED	256	/* of one thread; one with more is unread */

/* What reading a thread came to. */
enum seen_as {
	UNREAD,
	CLEAN,
	IN_THE_WAY,
};

struct ksplice_seen {
	struct task_struct *task;
	unsigned long switches;
	enum seen_as as;
};

static unsigned long count_switches(const struct task_struct *task)
{
	return READ_ONCE(task->nvcsw) + READ_ONCE(task->nivcsw);
}

static bool is_in_slot(unsigned long address)
{
	return address >= MODULES_VADDR && address < MODULES_END &&
	       static_call(__is_insn_slot_addr)(kernel.optinsn_slots, address);
}

struct reading {
	const struct ksplice_ranges *ranges;
	const struct ksplice_range *range;	/* that a word leads into */
	unsigned long address;
};

static enum seen_as read_word(struct reading *reading, unsigned long word)
{
	reading->range = ksplice_find_range(reading->ranges, word);
	reading->address = word;
	return reading->range ? IN_THE_WAY : is_in_slot(word) ? UNREAD : CLEAN;
}

static enum seen_as read_words(struct reading *reading, const unsigned long *word,
			       const unsigned long *end)
{
	enum seen_as as = CLEAN;

	for (; word < end && as == CLEAN; word++)
		as = read_word(reading, READ_ONCE_NOCHECK(*word));
	return as;
}

static enum seen_as read_stack(struct reading *reading, const struct task_struct *task,
			       const unsigned long *stack, const unsigned long *end)
{
	const struct ksplice_frames *frames = ksplice_door_frames(task);
	enum seen_as as;

	if (!frames)
		return read_words(reading, stack, end);
	as = read_words(reading, stack, frames->below);
	return as == CLEAN ? read_words(reading, frames->entries, frames->entries + frames->n) : as;
}

/* K13; the list and the array are the task's own and stand still while it rests. */
static enum seen_as read_parked(struct reading *reading, struct task_struct *task)
{
	enum seen_as as = CLEAN;
	unsigned int n = 0;

#ifdef CONFIG_RETHOOK
	struct llist_node *node = READ_ONCE(task->rethooks.first);

	for (; node && as == CLEAN; n++) {
		struct rethook_node hook;

		if (n == MOST_PARKED ||
		    copy_from_kernel_nofault(&hook, llist_entry(node, struct rethook_node, llist), sizeof(hook)))
			return UNREAD;
		as = read_word(reading, hook.ret_addr);
		node = hook.llist.next;
	}
#elif defined(CONFIG_KRETPROBES)
	if (READ_ONCE(task->kretprobe_instances.first))
		return UNREAD;
#endif
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	if (as == CLEAN && READ_ONCE(task->ret_stack) && READ_ONCE(task->curr_ret_stack) >= 0)
		return UNREAD;
#endif
	return as;
}

static enum seen_as read_task(struct reading *reading, struct task_struct *task,
			      unsigned long *switches)
{
	const unsigned long *stack, *end;
	enum seen_as as = UNREAD;

	*switches = count_switches(task);
	/* The sum before on_cpu: who runs in between has a higher one at the end. */
	smp_rmb();
	/* Pairs with the release in the scheduler: what the thread did before it rests is seen. */
	if (smp_load_acquire(&task->on_cpu) || !try_get_task_stack(task))
		return UNREAD;
	stack = (const unsigned long *)READ_ONCE(task->thread.sp);
	end = (const unsigned long *)(task_stack_page(task) + THREAD_SIZE);
	if ((void *)stack >= task_stack_page(task) && stack <= end &&
	    IS_ALIGNED((unsigned long)stack, sizeof(long))) {
		as = read_stack(reading, task, stack, end);
		if (as == CLEAN)
			as = read_parked(reading, task);
	}
	/* The words before on_cpu. */
	smp_rmb();
	/* And that before the sum. */
	if (smp_load_acquire(&task->on_cpu) || count_switches(task) != *switches)
		as = UNREAD;
	static_call(put_task_stack)(task);
	return as;
}

static void look_at(struct ksplice_update *update, const struct ksplice_ranges *ranges,
		    struct ksplice_seen *seen)
{
	struct reading reading = { .ranges = ranges };

	seen->as = read_task(&reading, seen->task, &seen->switches);
	if (seen->as == IN_THE_WAY)
		ksplice_conflict_add(update, seen->task, "", reading.range, reading.address);
}

static u32 count_tasks(void)
{
	struct task_struct *process, *task;
	u32 n = 0;

	rcu_read_lock();
	for_each_process_thread(process, task)
		n++;
	rcu_read_unlock();
	return n;
}

static u32 *bucket_of(const struct ksplice_scan *scan, const struct task_struct *task, u32 i)
{
	return &scan->buckets[(hash_ptr(task, scan->bits) + i) & ((1U << scan->bits) - 1)];
}

static void take_tasks(struct ksplice_scan *scan)
{
	struct task_struct *process, *task;
	u32 i;

	rcu_read_lock();
	for_each_process_thread(process, task) {
		if (scan->n == scan->room)
			goto full;
		for (i = 0; *bucket_of(scan, task, i); i++)
			;
		scan->seen[scan->n].task = get_task_struct(task);
		*bucket_of(scan, task, i) = ++scan->n;
	}
full:
	rcu_read_unlock();
}

/**
 * ksplice_scan_make - read all threads that rest
 * @scan: zero; filled, and to be dropped in any case
 * @update: takes those in the way
 * @ranges: where no thread may be
 *
 * Return: 0, -EBUSY with conflicts recorded, or -ENOMEM.
 */
int ksplice_scan_make(struct ksplice_scan *scan, struct ksplice_update *update,
		      const struct ksplice_ranges *ranges)
{
	u32 i;

	/* Those that come meanwhile and find no room are read in the stop, like all new ones. */
	scan->room = count_tasks() + 64;
	scan->bits = ilog2(roundup_pow_of_two(scan->room)) + 1;
	scan->seen = ksplice_fails("memory for a scan") ? NULL :
		     kvcalloc(scan->room, sizeof(*scan->seen), GFP_KERNEL);
	scan->buckets = ksplice_fails("memory for the table of a scan") ? NULL :
			kvcalloc(1UL << scan->bits, sizeof(*scan->buckets), GFP_KERNEL);
	if (!scan->seen || !scan->buckets)
		return -ENOMEM;
	take_tasks(scan);
	update->n_found = 0;
	for (i = 0; i < scan->n; i++) {
		look_at(update, ranges, &scan->seen[i]);
		cond_resched();
	}
	return update->n_found ? -EBUSY : 0;
}

/**
 * ksplice_scan_refresh - read those again that ran since
 * @scan: the scan
 * @update: takes those in the way
 * @ranges: where no thread may be, the same as before
 *
 * Return: 0, or -EBUSY with conflicts recorded.
 */
int ksplice_scan_refresh(struct ksplice_scan *scan, struct ksplice_update *update,
			 const struct ksplice_ranges *ranges)
{
	u32 i;

	update->n_found = 0;
	for (i = 0; i < scan->n; i++) {
		struct ksplice_seen *seen = &scan->seen[i];

		if (seen->as != CLEAN || count_switches(seen->task) != seen->switches)
			look_at(update, ranges, seen);
		cond_resched();
	}
	return update->n_found ? -EBUSY : 0;
}

/**
 * ksplice_scan_in_the_way - the threads that were in the way when they were read last
 * @scan: the scan
 * @found: called with each, which is alive or a zombie
 * @arg: for @found
 */
void ksplice_scan_in_the_way(const struct ksplice_scan *scan,
			     void (*found)(struct task_struct *task, void *arg), void *arg)
{
	u32 i;

	for (i = 0; i < scan->n; i++) {
		if (scan->seen[i].as == IN_THE_WAY)
			found(scan->seen[i].task, arg);
	}
}

/**
 * ksplice_scan_drop - give back what a scan holds
 * @scan: the scan, also one that was not made
 */
void ksplice_scan_drop(struct ksplice_scan *scan)
{
	while (scan->n)
		put_task_struct(scan->seen[--scan->n].task);
	kvfree(scan->seen);
	kvfree(scan->buckets);
	*scan = (struct ksplice_scan){};
}

/* Walks of the kernel's list meet tasks in nearly the order in which the scan did. */
static const struct ksplice_seen *find_seen(struct ksplice_scan *scan,
					    const struct task_struct *task)
{
	u32 i, at;

	if (scan->next < scan->n && scan->seen[scan->next].task == task)
		return &scan->seen[scan->next++];
	for (i = 0; (at = *bucket_of(scan, task, i)); i++) {
		if (scan->seen[at - 1].task != task)
			continue;
		scan->next = at;
		return &scan->seen[at - 1];
	}
	return NULL;
}

/**
 * ksplice_has_rested - has a thread that was clean not run since?
 * @scan: the scan
 * @task: the thread
 *
 * Context: inside stop_machine.
 */
bool ksplice_has_rested(struct ksplice_scan *scan, const struct task_struct *task)
{
	const struct ksplice_seen *seen = find_seen(scan, task);

	return seen && seen->as == CLEAN && !READ_ONCE(task->on_cpu) &&
	       count_switches(task) == seen->switches;
}
