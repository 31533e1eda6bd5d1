// SPDX-License-Identifier: GPL-2.0
/*
 * A target of an update, the kernel itself or a loadable module, and its match.
 */

/**
 * DOC: lifetime and locking
 *
 * A target is made while its helper registers and destroyed when that helper
 * is unloaded; one whose module may come later is made anew when that comes, and
 * forgets what it matched when that goes (notifier.c).
 *
 * ksplice_operation is held; matching holds text_mutex too (K12).  The match
 * data may lie in the helper's init memory: what outlives registration is copied.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/err.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "core.h"

static const char * const reasons[] = {
	[KSP_BAD_DATA] = "the match data is malformed",
	[KSP_NO_MEMORY] = "no memory",
	[KSP_NO_CANDIDATE] = "the kernel has no symbol of that name",
	[KSP_DIFFERENT] = "its code differs",
	[KSP_AMBIGUOUS] = "more than one place matches",
	[KSP_UNREADABLE] = "its memory cannot be read",
	[KSP_PROBED] = "a kprobe stands in its code",
	[KSP_CONFLICT] = "two uses of a symbol disagree",
	[KSP_UNRESOLVED] = "no value was found",
	[KSP_NO_ROOM] = "the redirect does not fit",
	[KSP_NOT_IN_SEQUENCE] = "its name is another file's",
	[KSP_SEALED] = "an indirect call of it would fault, and the new code takes its address",
};

static void report_mismatch(struct ksplice_update *update, const struct ksplice_target *target,
			    enum ksp_reason reason, const struct ksp_failure *failure)
{
	enum ksplice_cause cause = KSPLICE_NO_MATCH;

	if (reason == KSP_BAD_DATA)
		cause = KSPLICE_BAD_DATA;
	else if (reason == KSP_NO_MEMORY)
		cause = KSPLICE_OUT_OF_MEMORY;
	else if (reason == KSP_NO_CANDIDATE || reason == KSP_UNRESOLVED)
		cause = KSPLICE_FAILED_TO_FIND;
	else if (reason == KSP_PROBED)
		cause = KSPLICE_PROBED;
	ksplice_report(update, cause,
		       "%s%s%s: %s%s%s, at %llx (offset %u), expected %*ph, found %*ph, candidates %u",
		       target->module ? target->name : "", target->module ? ": " : "",
		       failure->object ?: "?",
		       reason < ARRAY_SIZE(reasons) && reasons[reason] ? reasons[reason] : "unknown",
		       failure->symbol ? ": " : "", failure->symbol ?: "",
		       failure->address, failure->offset,
		       (int)failure->n_expected, failure->expected,
		       (int)failure->n_found, failure->found, failure->candidates);
}

/* Is it matched as if no update were in place?  It may be one of those. */
static bool matches_plain(const struct ksplice_update *update)
{
	return update->plain && update->stage != KSPLICE_APPLIED;
}

/* The text of the target, and new code in its place: nothing else is ever redirected. */
static bool is_target_text(const struct ksplice_target *target, u64 start, u64 end, bool plain)
{
	unsigned long text, text_end;

	if (target->module) {
		ksplice_module_text(target->module, &text, &text_end);
	} else {
		text = (unsigned long)kernel.stext;
		text_end = (unsigned long)kernel.etext;
	}
	return start < end && ((start >= text && end <= text_end) ||
			       (!plain && ksplice_is_new_code(target->name, start, end)));
}

