// SPDX-License-Identifier: GPL-2.0
/*
 * The door: where a thread that is held waits at its return to user mode (K32).
 */

/**
 * DOC: why nobody waits for one who is held
 *
 * Task works are run where a thread returns to user mode or to a guest, where it
 * stops for a tracer, where it waits for io_uring, and where it exits.  At the
 * return it holds no lock of the kernel: what it took, it has given back, or
 * lockdep complains.  In a stop for a tracer and in a wait for io_uring it may
 * sleep for as long as others like anyway.  One that exits is not held.  So the
 * core, which takes locks of the kernel for the stop, does not wait for a thread
 * at the door, and neither do the hooks: those that may sleep run before the
 * first round and after the last.  Other threads may wait for it, in user mode or
 * in the kernel: for a reply, a lock on a file, the other end of a pipe, a
 * device that a process serves.  They wait hold_ms at most, and so does the
 * core's own allocation of memory.
 *
 * A thread that is stopped, traced or frozen, or sleeps so that no signal wakes
 * it, does not come to the door.  Its work is taken back at the end of the round.
 * A thread that is held dies at once when it is killed; a stop, a tracer and the
 * freezer wait until it is let go.
 */

/**
 * DOC: what is read of the stack of a thread at the door
 *
 * The functions on the way to the door do not write all of their frames.  What
 * the system call has left there looks like return addresses, and often it leads
 * into the code that the thread was asked out of.  So the thread itself, before
 * it waits, lets the kernel's unwinder list the return addresses of the frames
 * above the callback's, as a livepatch does.  If the unwinder says that the list
 * is reliable, the stack check takes it in the place of these frames.  They stay
 * as they are until the callback returns, which sets @went before.  The words below the
 * callback's frame are read like those of any stack; they were cleared before.
 * If the list is not reliable, all words count.
 */

/**
 * DOC: context, locking and lifetime
 *
 * All but the callback runs on the core's thread, or in the stop while that
 * waits: no lock.  A struct held has two owners, the core and, from
 * task_work_add() until it is taken back or its callback is done, the thread.
 * What is taken back is not run: then the core has both shares.  What cannot be
 * taken back is being run, or about to be: the thread's share is the callback's.
 * A child does not inherit task works.
 *
 * The callback is code of this module.  n_callbacks counts those that may still
 * run it; the core is not unloaded before there are none and a grace period of
 * RCU-tasks has passed, since a thread may be preempted between the count and
 * the return from the callback.  Nobody sleeps in between.
 */
#include <linux/delay.h>
#include <linux/hashtable.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/sched/task.h>
#include <linux/slab.h>
#include <linux/stacktrace.h>
#include <linux/task_work.h>
#include <linux/timekeeping.h>
#include <linux/wait.h>

#include "core.h"

/* A thread that was asked to the door, or would be if it could be held. */
struct held {
	struct callback_head work;
	refcount_t owners;
	struct hlist_node node;
	struct task_struct *task;	/* the core's reference */
	unsigned long since;		/* when it was asked first */
	bool woken;
	bool let_go;
	unsigned long limit;		/* in jiffies */
	u64 came;			/* when it came to the door, 0 before */
	u64 went;			/* and when it went on */
	struct ksplice_frames frames;
};

static DECLARE_WAIT_QUEUE_HEAD(door);
static DEFINE_HASHTABLE(all_held, 8);	/* by task */
static atomic_t n_callbacks = ATOMIC_INIT(0);
static bool was_used;

static void put_held(struct held *held)
{
	if (refcount_dec_and_test(&held->owners))
		kfree(held);
}

/* Runs in the thread. */
static void stand_at_the_door(struct callback_head *work)
{
	struct held *held = container_of(work, struct held, work);
	struct ksplice_frames *frames = &held->frames;

	if (!(current->flags & PF_EXITING)) {
		frames->below = __builtin_frame_address(0);
		frames->n = max(0, static_call(stack_trace_save_tsk_reliable)(current, frames->entries,
									      ARRAY_SIZE(frames->entries)));
		ksplice_clear_used_stack();
		/* Who sees this sees the frames. */
		smp_store_release(&held->came, ktime_get_ns());
		wait_event_killable_timeout(door, READ_ONCE(held->let_go), held->limit);
		WRITE_ONCE(held->went, ktime_get_ns());
		/* For tests of what is unloaded meanwhile. */
		ksplice_wait_by_name("on the way from the door");
	}
	put_held(held);
	atomic_dec(&n_callbacks);
}

