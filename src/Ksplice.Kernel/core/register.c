// SPDX-License-Identifier: GPL-2.0
/*
 * How the modules of an update register, and go.
 */

/**
 * DOC: lifetime and locking
 *
 * A struct ksplice_update is made when the first of its helpers registers and
 * lives until the last one is unloaded; when none matched it stays, so that the
 * cause can be read, until the same update is tried again or the core is
 * unloaded.  The list of updates and all members but the reported ones are
 * guarded by ksplice_operation.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "core.h"

static struct ksplice_update *create_update(const char *id)
{
	struct ksplice_update *update = ksplice_fails("memory for an update") ? NULL :
					kzalloc(sizeof(*update), GFP_KERNEL);

	if (!update)
		return NULL;
	update->id = ksplice_fails("name of an update") ? NULL : kstrdup(id, GFP_KERNEL);
	if (!update->id) {
		kfree(update);
		return NULL;
	}
	INIT_LIST_HEAD(&update->targets);
	mutex_init(&update->report);
	kthread_init_work(&update->work, ksplice_work);
	update->max_tries = 5;
	update->retry_ms = 1000;
	update->scan_ms = 50;
	update->kobj.kset = ksplice_kset;
	if (kobject_init_and_add(&update->kobj, (struct kobj_type *)&ksplice_update_type, NULL, "%s", id)) {
		kobject_put(&update->kobj);
		return NULL;
	}
	list_add_tail(&update->list, &ksplice_updates);
	return update;
}

/*
 * Takes an update off the list; ksplice_operation is held.  Readers and writers
 * of its files are waited for, which take no lock that is held here; none can
 * queue work after.
 */
static void unlink_update(struct ksplice_update *update)
{
	list_del(&update->list);
	kobject_del(&update->kobj);
}

/* Without ksplice_operation, which the worker may want. */
static void drop_update(struct ksplice_update *update)
{
	kthread_flush_work(&update->work);
	kobject_put(&update->kobj);
}

static struct ksplice_target *find_target(const struct ksplice_update *update, const char *name)
{
	struct ksplice_target *target;

	for_each_target(target, update) {
		if (!strcmp(target->name, name ?: KSPLICE_KERNEL_NAME))
			return target;
	}
	return NULL;
}

/* list_count_nodes() is in younger 6.1 releases only. */
static unsigned int count_targets(const struct ksplice_update *update)
{
	struct ksplice_target *target;
	unsigned int count = 0;

	list_for_each_entry(target, &update->targets, list)
		count++;
	return count;
}

static const char *digest_of(const struct ksplice_update *update)
{
	return list_first_entry(&update->targets, struct ksplice_target, list)->helper->digest;
}

/* The update that a helper belongs to: it may come first, or the others wait for it. */
static struct ksplice_update *join_update(const struct ksplice_helper *helper)
{
	struct ksplice_update *update = ksplice_find_update(helper->id);

	if (!helper->n_targets || helper->n_targets > KSPLICE_MAX_TARGETS) {
		pr_err("%s: a helper for one of %u targets\n", helper->id, helper->n_targets);
		return ERR_PTR(-EINVAL);
	}
	if (!update)
		update = create_update(helper->id);
	if (!update)
		return ERR_PTR(-ENOMEM);
	/* What is left of a failed match may have been another build's. */
	if (list_empty(&update->targets)) {
		update->n_targets = helper->n_targets;
		update->plain = true;
	} else if (strcmp(digest_of(update), helper->digest)) {
		pr_err("%s: the helper for %s is of another build than what is loaded of this update\n",
		       helper->id, helper->target ?: KSPLICE_KERNEL_NAME);
		return ERR_PTR(-EINVAL);
	}
	if (find_target(update, helper->target)) {
		pr_err("%s: a helper of this update for %s is loaded already\n",
		       helper->id, helper->target ?: KSPLICE_KERNEL_NAME);
		return ERR_PTR(-EEXIST);
	}
	if (update->n_targets != helper->n_targets ||
	    count_targets(update) >= update->n_targets) {
		pr_err("%s: %s would be one of %u targets, the update has %u\n", helper->id,
		       helper->target ?: KSPLICE_KERNEL_NAME, helper->n_targets, update->n_targets);
		return ERR_PTR(-EINVAL);
	}
	return update;
}

