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

/* The hooks around the stop, and what an update is after it. */
struct direction {
	enum ksplice_hook pre, post, fail;
	enum ksplice_stage stage;
};

static const struct direction directions[] = {
	{ KSPLICE_PRE_APPLY, KSPLICE_POST_APPLY, KSPLICE_FAIL_APPLY, KSPLICE_APPLIED },
	{ KSPLICE_PRE_REVERSE, KSPLICE_POST_REVERSE, KSPLICE_FAIL_REVERSE, KSPLICE_REVERSED },
};

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

/* Applies or reverses; with the primaries' references held. */
static int operate_update(struct ksplice_update *update, bool undo)
{
	const struct direction *direction = &directions[undo];
	struct ksplice_hooks hooks;
	u32 refused_by, reached = 0;
	int err = -ECANCELED;

	ksplice_hooks_collect(update, &hooks);
	mutex_unlock(&ksplice_operation);
	refused_by = ksplice_call_checks(&hooks, direction->pre, &reached);
	mutex_lock(&ksplice_operation);
	if (refused_by) {
		ksplice_report(update, KSPLICE_CALL_FAILED,
			       "pre hook %u of the patch refused", refused_by);
	} else {
		ksplice_clear_used_stack();
		err = ksplice_stop(update, &hooks, undo);
	}
	if (!err) {
		/* For who reads an oops of this kernel; it stays after an undo. */
		if (!undo)
			add_taint(TAINT_LIVEPATCH, LOCKDEP_STILL_OK);
		set_stage(update, direction->stage);
		keep_data(update);
	}
	mutex_unlock(&ksplice_operation);
	if (err)
		ksplice_call_hooks(&hooks, direction->fail, reached);
	else
		ksplice_call_hooks(&hooks, direction->post, hooks.n);
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

static int attach_and_operate(struct ksplice_update *update)
{
	struct ksplice_target *target;
	int err = 0;

	for_each_target(target, update) {
		err = ksplice_tracer_attach(update, target);
		if (err)
			goto detach;
	}
	update->attached = true;
	err = operate_update(update, false);
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

static void apply(struct ksplice_update *update)
{
	if (!is_current(update))
		return;
	if (hold_primaries(update) || attach_and_operate(update)) {
		/*
		 * Of the new code only hooks have run, and they are done.
		 * Nothing of the primaries is reachable but what an earlier
		 * time left.
		 */
		release_primaries(update, update->stage == KSPLICE_REVERSED);
		return;
	}
	ksplice_report(update, KSPLICE_OK, "applied after %u tries, machine stopped for %llu ns",
		       update->tries, update->pause_ns);
}

static void reverse(struct ksplice_update *update)
{
	const struct ksplice_update *upper = ksplice_find_upper(update);
	bool broken;

	if (upper) {
		ksplice_report(update, KSPLICE_IN_USE, "update %s stands on it: undo that first", upper->id);
		return;
	}
	if (operate_update(update, true))
		return;
	broken = detach(update);
	/*
	 * K20: the redirects are off and no stack was in the new code.  Callbacks
	 * that it left with RCU, and tasks that were preempted where no check
	 * looks, are waited for before the primaries may be unloaded.
	 */
	mutex_unlock(&ksplice_operation);
	synchronize_rcu_tasks();
	rcu_barrier();
	mutex_lock(&ksplice_operation);
	if (!broken)
		release_primaries(update, true);
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