/* Kernel threads, and those of io_uring and vhost, do not return to user mode. */
static bool may_be_held(const struct task_struct *task)
{
	unsigned int never = PF_KTHREAD | PF_IO_WORKER | PF_EXITING;

#ifdef PF_USER_WORKER
	never |= PF_USER_WORKER;
#endif
	return !(READ_ONCE(task->flags) & never);
}

/* One that exits does not come. */
static void ask(struct held *held, enum task_work_notify_mode how)
{
	refcount_inc(&held->owners);
	atomic_inc(&n_callbacks);
	init_task_work(&held->work, stand_at_the_door);
	if (static_call(task_work_add)(held->task, &held->work, how)) {
		atomic_dec(&n_callbacks);
		put_held(held);
	}
}

static bool is_work(struct callback_head *work, void *wanted)
{
	return work == wanted;
}

/* Returns false if the thread is at the door, on its way there, or has been there. */
static bool take_back(struct held *held)
{
	if (!static_call(task_work_cancel_match)(held->task, is_work, &held->work))
		return false;
	atomic_dec(&n_callbacks);
	put_held(held);
	return true;
}

static struct held *find_held(const struct task_struct *task)
{
	struct held *held;

	hash_for_each_possible(all_held, held, node, (unsigned long)task) {
		if (held->task == task)
			return held;
	}
	return NULL;
}

/**
 * ksplice_door_ask - ask a thread to the door, and wake it if it does not come
 * @task: the thread, held
 * @wake_after: after how many jiffies to wake one that was asked
 * @limit: for how many it waits at the door at most
 *
 * One that cannot be held is woken alone.  One for which there is no memory is left in peace.
 *
 * Context: the core's thread; allocates.
 */
void ksplice_door_ask(struct task_struct *task, unsigned long wake_after, unsigned long limit)
{
	struct held *held = find_held(task);

	if (!held) {
		held = kzalloc(sizeof(*held), GFP_KERNEL);
		if (!held)
			return;
		was_used = true;
		refcount_set(&held->owners, 1);
		held->task = get_task_struct(task);
		held->since = jiffies;
		held->limit = limit;
		hash_add(all_held, &held->node, (unsigned long)task);
		if (may_be_held(task))
			ask(held, TWA_RESUME);
	}
	if (held->woken || time_before(jiffies, held->since + wake_after))
		return;
	held->woken = true;
	if (!may_be_held(task))
		static_call(wake_up_state)(task, TASK_INTERRUPTIBLE);
	else if (take_back(held))
		ask(held, TWA_SIGNAL);
}

/**
 * ksplice_door_frames - what the stack of a thread at the door holds
 * @task: the thread, which rests; or any inside of the stop
 *
 * Return: NULL if it is not there, or if not all is known.
 */
const struct ksplice_frames *ksplice_door_frames(const struct task_struct *task)
{
	const struct held *held = find_held(task);

	/* Pairs with the release in the callback. */
	return held && smp_load_acquire(&held->came) && !READ_ONCE(held->went) && held->frames.n ?
	       &held->frames : NULL;
}

/**
 * ksplice_door_open - let all go
 * @longest: takes for how many ns one was held at most, if that is more
 *
 * Context: the core's thread.
 * Return: how many were held.
 */
unsigned int ksplice_door_open(u64 *longest)
{
	unsigned int bucket, n = 0;
	struct hlist_node *next;
	struct held *held;
	u64 now;

	hash_for_each(all_held, bucket, held, node)
		WRITE_ONCE(held->let_go, true);
	wake_up_all(&door);
	now = ktime_get_ns();
	hash_for_each_safe(all_held, bucket, next, held, node) {
		u64 came = READ_ONCE(held->came), went = READ_ONCE(held->went);

		if (came) {
			n++;
			*longest = max(*longest, (went ?: max(now, came)) - came);
		}
		hash_del(&held->node);
		take_back(held);
		put_task_struct(held->task);
		put_held(held);
	}
	return n;
}

/**
 * ksplice_door_exit - wait until no thread runs a callback, nor ever will
 *
 * Those that could not be taken back find that they were let go.
 *
 * Context: module exit, no request under way.
 */
void ksplice_door_exit(void)
{
	if (!was_used)
		return;
	while (atomic_read(&n_callbacks))
		msleep(20);
	synchronize_rcu_tasks();
}
