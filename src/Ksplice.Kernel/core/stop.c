// SPDX-License-Identifier: GPL-2.0
/*
 * The stop: one try checks every thread and writes every redirect while the
 * machine stands still.
 */

/**
 * DOC: context and locking
 *
 * Runs on the core's own thread (K17) with ksplice_operation held during a try
 * and given up between tries.  Around each stop: kprobe_mutex and ftrace_lock,
 * which keep probes and livepatches from coming, cpus_read_lock, text_mutex, then
 * the stop (K16: kprobes.c tells the deadlock of any other order).  All online CPUs run the stop function: the first checks and writes,
 * the others wait, and every one executes sync_core() before it leaves, because
 * nothing in multi_cpu_stop() serialises their instruction streams (K15).  A
 * failed try leaves all text as it was; check hooks may have run.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <asm/sync_core.h>

#include "core.h"

struct stop {
	struct ksplice_update *update;
	const struct ksplice_hooks *hooks;
	struct ksplice_ranges texts;
	bool undo;
	unsigned int n_cpus;
	atomic_t arrived;
	int done;
	struct ksplice_stopped *stopped;	/* by CPU */

	/* What the first CPU found; valid when done. */
	int err;
	const struct ksplice_function *differs;	/* its text is not what it has to be */
	u32 refused_by;		/* 1 + index of the check hook that refused */
	u64 pause_ns;
};

static void write_redirects(const struct ksplice_update *update, bool undo)
{
	struct ksplice_target *target;

	for_each_target(target, update)
		ksplice_redirect_write(target, undo);
}

/* The first CPU's part, while all others wait: everything is checked before anything is written. */
static void operate(struct stop *stop)
{
	struct ksplice_update *update = stop->update;
	struct ksplice_target *target;

	stop->err = ksplice_fails("stack of a thread") ? -EFAULT :
		    ksplice_check_threads(update, &stop->texts, stop->stopped, stop->undo);
	if (stop->err)
		return;
	for_each_target(target, update) {
		stop->differs = ksplice_redirect_check(target, stop->undo);
		if (stop->differs) {
			stop->err = -ESTALE;
			return;
		}
	}
	stop->refused_by = ksplice_call_checks(stop->hooks, stop->undo ? KSPLICE_CHECK_REVERSE
								       : KSPLICE_CHECK_APPLY, NULL);
	if (stop->refused_by) {
		stop->err = -ECANCELED;
		return;
	}
	/* Redirects stand while apply and reverse hooks run. */
	if (!stop->undo)
		write_redirects(update, false);
	ksplice_call_hooks(stop->hooks, stop->undo ? KSPLICE_REVERSE : KSPLICE_APPLY, stop->hooks->n);
	if (stop->undo)
		write_redirects(update, true);
}

static int stop_function(void *data)
{
	struct stop *stop = data;
	struct ksplice_stopped *stopped = &stop->stopped[smp_processor_id()];

	stopped->stack = __builtin_frame_address(0);
	stopped->task = current;
	if (atomic_inc_return(&stop->arrived) == 1) {
		u64 start = ktime_get_mono_fast_ns();

		/* Their stacks are read from where they are now. */
		while (atomic_read_acquire(&stop->arrived) < stop->n_cpus)
			cpu_relax();
		operate(stop);
		stop->pause_ns = ktime_get_mono_fast_ns() - start;
		/* What was written, and found, is seen by who sees this. */
		smp_store_release(&stop->done, 1);
	} else {
		/* Pairs with the release above. */
		while (!smp_load_acquire(&stop->done))
			cpu_relax();
	}
	sync_core();
	return 0;
}

