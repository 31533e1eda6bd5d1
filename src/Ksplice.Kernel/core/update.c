// SPDX-License-Identifier: GPL-2.0
/*
 * The updates that the core knows, and how their modules register.
 *
 * DOC: lifetime and locking
 *
 * A struct ksplice_update is made when a helper registers and lives until
 * that helper is unloaded; after a failed match it stays, so that the cause
 * can be read, until the same update is tried again or the core is unloaded.
 * The list and all members but the reported ones are guarded by
 * ksplice_operation.  The match data lies in the helper's init memory: what
 * outlives registration is copied.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "core.h"

static LIST_HEAD(updates);

/**
 * ksplice_report - record why a request failed, and log it
 * @update: the update
 * @cause: the abort cause, or KSPLICE_OK
 * @format: the reason in a sentence, as for printk
 *
 * Context: process context; takes update->report.
 */
void ksplice_report(struct ksplice_update *update, enum ksplice_cause cause,
		    const char *format, ...)
{
	va_list arguments;

	mutex_lock(&update->report);
	update->cause = cause;
	va_start(arguments, format);
	vscnprintf(update->reason, sizeof(update->reason), format, arguments);
	va_end(arguments);
	pr_info("%s: %s\n", update->id, update->reason);
	mutex_unlock(&update->report);
}

static void forget_match(struct ksplice_update *update)
{
	u32 i;

	for (i = 0; i < update->n_functions; i++)
		kfree(update->functions[i].name);
	for (i = 0; i < update->n_texts; i++)
		kfree(update->texts[i].name);
	kvfree(update->functions);
	kvfree(update->texts);
	update->functions = NULL;
	update->texts = NULL;
	update->n_functions = 0;
	update->n_texts = 0;
}

/* The last reference of the kobject is gone. */
void ksplice_update_free(struct ksplice_update *update)
{
	forget_match(update);
	kfree(update->id);
	kfree(update);
}

static struct ksplice_update *find_update(const char *id)
{
	struct ksplice_update *update;

	list_for_each_entry(update, &updates, list) {
		if (!strcmp(update->id, id))
			return update;
	}
	return NULL;
}

static struct ksplice_update *create_update(const char *id)
{
	struct ksplice_update *update = kzalloc(sizeof(*update), GFP_KERNEL);

	if (!update)
		return NULL;
	update->id = kstrdup(id, GFP_KERNEL);
	if (!update->id) {
		kfree(update);
		return NULL;
	}
	mutex_init(&update->report);
	kthread_init_work(&update->work, ksplice_work);
	update->max_tries = 5;
	update->retry_ms = 1000;
	update->kobj.kset = ksplice_kset;
	if (kobject_init_and_add(&update->kobj, (struct kobj_type *)&ksplice_update_type, NULL, "%s", id)) {
		kobject_put(&update->kobj);
		return NULL;
	}
	list_add_tail(&update->list, &updates);
	return update;
}

static void remove_update(struct ksplice_update *update)
{
	/* Waits for readers and writers of its files; none can queue work after. */
	kobject_del(&update->kobj);
	kthread_flush_work(&update->work);
	/* The worker takes the lock too, so it is taken only now. */
	mutex_lock(&ksplice_operation);
	list_del(&update->list);
	mutex_unlock(&ksplice_operation);
	kobject_put(&update->kobj);
}

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
};

static void report_mismatch(struct ksplice_update *update, enum ksp_reason reason,
			    const struct ksp_failure *failure)
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
		       "%s: %s%s%s, at %llx (offset %u), expected %*ph, found %*ph, candidates %u",
		       failure->object ?: "?",
		       reason < ARRAY_SIZE(reasons) && reasons[reason] ? reasons[reason] : "unknown",
		       failure->symbol ? ": " : "", failure->symbol ?: "",
		       failure->address, failure->offset,
		       (int)failure->n_expected, failure->expected,
		       (int)failure->n_found, failure->found, failure->candidates);
}

/* Copies what outlives the helper's init memory. */
static int keep_match(struct ksplice_update *update, const struct ksp_match *match)
{
	u32 i;

	update->functions = kvcalloc(match->n_functions, sizeof(*update->functions), GFP_KERNEL);
	update->texts = kvcalloc(match->n_ranges, sizeof(*update->texts), GFP_KERNEL);
	if ((!update->functions && match->n_functions) || (!update->texts && match->n_ranges))
		goto no_memory;
	for (i = 0; i < match->n_functions; i++) {
		const struct ksp_function *from = &match->functions[i];
		struct ksplice_function *to = &update->functions[i];

		if (from->start < (unsigned long)kernel.stext ||
		    from->end > (unsigned long)kernel.etext || from->start >= from->end ||
		    from->jump < from->start || from->jump + KSP_JUMP_SIZE > from->end) {
			ksplice_report(update, KSPLICE_UNEXPECTED,
				       "%s at %llx-%llx does not lie in the kernel's text",
				       from->name, from->start, from->end);
			return -ERANGE;
		}
		to->name = kstrdup(from->name, GFP_KERNEL);
		if (!to->name)
			goto no_memory;
		to->start = from->start;
		to->end = from->end;
		to->jump = from->jump;
		memcpy(to->original, from->bytes, KSP_JUMP_SIZE);
		update->n_functions++;
	}
	for (i = 0; i < match->n_ranges; i++) {
		update->texts[i].name = kstrdup(match->ranges[i].name, GFP_KERNEL);
		if (!update->texts[i].name)
			goto no_memory;
		update->texts[i].start = match->ranges[i].start;
		update->texts[i].end = match->ranges[i].end;
		update->n_texts++;
	}
	return 0;

no_memory:
	ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory to keep what was matched");
	return -ENOMEM;
}

