// SPDX-License-Identifier: GPL-2.0
/*
 * Rounds: which candidate it is.
 *
 * DOC: how it works
 *
 * An object is settled when one candidate, and only one, survives; since a
 * settled object fixes symbols of others, the objects are tried in rounds
 * until nothing changes any more.  Of several functions of one name only those
 * in their unit's sequence are tried (neighbours.c): if the unit's own function
 * does not match, because it is probed or another kernel's, no other unit's
 * may stand in for it.
 */
#include "internal.h"

struct list {
	struct ksp_env *env;
	u64 *items;
	u32 n;
	u32 capacity;
	bool failed;
};

static int add_candidate(void *arg, u64 address)
{
	struct list *list = arg;
	u32 i;

	for (i = 0; i < list->n; i++) {
		if (list->items[i] == address)
			return 0;
	}
	if (list->n == list->capacity) {
		u32 capacity = list->capacity ? 2 * list->capacity : 16;
		u64 *items = list->env->alloc(list->env, capacity * sizeof(u64));

		if (!items) {
			list->failed = true;
			return 1;
		}
		if (list->n)
			memcpy(items, list->items, list->n * sizeof(u64));
		list->env->free(list->env, list->items);
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->n++] = address;
	return 0;
}

/* Leaves those that are in sequence, or all if none is: then false. */
static bool keep_in_sequence(struct run *run, const struct ksp_object *object, struct list *list)
{
	u32 i, n = 0;

	for (i = 0; i < list->n; i++) {
		if (ksp_in_sequence(run, object, list->items[i]))
			list->items[n++] = list->items[i];
	}
	if (!n)
		return false;
	list->n = n;
	return true;
}

/*
 * Tries every symbol of the object's name.  @survivors is how many matched;
 * with one, the object is settled.
 */
static enum ksp_reason try_candidates(struct run *run, struct ksp_match *match, u32 index, u32 *survivors)
{
	struct list list = { .env = run->env };
	const struct ksp_object *object = &run->objects[index];
	const char *name = ksp_name_of(run, object->symbol);
	struct ksp_failure farthest = {};
	u64 survivor = 0;
	u32 i, mark = run->n_journal, best = 0;
	enum ksp_reason reason = KSP_MATCHED;

	*survivors = 0;
	if (name)
		run->env->candidates(run->env, name, add_candidate, &list);
	if (list.failed) {
		reason = ksp_fail(run, match, index, NULL, KSP_NO_MEMORY, list.n);
		goto out;
	}
	if (!list.n) {
		match->failure.symbol = name;
		reason = ksp_fail(run, match, index, NULL, KSP_NO_CANDIDATE, 0);
		goto out;
	}
	if (object->kind == KSP_OBJECT_TEXT && (list.n > 1 || ksp_is_overridable(run, object)) &&
	    !keep_in_sequence(run, object, &list)) {
		match->failure.symbol = name;
		reason = ksp_fail(run, match, index, NULL, KSP_NOT_IN_SEQUENCE, list.n);
		goto out;
	}
	for (i = 0; i < list.n; i++) {
		struct walk w;

		if (ksp_walk_object(&w, run, index, list.items[i]) == KSP_MATCHED) {
			survivor = list.items[i];
			++*survivors;
			if (list.n == 1)
				break;
		} else if (!i || w.failure.address - w.start >= best) {
			best = w.failure.address - w.start;
			farthest = w.failure;
		}
		ksp_forget(run, mark);
	}
	if (!*survivors) {
		reason = ksp_fail(run, match, index, &farthest, farthest.reason, list.n);
	} else if (*survivors == 1) {
		struct walk w;

		/* What the only candidate told is still known. */
		if (list.n > 1)
			reason = ksp_walk_object(&w, run, index, survivor);
		run->done[index] = 1;
	}
out:
	run->env->free(run->env, list.items);
	return reason;
}

enum ksp_reason ksp_settle(struct run *run, struct ksp_match *match)
{
	u32 i, pending, pending_survivors = 0, settled, first = 0;

	do {
		pending = 0;
		settled = 0;
		for (i = 0; i < run->header->n_objects; i++) {
			const struct ksp_object *object = &run->objects[i];
			enum ksp_reason reason = KSP_MATCHED;
			u32 survivors = 0;

			if (run->done[i])
				continue;
			if (run->known[object->symbol]) {
				struct walk w;

				reason = ksp_walk_object(&w, run, i, run->values[object->symbol]);
				if (reason != KSP_MATCHED)
					return ksp_fail(run, match, i, &w.failure, w.failure.reason, 1);
				run->done[i] = 1;
			} else if (object->kind == KSP_OBJECT_TEXT) {
				reason = try_candidates(run, match, i, &survivors);
				if (reason != KSP_MATCHED)
					return reason;
			}
			if (run->done[i]) {
				settled++;
			} else if (!(object->flags & KSP_OBJECT_OPTIONAL) && !pending++) {
				first = i;
				pending_survivors = survivors;
			}
		}
	} while (pending && settled);
	if (!pending)
		return KSP_MATCHED;
	match->failure.symbol = ksp_name_of(run, run->objects[first].symbol);
	return ksp_fail(run, match, first, NULL, pending_survivors ? KSP_AMBIGUOUS : KSP_UNRESOLVED, pending_survivors);
}
