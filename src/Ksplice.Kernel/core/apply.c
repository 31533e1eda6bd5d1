// SPDX-License-Identifier: GPL-2.0
/*
 * Applying and reversing an update.
 *
 * DOC: context and locking
 *
 * Runs on the core's own thread (K17) with ksplice_operation held.  Around
 * each stop: cpus_read_lock, then text_mutex, then the stop (K16: kprobes.c
 * tells the deadlock of any other order).  All online CPUs run the stop
 * function: the first checks and writes, the others wait, and every one
 * executes sync_core() before it leaves, because nothing in multi_cpu_stop()
 * serialises their instruction streams (K15).  A failed try leaves the kernel
 * as it was.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <asm/sync_core.h>

#include "core.h"

struct stop {
	struct ksplice_update *update;
	bool undo;
	unsigned int n_cpus;
	atomic_t arrived;
	int done;
	struct ksplice_stopped *stopped;	/* by CPU */

	/* What the first CPU found; valid when done. */
	int err;
	int differs;		/* function whose text differs, or -1 */
	u32 refused_by;		/* 1 + index of the check hook that refused */
	u64 pause_ns;
};

/* What a hook of each direction is called. */
struct direction {
	enum ksplice_hook pre, check, during, post, fail;
	enum ksplice_stage stage;
	const char *verb;
};

static const struct direction directions[] = {
	{ KSPLICE_PRE_APPLY, KSPLICE_CHECK_APPLY, KSPLICE_APPLY,
	  KSPLICE_POST_APPLY, KSPLICE_FAIL_APPLY, KSPLICE_APPLIED, "applied" },
	{ KSPLICE_PRE_REVERSE, KSPLICE_CHECK_REVERSE, KSPLICE_REVERSE,
	  KSPLICE_POST_REVERSE, KSPLICE_FAIL_REVERSE, KSPLICE_REVERSED, "reversed" },
};

/* Returns 1 + the index of the hook that refused, or 0. */
static u32 call_checks(const struct ksplice_update *update, enum ksplice_hook kind)
{
	const struct ksplice_hook_list *list = &update->code->hooks[kind];
	u32 i;

	for (i = 0; i < list->count; i++) {
		int (*check)(void) = list->calls[i];

		if (check())
			return i + 1;
	}
	return 0;
}

static void call_hooks(const struct ksplice_update *update, enum ksplice_hook kind)
{
	const struct ksplice_hook_list *list = &update->code->hooks[kind];
	u32 i;

	for (i = 0; i < list->count; i++) {
		void (*call)(void) = list->calls[i];

		call();
	}
}

/* The first CPU's part, while all others wait. */
static void operate(struct stop *stop)
{
	const struct direction *direction = &directions[stop->undo];
	struct ksplice_update *update = stop->update;

	stop->err = ksplice_check_threads(update, stop->stopped, stop->undo);
	if (stop->err)
		return;
	stop->differs = ksplice_redirect_check(update, stop->undo);
	if (stop->differs >= 0) {
		stop->err = -ESTALE;
		return;
	}
	stop->refused_by = call_checks(update, direction->check);
	if (stop->refused_by) {
		stop->err = -ECANCELED;
		return;
	}
	/* Redirects stand while apply and reverse hooks run. */
	if (!stop->undo)
		ksplice_redirect_write(update, false);
	call_hooks(update, direction->during);
	if (stop->undo)
		ksplice_redirect_write(update, true);
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
		smp_store_release(&stop->done, 1);
	} else {
		while (!smp_load_acquire(&stop->done))
			cpu_relax();
	}
	sync_core();
	return 0;
}

/* A kprobe inside of a replaced function would never be hit again. */
static unsigned long find_probe(const struct ksplice_update *update, u32 *function)
{
	unsigned long address;
	u32 i;

	for (i = 0; i < update->n_functions; i++) {
		for (address = update->functions[i].start; address < update->functions[i].end; address++) {
			if (ksplice_is_probed(address)) {
				*function = i;
				return address;
			}
		}
		cond_resched();
	}
	return 0;
}

