// SPDX-License-Identifier: GPL-2.0
/*
 * The stop: one try checks every thread and writes every redirect while the
 * machine stands still.
 */

/**
 * DOC: context and locking
 *
 * Runs on the core's own thread (K17) with ksplice_operation held during a look
 * and given up between looks.  Around each stop: kprobe_mutex and ftrace_lock,
 * which keep probes and livepatches from coming, cpus_read_lock, text_mutex, then
 * the stop (K16: kprobes.c tells the deadlock of any other order).  All online CPUs run the stop function: the first checks and writes,
 * the others wait, and every one executes sync_core() before it leaves, because
 * nothing in multi_cpu_stop() serialises their instruction streams (K15).  A
 * failed try leaves all text as it was; check hooks may have run.
 */

/**
 * DOC: the order of jumps and handlers
 *
 * Every CPU changes for itself where handlers lead it (tracer.c, K33).  NMIs
 * come meanwhile.  What they call through a handler may itself come to a jump of
 * the update, say through a pointer.  So the jumps of what comes are written before
 * the first CPU flips, and those of what goes are taken off after the last one has,
 * when no NMI is in code that goes any more.  Each CPU serialises its instruction
 * stream before it flips.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <asm/sync_core.h>

#include "core.h"

struct stop {
	struct ksplice_update *update;	/* that was asked for */
	struct ksplice_change *change;
	struct ksplice_ranges ranges;
	struct ksplice_scan scan;
	struct ksplice_hold hold;
	bool undo;			/* new code goes */
	unsigned int n_cpus;
	atomic_t arrived;
	atomic_t flipped;
	int flip;
	int done;
	struct ksplice_stopped *stopped;	/* by CPU */

	/* What the first CPU found; valid when done. */
	int err;
	const struct ksplice_function *differs;	/* its text is not what it has to be */
	u64 pause_ns;
};

/* Writes the redirects of what comes, or takes off those of what goes. */
static void write_redirects(const struct ksplice_change *change, bool go)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;

	for_each_part(part, change) {
		if (ksplice_change_goes(change, part) != go)
			continue;
		for_each_target(target, part->update)
			ksplice_redirect_write(target, go);
	}
}

/* The first function whose text is not what it has to be, or NULL. */
static const struct ksplice_function *check_redirects(const struct ksplice_change *change)
{
	const struct ksplice_function *differs = NULL;
	const struct ksplice_part *part;
	struct ksplice_target *target;

	for_each_part(part, change) {
		for_each_target(target, part->update)
			differs = differs ?: ksplice_redirect_check(target, ksplice_change_goes(change, part));
	}
	return differs;
}

static void flip(void)
{
	sync_core();
	ksplice_tracer_flip();
}

/* Returns when all CPUs are on the other side. */
static void flip_all(struct stop *stop)
{
	/* What was written is seen by who sees this. */
	smp_store_release(&stop->flip, 1);
	flip();
	ksplice_tracer_flip_offline();
	while (atomic_read_acquire(&stop->flipped) < stop->n_cpus - 1)
		cpu_relax();
}

/* The other CPUs' part. */
static void wait_and_flip(struct stop *stop)
{
	bool flipped = false;

	/* Pairs with the release in stop_function(). */
	while (!smp_load_acquire(&stop->done)) {
		/* Pairs with the release in flip_all(). */
		if (!flipped && smp_load_acquire(&stop->flip)) {
			flip();
			/* Pairs with the acquire in flip_all(). */
			atomic_inc_return_release(&stop->flipped);
			flipped = true;
		}
		cpu_relax();
	}
}

/* The first CPU's part, while all others wait: everything is checked before anything is written. */
static void operate(struct stop *stop)
{
	stop->err = ksplice_fails("stack of a thread") ? -EFAULT :
		    ksplice_check_threads(stop->update, &stop->ranges, &stop->scan, stop->stopped,
					  stop->undo);
	if (stop->err)
		return;
	stop->differs = check_redirects(stop->change);
	if (stop->differs) {
		stop->err = -ESTALE;
		return;
	}
	stop->err = ksplice_change_call_checks(stop->change);
	if (stop->err)
		return;
	/* An update's redirects stand while its apply and reverse hooks run. */
	ksplice_change_call(stop->change, true);
	write_redirects(stop->change, false);
	flip_all(stop);
	write_redirects(stop->change, true);
	ksplice_change_call(stop->change, false);
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
		wait_and_flip(stop);
	}
	sync_core();
	return 0;
}

