// SPDX-License-Identifier: GPL-2.0
/*
 * What one stop does: updates go, and one comes.
 */

/**
 * DOC: one operation
 *
 * An apply is a change in which one update comes, an undo one in which one goes.
 * In a replacement one comes and all that are in place go.  All of it is written
 * in one stop, so no function is old for a moment.
 *
 * Where a function of the update that comes is also one of an update that goes,
 * the two are a pair.  The jump of the one is written over the jump of the other,
 * and the handler of the one gets the destination of the other: nothing is taken
 * off in between.  The bytes that the update that goes saved are those that the
 * one that comes has matched (memory.c), and it keeps them for its own undo.
 */

/**
 * DOC: the order of hooks
 *
 * Updates that go stand before the one that comes, the newest first, and hooks
 * of each step are called in this order: pre hooks; in the stop all check hooks,
 * then reverse hooks, then what is written, then apply hooks; post hooks.  When
 * one refuses, fail hooks are called the other way round, of those updates whose
 * pre hooks were reached.
 */

/**
 * DOC: context and locking
 *
 * The core's thread.  ksplice_operation is held but where hooks run that may
 * sleep; the primaries' references are held.  Pairs are made for one look, and
 * are gone before the lock is given up: a module that goes takes its functions along.
 */
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "core.h"

/* The hooks of a part, by whether it goes. */
static const struct {
	enum ksplice_hook pre, check, write, post, fail;
} kinds[] = {
	{ KSPLICE_PRE_APPLY, KSPLICE_CHECK_APPLY, KSPLICE_APPLY, KSPLICE_POST_APPLY, KSPLICE_FAIL_APPLY },
	{ KSPLICE_PRE_REVERSE, KSPLICE_CHECK_REVERSE, KSPLICE_REVERSE, KSPLICE_POST_REVERSE, KSPLICE_FAIL_REVERSE },
};

static void add_part(struct ksplice_change *change, struct ksplice_update *update)
{
	struct ksplice_part *part = &change->parts[change->n++];

	part->update = update;
	ksplice_hooks_collect(update, &part->hooks);
}

/**
 * ksplice_change_make - what a request is about
 * @update: the update that was asked for, whole
 * @undo: it goes; else it comes, and takes the place of all others if it says so
 *
 * Context: ksplice_operation held.
 * Return: the change, to be freed with kvfree(), or NULL without memory, which is reported.
 */
struct ksplice_change *ksplice_change_make(struct ksplice_update *update, bool undo)
{
	struct ksplice_update *other;
	struct ksplice_change *change;
	size_t n = 1;

	list_for_each_entry(other, &ksplice_updates, list)
		n++;
	change = ksplice_fails("memory for a change") ? NULL :
		 kvzalloc(struct_size(change, parts, n), GFP_KERNEL);
	if (!change) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory for the request");
		return NULL;
	}
	change->update = update;
	if (undo)
		add_part(change, update);
	if (!undo && update->replaces) {
		/* In the order in which they were applied (apply.c). */
		list_for_each_entry_reverse(other, &ksplice_updates, list) {
			if (other->stage == KSPLICE_APPLIED)
				add_part(change, other);
		}
	}
	change->n_go = change->n;
	if (!undo)
		add_part(change, update);
	return change;
}

/**
 * ksplice_change_goes - does a part of a change go?
 * @change: the change
 * @part: the part
 */
bool ksplice_change_goes(const struct ksplice_change *change, const struct ksplice_part *part)
{
	return part < &change->parts[change->n_go];
}

/* Takes the reason: a hook of a step refused. */
static void refuse(struct ksplice_change *change, const struct ksplice_part *part, u32 number)
{
	change->refused = part->update;
	change->refused_by = number;
}

/**
 * ksplice_change_report_refused - say which hook refused
 * @change: the change
 * @step: "pre" or "check"
 */
void ksplice_change_report_refused(const struct ksplice_change *change, const char *step)
{
	if (change->refused == change->update)
		ksplice_report(change->update, KSPLICE_CALL_FAILED, "%s hook %u of the patch refused",
			       step, change->refused_by);
	else
		ksplice_report(change->update, KSPLICE_CALL_FAILED,
			       "%s hook %u of update %s, which is to be replaced, refused",
			       step, change->refused_by, change->refused->id);
}

/**
 * ksplice_change_call_pre - call all pre hooks
 * @change: the change; takes which one refused
 *
 * Context: sleeps, ksplice_operation not held.
 * Return: 0 or -ECANCELED.
 */