/* One try; the reason of a failure is reported. */
static int try_once(struct ksplice_update *update, struct stop *stop)
{
	unsigned long probe = 0;
	u32 probed = 0;
	int err;

	stop->done = 0;
	stop->err = 0;
	stop->differs = -1;
	stop->refused_by = 0;
	atomic_set(&stop->arrived, 0);
	update->n_found = 0;

	cpus_read_lock();
	mutex_lock(kernel.text_mutex);
	/* Probes are planted under text_mutex: none can come after this. */
	if (!stop->undo)
		probe = find_probe(update, &probed);
	if (probe) {
		err = -EPERM;
	} else {
		stop->n_cpus = num_online_cpus();
		err = kernel.stop_machine_cpuslocked(stop_function, stop, cpu_online_mask);
		if (!err)
			err = stop->err;
	}
	mutex_unlock(kernel.text_mutex);
	cpus_read_unlock();

	mutex_lock(&update->report);
	update->tries++;
	update->pause_ns = probe ? 0 : stop->pause_ns;
	update->n_conflicts = update->n_found;
	memcpy(update->conflicts, update->found, sizeof(update->found));
	mutex_unlock(&update->report);

	switch (err) {
	case 0:
		break;
	case -EBUSY:
		ksplice_report(update, KSPLICE_CODE_BUSY,
			       "%u threads are in the code to be replaced, the first is %s (%d) in %s at %lx",
			       update->n_found, update->found[0].comm, update->found[0].pid,
			       update->found[0].name, update->found[0].address);
		break;
	case -EPERM:
		ksplice_report(update, KSPLICE_PROBED, "a kprobe stands in %s at %lx",
			       update->functions[probed].name, probe);
		break;
	case -ESTALE:
		ksplice_report(update, KSPLICE_UNEXPECTED,
			       "the text of %s at %lx is not what it was: %*ph",
			       update->functions[stop->differs].name,
			       update->functions[stop->differs].jump, KSP_JUMP_SIZE,
			       (void *)update->functions[stop->differs].jump);
		break;
	case -ECANCELED:
		ksplice_report(update, KSPLICE_CALL_FAILED,
			       "check hook %u of the patch refused", stop->refused_by);
		break;
	default:
		ksplice_report(update, KSPLICE_UNEXPECTED,
			       "the stack of %s (%d) cannot be understood (%d)",
			       update->found[0].comm, update->found[0].pid, err);
		break;
	}
	return err;
}

static int try_often(struct ksplice_update *update, bool undo)
{
	struct stop stop = { .update = update, .undo = undo };
	unsigned int max_tries = max(1U, READ_ONCE(update->max_tries));
	int err = -EBUSY;
	unsigned int i;

	stop.stopped = kcalloc(nr_cpu_ids, sizeof(*stop.stopped), GFP_KERNEL);
	if (!stop.stopped) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory for %u CPUs", nr_cpu_ids);
		return -ENOMEM;
	}
	for (i = 0; i < max_tries && err == -EBUSY; i++) {
		if (i)
			msleep(READ_ONCE(update->retry_ms));
		err = try_once(update, &stop);
	}
	kfree(stop.stopped);
	return err;
}

/* Applies or reverses; with the primary's reference held. */
static int operate_update(struct ksplice_update *update, bool undo)
{
	const struct direction *direction = &directions[undo];
	u32 refused_by = call_checks(update, direction->pre);
	int err;

	if (refused_by) {
		ksplice_report(update, KSPLICE_CALL_FAILED,
			       "pre hook %u of the patch refused", refused_by);
		err = -ECANCELED;
	} else {
		err = try_often(update, undo);
	}
	if (err) {
		call_hooks(update, direction->fail);
		return err;
	}
	mutex_lock(&update->report);
	update->stage = direction->stage;
	mutex_unlock(&update->report);
	call_hooks(update, direction->post);
	return 0;
}

static void apply(struct ksplice_update *update)
{
	if (!update->holds_primary && !try_module_get(update->primary)) {
		ksplice_report(update, KSPLICE_MODULE_BUSY, "the primary is being unloaded");
		return;
	}
	update->holds_primary = true;
	if (operate_update(update, false)) {
		/*
		 * New code may have run as pre hooks only; they are done, and
		 * nothing of the primary is reachable.
		 */
		update->holds_primary = false;
		module_put(update->primary);
		return;
	}
	ksplice_report(update, KSPLICE_OK, "applied after %u tries, machine stopped for %llu ns",
		       update->tries, update->pause_ns);
}

static void reverse(struct ksplice_update *update)
{
	if (operate_update(update, true))
		return;
	/*
	 * K20: the redirects are off and no stack was in the new code; tasks
	 * preempted in probe slots and tasks on their way out, which are on no
	 * list, are waited for before the primary may be unloaded.
	 */
	synchronize_rcu_tasks();
	rcu_barrier();
	if (!update->pinned) {
		update->holds_primary = false;
		module_put(update->primary);
	}
	ksplice_report(update, KSPLICE_OK, "reversed after %u tries, machine stopped for %llu ns",
		       update->tries, update->pause_ns);
}

/**
 * ksplice_work - do what was written to "stage"
 * @work: the update's work
 *
 * Context: the core's thread.
 */
void ksplice_work(struct kthread_work *work)
{
	struct ksplice_update *update = container_of(work, struct ksplice_update, work);
	bool undo = update->wanted == KSPLICE_REVERSED;

	mutex_lock(&ksplice_operation);
	mutex_lock(&update->report);
	update->tries = 0;
	update->pause_ns = 0;
	update->n_conflicts = 0;
	mutex_unlock(&update->report);
	if (!update->primary)
		ksplice_report(update, KSPLICE_UNEXPECTED, "no primary is loaded");
	else if (!undo && update->stage == KSPLICE_APPLIED)
		ksplice_report(update, KSPLICE_ALREADY_APPLIED, "the update is applied already");
	else if (undo && update->stage != KSPLICE_APPLIED)
		ksplice_report(update, KSPLICE_UNEXPECTED, "the update is not applied");
	else if (undo)
		reverse(update);
	else
		apply(update);
	mutex_unlock(&ksplice_operation);
	atomic_set_release(&update->busy, 0);
}