int ksplice_helper_register(const struct ksplice_helper *helper)
{
	struct ksplice_target *target;
	struct ksplice_update *update;
	const char *missing;
	int err = 0;

	if (helper->abi != KSPLICE_ABI) {
		pr_err("a helper has abi %u, this core has %u\n", helper->abi, KSPLICE_ABI);
		return -EINVAL;
	}
	mutex_lock(&ksplice_operation);
	update = join_update(helper);
	if (IS_ERR(update)) {
		err = PTR_ERR(update);
		goto unlock;
	}
	if (helper->replace && helper->n_bases) {
		ksplice_report(update, KSPLICE_BASE_MISSING,
			       "the update was built on update %s, and so cannot take its place", helper->bases[0]);
		err = -EINVAL;
		goto unlock;
	}
	missing = ksplice_missing_base(helper);
	if (missing) {
		ksplice_report(update, KSPLICE_BASE_MISSING,
			       "the update was built on update %s, which is not applied", missing);
		err = -ENOENT;
		goto unlock;
	}
	update->plain = update->plain && (helper->replace || !ksplice_any_in_place());
	target = ksplice_target_create(update, helper, NULL);
	ksplice_clear_used_stack();
	if (IS_ERR(target)) {
		err = PTR_ERR(target);
		goto unlock;
	}
	mutex_lock(&update->report);
	list_add_tail(&target->list, &update->targets);
	mutex_unlock(&update->report);
	if (helper->late && !target->module)
		ksplice_report(update, KSPLICE_OK, "%s is not loaded: it is matched when it comes",
			       target->name);
	else
		ksplice_report(update, KSPLICE_OK, "%s: %u functions matched, %u symbols resolved",
			       target->name, target->n_functions, helper->n_exports + target->n_values);
unlock:
	mutex_unlock(&ksplice_operation);
	return err;
}
EXPORT_SYMBOL_GPL(ksplice_helper_register);

void ksplice_helper_unregister(const struct ksplice_helper *helper)
{
	struct ksplice_target *target = NULL;
	struct ksplice_update *update;
	bool last = false;

	mutex_lock(&ksplice_operation);
	update = ksplice_find_update(helper->id);
	if (update)
		target = find_target(update, helper->target);
	if (!WARN_ON(!target || target->primary)) {
		mutex_lock(&update->report);
		list_del(&target->list);
		mutex_unlock(&update->report);
		ksplice_target_destroy(target);
		last = list_empty(&update->targets);
		if (last)
			unlink_update(update);
	}
	mutex_unlock(&ksplice_operation);
	if (last)
		drop_update(update);
}
EXPORT_SYMBOL_GPL(ksplice_helper_unregister);

static void set_primary(struct ksplice_update *update, struct ksplice_target *target,
			const struct ksplice_primary *primary)
{
	mutex_lock(&update->report);
	target->primary = primary ? primary->owner : NULL;
	target->code = primary ? primary->code : NULL;
	target->data = primary ? primary->data : NULL;
	target->pinned = primary && primary->pinned;
	if (!primary)
		ksplice_leftovers_drop(target);
	mutex_unlock(&update->report);
}

int ksplice_primary_register(const struct ksplice_primary *primary)
{
	struct ksplice_target *target = NULL;
	struct ksplice_update *update;
	int err = -ENOENT;

	if (primary->abi != KSPLICE_ABI) {
		pr_err("a primary has abi %u, this core has %u\n", primary->abi, KSPLICE_ABI);
		return -EINVAL;
	}
	mutex_lock(&ksplice_operation);
	update = ksplice_find_update(primary->id);
	if (update)
		target = find_target(update, primary->target);
	if (!target) {
		pr_err("%s: a primary for %s without a helper that matched\n",
		       primary->id, primary->target ?: KSPLICE_KERNEL_NAME);
		goto unlock;
	}
	if (target->primary) {
		ksplice_report(update, KSPLICE_MODULE_BUSY,
			       "a primary of this update for %s is loaded already", target->name);
		err = -EEXIST;
		goto unlock;
	}
	if (strcmp(primary->digest, target->helper->digest)) {
		ksplice_report(update, KSPLICE_OTHER_BUILD,
			       "the primary for %s is of another build than its helper", target->name);
		err = -EINVAL;
		goto unlock;
	}
	/* A primary without a symbol of its helper would not hold it by itself. */
	if (ksplice_fails("reference on a helper") || !try_module_get(target->helper->owner)) {
		ksplice_report(update, KSPLICE_MODULE_BUSY,
			       "the helper for %s is being unloaded", target->name);
		goto unlock;
	}
	set_primary(update, target, primary);
	err = ksplice_code_check(update, target);
	if (!err && (!target->helper->late || target->module))
		err = ksplice_target_join(update, target);
	if (err) {
		set_primary(update, target, NULL);
		module_put(target->helper->owner);
	}
unlock:
	mutex_unlock(&ksplice_operation);
	return err;
}
EXPORT_SYMBOL_GPL(ksplice_primary_register);

void ksplice_primary_unregister(const struct ksplice_primary *primary)
{
	struct ksplice_target *target = NULL;
	struct ksplice_update *update;

	mutex_lock(&ksplice_operation);
	update = ksplice_find_update(primary->id);
	if (update)
		target = find_target(update, primary->target);
	if (!WARN_ON(!target || update->stage == KSPLICE_APPLIED)) {
		set_primary(update, target, NULL);
		module_put(target->helper->owner);
	}
	mutex_unlock(&ksplice_operation);
}
EXPORT_SYMBOL_GPL(ksplice_primary_unregister);

/* What failed matches left; everything else holds a reference on the core. */
void ksplice_updates_exit(void)
{
	struct ksplice_update *update, *next;

	list_for_each_entry_safe(update, next, &ksplice_updates, list) {
		unlink_update(update);
		drop_update(update);
	}
}
