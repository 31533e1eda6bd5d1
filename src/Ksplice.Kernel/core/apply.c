// SPDX-License-Identifier: GPL-2.0
/*
 * Applying and reversing an update.
 */

/**
 * DOC: context and locking
 *
 * Runs on the core's own thread (K17).  ksplice_operation is held but while
 * hooks run that may sleep, between tries of the stop (stop.c), and while an
 * undo waits for grace periods; what holds the update together meanwhile stands
 * in core.h.  What is taken for a request, references on the primaries and
 * handlers of the tracer, is given back when it fails.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/err.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/rcupdate.h>

#include "core.h"

struct kthread_worker *ksplice_worker;

/* What an update is from now on, and for modules that come while its post hooks run. */
static void set_stage(struct ksplice_update *update, enum ksplice_stage stage)
{
	mutex_lock(&update->report);
	update->stage = stage;
	mutex_unlock(&update->report);
	/* Modules that come are changed by updates in the order of this list (notifier.c). */
	if (stage == KSPLICE_APPLIED)
		list_move_tail(&update->list, &ksplice_updates);
}

/*
 * K20: from now on the kernel may hold addresses in the update's data module.
 * The primaries depend on it, so it is there.
 */
static void keep_data(struct ksplice_update *update)
{
	struct ksplice_target *target;

	for_each_target(target, update) {
		if (!target->data || target->data->kept)
			continue;
		target->data->kept = true;
		__module_get(target->data->owner);
	}
}

/* The redirects of a change are written. */
static void set_stages(const struct ksplice_change *change)
{
	const struct ksplice_part *part;

	for_each_part(part, change) {
		if (ksplice_change_goes(change, part)) {
			set_stage(part->update, KSPLICE_REVERSED);
			continue;
		}
		/* For who reads an oops of this kernel; it stays after an undo. */
		add_taint(TAINT_LIVEPATCH, LOCKDEP_STILL_OK);
		set_stage(part->update, KSPLICE_APPLIED);
		keep_data(part->update);
	}
}

/* Hooks, the stop, hooks; with the primaries' references held. */
static int operate(struct ksplice_change *change)
{
	int err;

	mutex_unlock(&ksplice_operation);
	err = ksplice_change_call_pre(change);
	mutex_lock(&ksplice_operation);
	if (err) {
		ksplice_change_report_refused(change, "pre");
	} else {
		ksplice_clear_used_stack();
		err = ksplice_stop(change);
	}
	if (!err)
		set_stages(change);
	mutex_unlock(&ksplice_operation);
	ksplice_change_call_last(change, err);
	mutex_lock(&ksplice_operation);
	return err;
}

/* Lets the primaries go that this update holds, but for those that may never go (K20). */
static void release_primaries(struct ksplice_update *update, bool pinned)
{
	struct ksplice_target *target;

	for_each_target(target, update) {
		if (!target->holds_primary || (pinned && target->pinned))
			continue;
		target->holds_primary = false;
		module_put(target->primary);
	}
}

static int hold_primaries(struct ksplice_update *update)
{
	struct ksplice_target *target;

	for_each_target(target, update) {
		if (target->holds_primary)
			continue;
		if (ksplice_fails("reference on a primary") || !try_module_get(target->primary)) {
			ksplice_report(update, KSPLICE_MODULE_BUSY,
				       "the primary for %s is being unloaded", target->name);
			return -EBUSY;
		}
		target->holds_primary = true;
	}
	return 0;
}

static int detach(struct ksplice_update *update)
{
	struct ksplice_target *target;
	int err = 0;

	update->attached = false;
	for_each_target(target, update)
		err = ksplice_tracer_detach(update, target) ?: err;
	return err;
}

static int attach_and_operate(struct ksplice_update *update, struct ksplice_change *change)
{
	struct ksplice_target *target;
	int err = 0;

	for_each_target(target, update) {
		err = ksplice_tracer_attach(update, target);
		if (err)
			goto detach;
	}
	update->attached = true;
	err = operate(change);
	if (!err)
		return 0;
detach:
	detach(update);
	return err;
}

/* Is what it was built on and matched against still what is in place? */
static bool is_current(struct ksplice_update *update)
{
	const struct ksplice_target *target = list_first_entry(&update->targets, struct ksplice_target, list);
	const char *missing = ksplice_missing_base(target->helper);
	const struct ksplice_update *lower = ksplice_find_lower(update);
	const struct ksplice_function *covered = ksplice_find_covered(update);

	if (missing)
		ksplice_report(update, KSPLICE_BASE_MISSING,
			       "the update was built on update %s, which is not applied", missing);
	else if (lower)
		ksplice_report(update, KSPLICE_NO_MATCH,
			       "update %s, which it stands on, is not applied", lower->id);
	else if (covered)
		ksplice_report(update, KSPLICE_NO_MATCH,
			       "another update has replaced %s since it was matched", covered->name);
	return !missing && !lower && !covered;
}