static int keep_function(struct ksplice_update *update, struct ksplice_target *target,
			 const struct ksp_function *from)
{
	struct ksplice_function *to = &target->functions[target->n_functions];

	if (!is_target_text(target, from->start, from->end, matches_plain(update)) ||
	    (from->jump && (from->jump < from->start || from->jump >= from->end ||
			    from->end - from->jump < KSP_JUMP_SIZE)) ||
	    (!from->jump && (from->fentry < from->start || from->fentry >= from->end))) {
		ksplice_report(update, KSPLICE_UNEXPECTED,
			       "%s at %llx-%llx does not lie in the text of %s",
			       from->name, from->start, from->end, target->name);
		return -ERANGE;
	}
	to->name = ksplice_fails("name of a function") ? NULL : kstrdup(from->name, GFP_KERNEL);
	if (!to->name)
		return -ENOMEM;
	to->start = from->start;
	to->end = from->end;
	to->fentry = from->fentry;
	to->jump = from->jump;
	memcpy(to->original, from->bytes, KSP_JUMP_SIZE);
	target->n_functions++;
	return 0;
}

/* Copies what outlives the helper's init memory. */
static int keep_match(struct ksplice_update *update, struct ksplice_target *target,
		      const struct ksp_match *match)
{
	int err;
	u32 i;

	target->functions = ksplice_fails("memory for functions") ? NULL :
			    kvcalloc(match->n_functions, sizeof(*target->functions), GFP_KERNEL);
	target->ranges = ksplice_fails("memory for ranges") ? NULL :
			kvcalloc(match->n_ranges, sizeof(*target->ranges), GFP_KERNEL);
	err = -ENOMEM;
	if ((!target->functions && match->n_functions) || (!target->ranges && match->n_ranges))
		goto failed;
	for (i = 0; i < match->n_functions; i++) {
		err = keep_function(update, target, &match->functions[i]);
		if (err)
			goto failed;
	}
	err = -ENOMEM;
	for (i = 0; i < match->n_ranges; i++) {
		struct ksplice_range *range = &target->ranges[i];

		range->name = ksplice_fails("name of a range") ? NULL :
			     kstrdup(match->ranges[i].name, GFP_KERNEL);
		if (!range->name)
			goto failed;
		range->start = match->ranges[i].start;
		range->end = match->ranges[i].end;
		range->ends_in_call = match->ranges[i].ends_in_call;
		target->n_ranges++;
	}
	return 0;

failed:
	if (err == -ENOMEM)
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory to keep what was matched");
	return err;
}

static bool has_suffix(const char *text, const char *suffix)
{
	size_t length = strlen(text), n = strlen(suffix);

	return length >= n && !strcmp(text + length - n, suffix);
}

/*
 * Writes each resolved value into the helper's own export table.  The build
 * put the table into a writable section; entries are relative to themselves.
 */
static int fill_exports(struct ksplice_update *update, const struct ksplice_target *target,
			const struct ksp_match *match)
{
	const struct ksplice_helper *helper = target->helper;
	unsigned int n;
	struct ksplice_export *table = (struct ksplice_export *)ksplice_gpl_exports(helper->owner, &n);
	char number[16];
	u32 i;

	if (n != helper->n_exports || helper->n_exports > match->n_exports) {
		ksplice_report(update, KSPLICE_BAD_DATA,
			       "the helper exports %u symbols, the match data has %u",
			       n, match->n_exports);
		return -EINVAL;
	}
	for (i = 0; i < helper->n_exports; i++) {
		const char *name = offset_to_ptr(&table[i].name_offset);
		long distance = match->exports[i] - (unsigned long)&table[i].value_offset;

		/* The loader sorted by name: that has to be the order of indexes. */
		snprintf(number, sizeof(number), "_%04u", i);
		if (!has_suffix(name, number)) {
			ksplice_report(update, KSPLICE_BAD_DATA, "export %u is called %s", i, name);
			return -EINVAL;
		}
		if (distance != (int)distance) {
			ksplice_report(update, KSPLICE_UNEXPECTED,
				       "export %u has the value %llx, which is out of reach",
				       i, match->exports[i]);
			return -ERANGE;
		}
		table[i].value_offset = distance;
	}
	return 0;
}