/*
 * Writes each resolved value into the helper's own export table.  The build
 * put the table into a writable section; entries are relative to themselves.
 */
static int fill_exports(struct ksplice_update *update, const struct ksplice_helper *helper,
			const struct ksp_match *match)
{
	struct kernel_symbol *table = (struct kernel_symbol *)helper->owner->gpl_syms;
	u32 i;

	if (helper->owner->num_gpl_syms != match->n_exports || helper->n_exports != match->n_exports) {
		ksplice_report(update, KSPLICE_BAD_DATA,
			       "the helper exports %u symbols, the match data has %u",
			       helper->owner->num_gpl_syms, match->n_exports);
		return -EINVAL;
	}
	for (i = 0; i < match->n_exports; i++) {
		long distance = match->exports[i] - (unsigned long)&table[i].value_offset;

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

static int match_update(struct ksplice_update *update, const struct ksplice_helper *helper)
{
	struct ksp_match match = {};
	enum ksp_reason reason;
	struct ksp_env env;
	int err;

	ksplice_memory_env(&env);
	mutex_lock(kernel.text_mutex);	/* K12 */
	reason = ksp_match(helper->match_data, helper->match_size, &env, &match);
	mutex_unlock(kernel.text_mutex);
	if (reason != KSP_MATCHED) {
		report_mismatch(update, reason, &match.failure);
		err = reason == KSP_NO_MEMORY ? -ENOMEM : -ENOEXEC;
	} else {
		err = keep_match(update, &match);
		if (!err)
			err = fill_exports(update, helper, &match);
	}
	if (err)
		forget_match(update);
	ksp_match_free(&env, &match);
	return err;
}

int ksplice_helper_register(const struct ksplice_helper *helper)
{
	struct ksplice_update *update;
	int err;

	if (helper->abi != KSPLICE_ABI) {
		pr_err("%s: helper has abi %u, this core has %u\n", helper->id, helper->abi, KSPLICE_ABI);
		return -EINVAL;
	}
	mutex_lock(&ksplice_operation);
	update = find_update(helper->id);
	if (update && update->helper) {
		pr_err("%s: a helper of this update is loaded already\n", helper->id);
		err = -EEXIST;
		goto unlock;
	}
	if (!update)
		update = create_update(helper->id);
	if (!update) {
		err = -ENOMEM;
		goto unlock;
	}
	err = match_update(update, helper);
	if (!err) {
		update->helper = helper->owner;
		ksplice_report(update, KSPLICE_OK, "%u functions matched, %u symbols resolved",
			       update->n_functions, helper->n_exports);
	}
unlock:
	mutex_unlock(&ksplice_operation);
	return err;
}
EXPORT_SYMBOL_GPL(ksplice_helper_register);

void ksplice_helper_unregister(const struct ksplice_helper *helper)
{
	struct ksplice_update *update;

	mutex_lock(&ksplice_operation);
	update = find_update(helper->id);
	mutex_unlock(&ksplice_operation);
	/* Only this helper's exit removes it, and the worker may want the lock. */
	if (!WARN_ON(!update || update->primary))
		remove_update(update);
}
EXPORT_SYMBOL_GPL(ksplice_helper_unregister);

int ksplice_primary_register(const struct ksplice_primary *primary)
{
	struct ksplice_update *update;
	int err = -ENOENT;

	mutex_lock(&ksplice_operation);
	update = find_update(primary->id);
	if (primary->abi != KSPLICE_ABI || !update || !update->helper) {
		pr_err("%s: primary of abi %u without a matched helper\n", primary->id, primary->abi);
		goto unlock;
	}
	if (update->primary) {
		ksplice_report(update, KSPLICE_MODULE_BUSY, "a primary of this update is loaded already");
		err = -EEXIST;
		goto unlock;
	}
	/* A primary without a symbol of its helper would not hold it by itself. */
	if (!try_module_get(update->helper)) {
		ksplice_report(update, KSPLICE_MODULE_BUSY, "the helper is being unloaded");
		goto unlock;
	}
	update->primary = primary->owner;
	update->code = primary->code;
	update->pinned = primary->pinned;
	err = ksplice_redirect_prepare(update);
	if (err) {
		update->primary = NULL;
		module_put(update->helper);
	}
unlock:
	mutex_unlock(&ksplice_operation);
	return err;
}
EXPORT_SYMBOL_GPL(ksplice_primary_register);

void ksplice_primary_unregister(const struct ksplice_primary *primary)
{
	struct ksplice_update *update;

	mutex_lock(&ksplice_operation);
	update = find_update(primary->id);
	if (!WARN_ON(!update || update->stage == KSPLICE_APPLIED)) {
		update->primary = NULL;
		update->code = NULL;
		module_put(update->helper);
	}
	mutex_unlock(&ksplice_operation);
}
EXPORT_SYMBOL_GPL(ksplice_primary_unregister);

/* What failed matches left; everything else holds a reference on the core. */
void ksplice_updates_exit(void)
{
	struct ksplice_update *update, *next;

	list_for_each_entry_safe(update, next, &updates, list)
		remove_update(update);
}