static void prepare_handlers(const struct ksplice_change *change)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;

	for_each_part(part, change) {
		for_each_target(target, part->update)
			ksplice_tracer_prepare(target, ksplice_change_goes(change, part));
	}
}

static void settle_handlers(const struct ksplice_change *change, bool flipped)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;

	for_each_part(part, change) {
		for_each_target(target, part->update) {
			ksplice_tracer_settle(target);
			if (flipped)
				ksplice_tracer_take_over(target);
		}
	}
}

/* What the machine was stopped for; the reason of a failure is reported, but for threads in the way. */
static int stop_machine_once(struct ksplice_update *update, struct stop *stop)
{
	int err;

	stop->flip = 0;
	stop->done = 0;
	stop->err = 0;
	stop->differs = NULL;
	atomic_set(&stop->arrived, 0);
	atomic_set(&stop->flipped, 0);
	stop->n_cpus = num_online_cpus();
	prepare_handlers(stop->change);
	err = ksplice_fails("stop of the machine") ? -ENOENT :
	      static_call(stop_machine_cpuslocked)(stop_function, stop, cpu_online_mask);
	settle_handlers(stop->change, !err && !stop->err);
	if (err) {
		ksplice_report(update, KSPLICE_UNEXPECTED, "the machine cannot be stopped (%d)", err);
		return err;
	}
	mutex_lock(&update->report);
	update->stops++;
	update->pause_ns = stop->pause_ns;
	mutex_unlock(&update->report);
	switch (stop->err) {
	case 0:
	case -EBUSY:
	case -EAGAIN:
		break;
	case -ESTALE:
		ksplice_report_stale(update, stop->differs);
		break;
	case -ECANCELED:
		ksplice_change_report_refused(stop->change, "check");
		break;
	case -EINPROGRESS:
		ksplice_report(update, KSPLICE_RUNNING_TASK,
			       "%s (%d) runs though the machine is stopped",
			       update->found[0].comm, update->found[0].pid);
		break;
	default:
		ksplice_report(update, KSPLICE_UNEXPECTED,
			       "the stack of %s (%d) cannot be understood (%d)",
			       update->found[0].comm, update->found[0].pid, stop->err);
		break;
	}
	return stop->err;
}

/* Others on the functions of all that come and go. */
static int check_others(const struct ksplice_change *change)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;
	int err = 0;

	for_each_part(part, change) {
		for_each_target(target, part->update)
			err = err ?: ksplice_check_others(change->update, target,
							  ksplice_change_goes(change, part));
	}
	return err;
}

static int check_others_and_stop(struct ksplice_update *update, struct stop *stop)
{
	int err;

	ksplice_keep_others_out();
	cpus_read_lock();
	mutex_lock(kernel.text_mutex);
	err = check_others(stop->change);
	/* That took its time: who ran meanwhile is read again, and need not be in the stop. */
	if (!err)
		err = ksplice_scan_refresh(&stop->scan, update, &stop->ranges);
	/* For tests of what runs between scan and stop. */
	ksplice_wait_by_name("between scan and stop");
	ksplice_clear_used_stack();
	if (!err)
		err = stop_machine_once(update, stop);
	mutex_unlock(kernel.text_mutex);
	cpus_read_unlock();
	ksplice_let_others_in();
	return err;
}

static void unmap_redirects(const struct ksplice_change *change)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;

	for_each_part(part, change) {
		for_each_target(target, part->update)
			ksplice_redirect_unmap(target);
	}
}

static int map_redirects(const struct ksplice_change *change)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;
	int err = 0;

	for_each_part(part, change) {
		for_each_target(target, part->update)
			err = err ?: ksplice_redirect_map(change->update, target);
	}
	if (err)
		unmap_redirects(change);
	return err;
}

/* What a look needs is made anew for each: a module may have come or gone since the last. */
static int look_and_stop(struct ksplice_update *update, struct stop *stop)
{
	int err;

	err = stop->change->n == stop->change->n_go ? 0 : ksplice_loaded_are_matched(update);
	if (!err)
		err = ksplice_change_pair(stop->change);
	if (err)
		return err;
	/* The machine is not stopped while the threads that rest would be in the way. */
	err = ksplice_ranges_collect(stop->change, &stop->ranges) ?:
	      ksplice_scan_make(&stop->scan, update, &stop->ranges);
	if (err == -ENOMEM)
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory for the stack check");
	if (!err)
		err = map_redirects(stop->change);
	if (!err) {
		ksplice_clear_used_stack();
		err = check_others_and_stop(update, stop);
		unmap_redirects(stop->change);
	}
	ksplice_change_unpair(stop->change);
	if (err == -EBUSY && update->n_found)
		ksplice_hold(&stop->hold, update, &stop->scan);
	ksplice_scan_drop(&stop->scan);
	kvfree(stop->ranges.items);
	return err;
}