/* Was it matched, as what takes the place of others has to be? */
static bool may_replace(struct ksplice_update *update)
{
	if (!update->plain)
		ksplice_report(update, KSPLICE_NO_MATCH,
			       "the update was matched together with what it would replace; load its modules anew to replace");
	return update->plain;
}

/* Lets all go that went; the redirects are off. */
static void release_gone(struct ksplice_change *change)
{
	struct ksplice_part *part, *end = &change->parts[change->n_go];

	if (!change->n_go)
		return;
	for (part = change->parts; part < end; part++)
		part->broken = detach(part->update);
	/*
	 * K20: no stack was in the new code.  Callbacks that it left with RCU, and
	 * tasks that were preempted where no check looks, are waited for before the
	 * primaries may be unloaded.
	 */
	mutex_unlock(&ksplice_operation);
	synchronize_rcu_tasks();
	rcu_barrier();
	mutex_lock(&ksplice_operation);
	for (part = change->parts; part < end; part++) {
		if (!part->broken)
			release_primaries(part->update, true);
		if (part->update != change->update)
			ksplice_report(part->update, KSPLICE_OK, "replaced by update %s", change->update->id);
	}
}

static void apply(struct ksplice_update *update)
{
	struct ksplice_change *change;

	if (!(update->replaces ? may_replace(update) : is_current(update)))
		return;
	change = ksplice_change_make(update, false);
	if (!change)
		return;
	if (hold_primaries(update) || attach_and_operate(update, change)) {
		/*
		 * Of the new code only hooks have run, and they are done.
		 * Nothing of the primaries is reachable but what an earlier
		 * time left.
		 */
		release_primaries(update, update->stage == KSPLICE_REVERSED);
	} else {
		release_gone(change);
		ksplice_report(update, KSPLICE_OK, "applied after %u tries, machine stopped for %llu ns",
			       update->tries, update->pause_ns);
	}
	kvfree(change);
}

static void reverse(struct ksplice_update *update)
{
	const struct ksplice_update *upper = ksplice_find_upper(update);
	struct ksplice_change *change;
	int err;

	if (upper) {
		ksplice_report(update, KSPLICE_IN_USE, "update %s stands on it: undo that first", upper->id);
		return;
	}
	change = ksplice_change_make(update, true);
	if (!change)
		return;
	err = operate(change);
	if (!err)
		release_gone(change);
	kvfree(change);
	if (err)
		return;
	ksplice_report(update, KSPLICE_OK, "reversed after %u tries, machine stopped for %llu ns",
		       update->tries, update->pause_ns);
}

/* Are all targets there, each with its primary? */
static bool is_whole(struct ksplice_update *update)
{
	struct ksplice_target *target;
	u32 n = 0;

	for_each_target(target, update) {
		if (!target->primary) {
			ksplice_report(update, KSPLICE_INCOMPLETE, "the primary for %s is not loaded",
				       target->name);
			return false;
		}
		n++;
	}
	if (!n || n != update->n_targets) {
		ksplice_report(update, KSPLICE_INCOMPLETE,
			       "%u of the update's %u targets have their modules loaded",
			       n, update->n_targets);
		return false;
	}
	return true;
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
	update->stops = 0;
	update->pause_ns = 0;
	update->held = 0;
	update->held_ns = 0;
	update->n_conflicts = 0;
	mutex_unlock(&update->report);
	update->replaces = update->wants_to_replace;
	if (!is_whole(update))
		;	/* reported */
	else if (!undo && update->stage == KSPLICE_APPLIED)
		ksplice_report(update, KSPLICE_ALREADY_APPLIED, "the update is applied already");
	else if (undo && update->stage != KSPLICE_APPLIED)
		ksplice_report(update, KSPLICE_UNEXPECTED, "the update is not applied");
	else if (undo)
		reverse(update);
	else
		apply(update);
	update->replaces = false;
	mutex_unlock(&ksplice_operation);
	atomic_set_release(&update->busy, 0);
}

/**
 * ksplice_worker_init - start the core's own thread
 *
 * Return: 0 or an error, which is logged.
 */
int __init ksplice_worker_init(void)
{
	ksplice_worker = kthread_create_worker(0, "ksplice");
	if (!IS_ERR(ksplice_worker))
		return 0;
	pr_err("cannot start a thread: %ld\n", PTR_ERR(ksplice_worker));
	return PTR_ERR(ksplice_worker);
}

/**
 * ksplice_worker_exit - the opposite
 *
 * Also where init fails.
 */
void ksplice_worker_exit(void)
{
	kthread_destroy_worker(ksplice_worker);
}