int ksplice_change_call_pre(struct ksplice_change *change)
{
	struct ksplice_part *part;

	for_each_part(part, change) {
		u32 number = ksplice_call_checks(&part->hooks, kinds[ksplice_change_goes(change, part)].pre,
						 &part->reached);

		if (number) {
			refuse(change, part, number);
			return -ECANCELED;
		}
	}
	return 0;
}

/**
 * ksplice_change_call_checks - call all check hooks
 * @change: the change; takes which one refused
 *
 * Context: inside stop_machine.
 * Return: 0 or -ECANCELED.
 */
int ksplice_change_call_checks(struct ksplice_change *change)
{
	struct ksplice_part *part;

	for_each_part(part, change) {
		u32 number = ksplice_call_checks(&part->hooks,
						 kinds[ksplice_change_goes(change, part)].check, NULL);

		if (number) {
			refuse(change, part, number);
			return -ECANCELED;
		}
	}
	return 0;
}

/**
 * ksplice_change_call - call reverse hooks, or apply hooks
 * @change: the change
 * @go: those of the parts that go
 *
 * Context: inside stop_machine.
 */
void ksplice_change_call(const struct ksplice_change *change, bool go)
{
	const struct ksplice_part *part;

	for_each_part(part, change) {
		if (ksplice_change_goes(change, part) == go)
			ksplice_call_hooks(&part->hooks, kinds[go].write, part->hooks.n);
	}
}

/**
 * ksplice_change_call_last - call post hooks, or fail hooks
 * @change: the change
 * @failed: whether it failed
 *
 * Context: sleeps, ksplice_operation not held.
 */
void ksplice_change_call_last(const struct ksplice_change *change, bool failed)
{
	const struct ksplice_part *part;
	u32 i;

	for (i = 0; i < change->n; i++) {
		part = &change->parts[failed ? change->n - 1 - i : i];
		if (failed)
			ksplice_call_hooks(&part->hooks, kinds[ksplice_change_goes(change, part)].fail,
					   part->reached);
		else
			ksplice_call_hooks(&part->hooks, kinds[ksplice_change_goes(change, part)].post,
					   part->hooks.n);
	}
}

/* The function at @start of an update that goes. */
static struct ksplice_function *find_going(const struct ksplice_change *change, unsigned long start)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;
	u32 i;

	for_each_part(part, change) {
		if (!ksplice_change_goes(change, part))
			break;
		for_each_target(target, part->update) {
			for (i = 0; i < target->n_functions; i++) {
				if (target->functions[i].start == start)
					return &target->functions[i];
			}
		}
	}
	return NULL;
}

/*
 * Two updates that match the same function find the same place in it, and the same
 * bytes; or @before, which is in place, has a handler there.
 */
static bool fits(const struct ksplice_function *function, const struct ksplice_function *before)
{
	return !ksplice_fails("place of a redirect") && function->jump == before->jump &&
	       function->fentry == before->fentry &&
	       (function->jump ? !memcmp(function->original, before->original, KSP_JUMP_SIZE) :
				 !!before->handler);
}

static int pair_target(const struct ksplice_change *change, struct ksplice_target *target)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		struct ksplice_function *function = &target->functions[i];

		function->before = find_going(change, function->start);
		if (!function->before)
			continue;
		function->before->after = function;
		if (fits(function, function->before))
			continue;
		ksplice_report(change->update, KSPLICE_UNEXPECTED,
			       "%s at %lx is redirected at another place than this update would", function->name,
			       function->start);
		return -ESTALE;
	}
	return 0;
}

/**
 * ksplice_change_unpair - forget which functions take each other's place
 * @change: the change
 */
void ksplice_change_unpair(const struct ksplice_change *change)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;
	u32 i;

	for_each_part(part, change) {
		for_each_target(target, part->update) {
			for (i = 0; i < target->n_functions; i++) {
				target->functions[i].before = NULL;
				target->functions[i].after = NULL;
			}
		}
	}
}

/**
 * ksplice_change_pair - find the functions that take each other's place
 * @change: the change; takes the reason of a failure
 *
 * Context: ksplice_operation held, until the change is unpaired.
 * Return: 0, or -ESTALE and nothing is paired.
 */
int ksplice_change_pair(const struct ksplice_change *change)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;
	int err = 0;

	for_each_part(part, change) {
		if (ksplice_change_goes(change, part))
			continue;
		for_each_target(target, part->update) {
			err = pair_target(change, target);
			if (err)
				break;
		}
	}
	if (err)
		ksplice_change_unpair(change);
	return err;
}
