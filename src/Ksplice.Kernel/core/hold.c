// SPDX-License-Identifier: GPL-2.0
/*
 * Which threads are held at the door, and when (K32).
 */

/**
 * DOC: what a round is
 *
 * A thread that comes back into the code again and again would be in the way
 * for ever.  So when threads have been in the way for hold_after_ms, a round
 * begins.  In it each user thread that a scan finds in the way is asked to the
 * door (door.c), where it waits until it is let go, hold_ms at most.  At first the
 * thread is left to return by itself (TWA_RESUME).  If it is in the way
 * interrupt_after_ms later, it is woken as a signal would wake it (TWA_SIGNAL).
 * There is no signal: the system call is restarted where it can be restarted.  A
 * mere signal would not help, since the restarted call is soon back in the code.
 * Threads that cannot be held are woken, once in a round.
 *
 * A round is over, and all are let go, when the machine was stopped, when the
 * try has ended, or after hold_ms.  The next one begins after four times its
 * length at the earliest, so that nobody stands at the door for more than a
 * fifth of the time.
 */

/**
 * DOC: context
 *
 * The core's thread, no lock: the struct ksplice_hold is the request's.
 */
#include <linux/jiffies.h>
#include <linux/module.h>

#include "core.h"

#define MOST_HOLD_MS	10000
#define REST		4	/* lengths of a round */

static unsigned int hold_after_ms = 50;
static unsigned int interrupt_after_ms = 50;
static unsigned int hold_ms = 200;

static int set_ms(const char *text, const struct kernel_param *parameter)
{
	return param_set_uint_minmax(text, parameter, 0, MOST_HOLD_MS);
}

static const struct kernel_param_ops ms_ops = { .set = set_ms, .get = param_get_uint };

module_param_cb(hold_after_ms, &ms_ops, &hold_after_ms, 0600);
MODULE_PARM_DESC(hold_after_ms, "after how long threads that are in the way are held at their return to user mode");
module_param_cb(interrupt_after_ms, &ms_ops, &interrupt_after_ms, 0600);
MODULE_PARM_DESC(interrupt_after_ms, "how long after that the system call of one that is still in the way is interrupted");
module_param_cb(hold_ms, &ms_ops, &hold_ms, 0600);
MODULE_PARM_DESC(hold_ms, "for how long a thread is held at most, 0 for not at all");

static void on_found(struct task_struct *task, void *arg)
{
	const struct ksplice_hold *hold = arg;

	ksplice_door_ask(task, msecs_to_jiffies(READ_ONCE(interrupt_after_ms)), hold->end - hold->start);
}

/**
 * ksplice_hold - threads were found in the way: hold them if it is time
 * @hold: zero at the start of a request
 * @update: takes how many were held, and for how long
 * @scan: what found them
 *
 * Context: the core's thread; allocates.
 */
void ksplice_hold(struct ksplice_hold *hold, struct ksplice_update *update,
		  const struct ksplice_scan *scan)
{
	unsigned long now = jiffies, most = msecs_to_jiffies(READ_ONCE(hold_ms));

	if (!hold->is_due) {
		hold->is_due = true;
		hold->due = now + msecs_to_jiffies(READ_ONCE(hold_after_ms));
	}
	if (hold->is_on && !time_before(now, hold->end))
		ksplice_let_go(hold, update);
	if (!hold->is_on) {
		if (!most || time_before(now, hold->due))
			return;
		hold->is_on = true;
		hold->start = now;
		hold->end = now + most;
	}
	ksplice_scan_in_the_way(scan, on_found, hold);
}

/**
 * ksplice_is_holding - is a round under way?
 * @hold: what holds
 *
 * Return: whether it is; false from the end of its time on, though all may have to be let go yet.
 */
bool ksplice_is_holding(const struct ksplice_hold *hold)
{
	return hold->is_on && time_before(jiffies, hold->end);
}

/**
 * ksplice_let_go - end the round, if there is one
 * @hold: what holds
 * @update: takes how many were held, and for how long
 *
 * Context: the core's thread.
 */
void ksplice_let_go(struct ksplice_hold *hold, struct ksplice_update *update)
{
	unsigned int n;
	u64 longest = 0;

	if (!hold->is_on)
		return;
	hold->is_on = false;
	hold->due = jiffies + REST * (jiffies - hold->start);
	n = ksplice_door_open(&longest);
	mutex_lock(&update->report);
	update->held += n;
	update->held_ns = max(update->held_ns, longest);
	mutex_unlock(&update->report);
}