/* One try; the reason of a failure is reported. */
static int try_once(struct ksplice_update *update, struct stop *stop)
{
	struct ksplice_target *target;
	bool stopped = false;
	int err = 0;

	stop->done = 0;
	stop->err = 0;
	stop->differs = NULL;
	stop->refused_by = 0;
	atomic_set(&stop->arrived, 0);
	update->n_found = 0;

	ksplice_keep_others_out();
	cpus_read_lock();
	mutex_lock(kernel.text_mutex);
	for_each_target(target, update) {
		err = ksplice_check_others(update, target, stop->undo);
		if (err)
			break;
	}
	ksplice_clear_used_stack();
	if (!err) {
		stop->n_cpus = num_online_cpus();
		err = ksplice_fails("stop of the machine") ? -ENOENT :
		      static_call(stop_machine_cpuslocked)(stop_function, stop, cpu_online_mask);
		stopped = !err;
		if (stopped)
			err = stop->err;
		else
			ksplice_report(update, KSPLICE_UNEXPECTED,
				       "the machine cannot be stopped (%d)", err);
	}
	mutex_unlock(kernel.text_mutex);
	cpus_read_unlock();
	ksplice_let_others_in();

	mutex_lock(&update->report);
	update->tries++;
	update->pause_ns = stopped ? stop->pause_ns : 0;
	update->n_conflicts = update->n_found;
	memcpy(update->conflicts, update->found, sizeof(update->found));
	mutex_unlock(&update->report);

	if (!stopped)
		return err;
	switch (err) {
	case 0:
		break;
	case -EBUSY:
		ksplice_report(update, KSPLICE_CODE_BUSY,
			       "%u threads are in the code to be replaced, the first is %s (%d) in %s at %lx",
			       update->n_found, update->found[0].comm, update->found[0].pid,
			       update->found[0].name, update->found[0].address);
		break;
	case -EAGAIN:
		ksplice_report(update, KSPLICE_CODE_BUSY,
			       "more tasks are on their way out than there was room to keep track of: %u are not gone yet",
			       ksplice_exiting_missed());
		break;
	case -ESTALE:
		ksplice_report_stale(update, stop->differs);
		break;
	case -ECANCELED:
		ksplice_report(update, KSPLICE_CALL_FAILED,
			       "check hook %u of the patch refused", stop->refused_by);
		break;
	case -EINPROGRESS:
		ksplice_report(update, KSPLICE_RUNNING_TASK,
			       "%s (%d) runs though the machine is stopped",
			       update->found[0].comm, update->found[0].pid);
		break;
	default:
		ksplice_report(update, KSPLICE_UNEXPECTED,
			       "the stack of %s (%d) cannot be understood (%d)",
			       update->found[0].comm, update->found[0].pid, err);
		break;
	}
	return err;
}

static void unmap_redirects(struct ksplice_update *update)
{
	struct ksplice_target *target;

	for_each_target(target, update)
		ksplice_redirect_unmap(target);
}

static int map_redirects(struct ksplice_update *update)
{
	struct ksplice_target *target;
	int err = 0;

	for_each_target(target, update) {
		err = ksplice_redirect_map(update, target);
		if (err)
			break;
	}
	if (err)
		unmap_redirects(update);
	return err;
}

/* What a try needs is made anew for each: a module may have come or gone since the last. */
static int prepare_and_try(struct ksplice_update *update, struct stop *stop)
{
	int err;

	err = stop->undo ? 0 : ksplice_loaded_are_matched(update);
	if (err)
		return err;
	err = ksplice_ranges_collect(update, stop->undo, &stop->texts);
	if (err) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory for the stack check");
		return err;
	}
	err = map_redirects(update);
	if (!err) {
		ksplice_clear_used_stack();
		err = try_once(update, stop);
		unmap_redirects(update);
	}
	kvfree(stop->texts.items);
	return err;
}

/**
 * ksplice_stop - write an update's redirects, or take them off, with the machine stopped
 * @update: the update, whole, its primaries held; takes the reason of a failure
 * @hooks: its hooks
 * @undo: take them off
 *
 * Tries again while threads are in the way, or a module is on its way, as often as
 * the update says.
 *
 * Context: the core's thread, ksplice_operation held; it is given up while the
 * thread sleeps between tries.
 * Return: 0, or an error and nothing has changed.
 */
int ksplice_stop(struct ksplice_update *update, const struct ksplice_hooks *hooks, bool undo)
{
	struct stop stop = { .update = update, .hooks = hooks, .undo = undo };
	unsigned int max_tries = READ_ONCE(update->max_tries);
	unsigned int i;
	int err;

	stop.stopped = ksplice_fails("memory for stacks") ? NULL :
		       kcalloc(nr_cpu_ids, sizeof(*stop.stopped), GFP_KERNEL);
	if (!stop.stopped) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory for the stack check");
		return -ENOMEM;
	}
	for (i = 1;; i++) {
		/* Who sleeps does not hold the lock. */
		mutex_unlock(&ksplice_operation);
		if (i > 1)
			msleep(READ_ONCE(update->retry_ms));
		ksplice_exiting_settle();
		mutex_lock(&ksplice_operation);
		err = prepare_and_try(update, &stop);
		if ((err != -EBUSY && err != -EAGAIN) || i >= max_tries)
			break;
	}
	kfree(stop.stopped);
	return err;
}