static int match_target(struct ksplice_update *update, struct ksplice_target *target)
{
	const struct ksplice_helper *helper = target->helper;
	struct ksplice_memory memory;
	struct ksp_match match = {};
	enum ksp_reason reason;
	int err;

	ksplice_memory_init(&memory, target, matches_plain(update));
	mutex_lock(kernel.text_mutex);	/* K12 */
	reason = ksp_match(helper->match_data, helper->match_size, &memory.env, &match);
	mutex_unlock(kernel.text_mutex);
	if (reason != KSP_MATCHED) {
		report_mismatch(update, target, reason, &match.failure);
		err = reason == KSP_NO_MEMORY ? -ENOMEM : -ENOEXEC;
	} else {
		err = keep_match(update, target, &match);
		if (!err)
			err = ksplice_hold_dependencies(update, target, &match);
		if (!err)
			err = fill_exports(update, target, &match);
		if (!err)
			err = ksplice_values_keep(update, target, &match);
	}
	ksp_match_free(&memory.env, &match);
	return err;
}

/**
 * ksplice_target_create - match what a helper brings
 * @update: takes the reason of a failure
 * @helper: the helper
 * @coming: the module that it is about, if that is coming; else it is looked for
 *
 * Context: process context, ksplice_operation held.
 * Return: the target, in no list yet, or an error pointer.
 */
struct ksplice_target *ksplice_target_create(struct ksplice_update *update,
					     const struct ksplice_helper *helper,
					     struct module *coming)
{
	struct ksplice_target *target = ksplice_fails("memory for a target") ? NULL :
					kzalloc(sizeof(*target), GFP_KERNEL);
	int err = -ENOMEM;

	if (target) {
		target->helper = helper;
		INIT_LIST_HEAD(&target->not_loaded);
		INIT_LIST_HEAD(&target->leftovers);
		target->name = ksplice_fails("name of a target") ? NULL :
			       kstrdup(helper->target ?: KSPLICE_KERNEL_NAME, GFP_KERNEL);
	}
	if (!target || !target->name) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory for a target");
		goto failed;
	}
	err = 0;
	if (coming) {
		target->module = coming;
	} else if (helper->target) {
		/* Who comes or goes from here on waits for ksplice_operation. */
		if (helper->late)
			ksplice_not_loaded_add(target);
		err = ksplice_find_module(update, target);
	}
	if (!err && (!helper->target || target->module))
		err = match_target(update, target);
	if (!err)
		return target;
failed:
	ksplice_target_destroy(target);
	return ERR_PTR(err);
}

/**
 * ksplice_target_join - join a target to its primary's new code
 * @update: takes the reason of a failure
 * @target: the target, matched, with its primary set
 *
 * Return: 0 or an error.
 */
int ksplice_target_join(struct ksplice_update *update, struct ksplice_target *target)
{
	int err = ksplice_fails("tables of a primary") ? -EINVAL :
		  ksplice_redirect_prepare(update, target);

	return err ?: ksplice_relocate(update, target);
}

/**
 * ksplice_target_forget - drop what a target has matched, and its references
 * @target: the target, in no list or with update->report held
 *
 * Context: process context, ksplice_operation held.
 */
void ksplice_target_forget(struct ksplice_target *target)
{
	for (; target->n_functions; target->n_functions--)
		kfree(target->functions[target->n_functions - 1].name);
	for (; target->n_ranges; target->n_ranges--)
		kfree(target->ranges[target->n_ranges - 1].name);
	kvfree(target->functions);
	target->functions = NULL;
	kvfree(target->ranges);
	target->ranges = NULL;
	kfree(target->values);
	target->values = NULL;
	target->n_values = 0;
	ksplice_drop_references(target);
}

/**
 * ksplice_target_destroy - drop a target that is in no list
 * @target: the target, or NULL
 *
 * Context: process context, ksplice_operation held.
 */
void ksplice_target_destroy(struct ksplice_target *target)
{
	if (!target)
		return;
	ksplice_not_loaded_remove(target);
	ksplice_leftovers_drop(target);
	ksplice_target_forget(target);
	kfree(target->name);
	kfree(target);
}