/*
 * One try: looks again and again until nobody is in the way and the machine has
 * been stopped, or until the next try; not before threads that are held have
 * had their time.  After each look as much time passes as it took, and some
 * more, so that looking costs no more than half of one CPU.
 */
static int try_once(struct ksplice_update *update, struct stop *stop, unsigned long end)
{
	unsigned int stops = update->stops, wait_ms = 1;
	bool in_the_way;
	int err;

	for (;;) {
		ktime_t start = ktime_get();

		/* Who sleeps does not hold the lock. */
		mutex_unlock(&ksplice_operation);
		ksplice_exiting_settle();
		mutex_lock(&ksplice_operation);
		update->n_found = 0;
		err = look_and_stop(update, stop);
		/* Threads, or tasks that were not even looked at; not a module that comes or goes. */
		in_the_way = err == -EAGAIN || (err == -EBUSY && update->n_found);
		if (!in_the_way || update->stops != stops ||
		    !(time_before(jiffies, end) || ksplice_is_holding(&stop->hold)))
			break;
		wait_ms = ksplice_is_holding(&stop->hold) ? 1 :
			  min(2 * wait_ms, max(1U, READ_ONCE(update->scan_ms)));
		mutex_unlock(&ksplice_operation);
		msleep(wait_ms + min_t(s64, ktime_ms_delta(ktime_get(), start), KSPLICE_MOST_SCAN_MS));
		mutex_lock(&ksplice_operation);
	}
	ksplice_let_go(&stop->hold, update);

	mutex_lock(&update->report);
	update->tries++;
	update->n_conflicts = update->n_found;
	memcpy(update->conflicts, update->found, sizeof(update->found));
	mutex_unlock(&update->report);
	if (in_the_way && err == -EBUSY)
		ksplice_report(update, KSPLICE_CODE_BUSY,
			       "%u threads are in the code to be replaced, the first is %s (%d) in %s at %lx",
			       update->n_found, update->found[0].comm, update->found[0].pid,
			       update->found[0].name, update->found[0].address);
	else if (in_the_way)
		ksplice_report(update, KSPLICE_CODE_BUSY,
			       "more tasks are on their way out than there was room to keep track of: %u are not gone yet",
			       ksplice_exiting_missed());
	return err;
}

/**
 * ksplice_stop - write and take off the redirects of a change with the machine stopped
 * @change: the change, its updates whole, their primaries held
 *
 * Tries again while threads are in the way, or a module is on its way, as often as
 * the update says that was asked for, which takes the reason of a failure.
 *
 * Context: the core's thread, ksplice_operation held; it is given up while the
 * thread sleeps.
 * Return: 0, or an error and nothing has changed.
 */
int ksplice_stop(struct ksplice_change *change)
{
	struct ksplice_update *update = change->update;
	/* Not on the stack, which the check reads: it knows the ends of functions. */
	struct stop *stop = ksplice_fails("memory for a stop") ? NULL : kzalloc(sizeof(*stop), GFP_KERNEL);
	unsigned int max_tries = READ_ONCE(update->max_tries);
	unsigned int i;
	int err = -ENOMEM;

	if (stop)
		stop->stopped = ksplice_fails("memory for stacks") ? NULL :
				kcalloc(nr_cpu_ids, sizeof(*stop->stopped), GFP_KERNEL);
	if (!stop || !stop->stopped) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory for the stack check");
		goto free;
	}
	stop->update = update;
	stop->change = change;
	stop->undo = change->n_go;
	for (i = 1;; i++) {
		unsigned long end = jiffies + msecs_to_jiffies(READ_ONCE(update->retry_ms));

		err = try_once(update, stop, end);
		if ((err != -EBUSY && err != -EAGAIN) || i >= max_tries)
			break;
		mutex_unlock(&ksplice_operation);
		if (time_before(jiffies, end))
			schedule_timeout_uninterruptible(end - jiffies);
		mutex_lock(&ksplice_operation);
	}
	kfree(stop->stopped);
free:
	kfree(stop);
	return err;
}
