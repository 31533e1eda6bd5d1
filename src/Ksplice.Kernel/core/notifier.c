// SPDX-License-Identifier: GPL-2.0
/*
 * Modules that come and go (K21): a target whose object is not loaded is matched when that comes.
 */

/**
 * DOC: how it works
 *
 * Helper and primary of such a target load without its module: the helper keeps
 * its match data, and what the primary refers to in the module is filled in by
 * the core (relocate.c).  When the module comes it is matched, and if the update
 * is applied its functions lead to the new code before anything of it has run.
 * If it does not match then, or if something stands in the way, the module does
 * not load: the update says what is in force, and it is not left out in silence.
 *
 * Nothing of a coming module runs: its parameters are not set yet, its symbols
 * are nobody's.  So the machine is not stopped, and no thread is looked for.
 *
 * When the module goes, after its exit function, its redirects go with it.  So
 * no reference on it is held, and it can come again.
 */

/**
 * DOC: context and locking
 *
 * The notifier has the lowest priority of its chain, so that it comes after those
 * of jump labels and static calls: the module's are what they will be.  It takes
 * ksplice_operation only for a module that some target waits for.  Nobody who
 * holds that waits for a loader, or for the notifiers' semaphore, which this one
 * holds for reading: hooks run without it.  Who loads a module may be killed
 * meanwhile.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/err.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>

#include "core.h"

static struct ksplice_target *find_waiting(struct ksplice_update *update, const char *name)
{
	struct ksplice_target *target;

	for_each_target(target, update) {
		if (target->helper->late && !strcmp(target->name, name))
			return target;
	}
	return NULL;
}

/* Of the module nothing runs. */
static int redirect(struct ksplice_update *update, struct ksplice_target *target)
{
	const struct ksplice_function *differs;
	int err = ksplice_tracer_attach(update, target);

	if (err)
		return err;
	err = ksplice_redirect_map(update, target);
	if (err)
		goto detach;
	ksplice_keep_others_out();
	mutex_lock(kernel.text_mutex);
	err = ksplice_check_others(update, target, false);
	if (!err) {
		differs = ksplice_redirect_check(target, false);
		if (differs) {
			ksplice_report_stale(update, differs);
			err = -ESTALE;
		}
	}
	if (!err) {
		ksplice_redirect_write(target, false);
		ksplice_tracer_lead(target);
		/* A CPU may have fetched what it has not executed. */
		ksplice_sync_cpus();
	}
	mutex_unlock(kernel.text_mutex);
	ksplice_let_others_in();
	ksplice_redirect_unmap(target);
detach:
	if (err)
		ksplice_tracer_detach(update, target);
	return err;
}

/* Puts a matched target in the place of the one that waits. */
static int bind(struct ksplice_update *update, struct ksplice_target *waiting,
		struct module *module)
{
	struct ksplice_target *target;
	unsigned long probe;
	int err = 0;

	mutex_lock(kernel.text_mutex);
	probe = ksplice_leftovers_clear(waiting);
	mutex_unlock(kernel.text_mutex);
	if (probe) {
		ksplice_report(update, KSPLICE_PROBED,
			       "a kprobe at %lx in the new code of %s keeps a jump there that has to go; take the kprobe off, and load %s again",
			       probe, waiting->name, waiting->name);
		return -EBUSY;
	}
	target = ksplice_target_create(update, waiting->helper, module);
	if (IS_ERR(target))
		return PTR_ERR(target);
	target->primary = waiting->primary;
	target->code = waiting->code;
	target->data = waiting->data;
	target->pinned = waiting->pinned;
	target->holds_primary = waiting->holds_primary;
	if (target->primary)
		err = ksplice_target_join(update, target);
	if (!err && update->stage == KSPLICE_APPLIED)
		err = redirect(update, target);
	else if (!err && update->attached)	/* it is being applied, or has just been undone */
		err = ksplice_tracer_attach(update, target);
	if (err) {
		ksplice_target_destroy(target);
		return err;
	}
	ksplice_not_loaded_add(target);
	mutex_lock(&update->report);
	list_replace(&waiting->list, &target->list);
	mutex_unlock(&update->report);
	ksplice_target_destroy(waiting);
	ksplice_report(update, KSPLICE_OK, "%s has come: %u functions %s", target->name,
		       target->n_functions,
		       update->stage == KSPLICE_APPLIED ? "replaced" : "matched");
	return 0;
}

/* The last bound goes first: its jumps may stand in what others brought. */
static void module_goes(const struct module *module)
{
	struct ksplice_update *update;

	list_for_each_entry_reverse(update, &ksplice_updates, list) {
		struct ksplice_target *target = find_waiting(update, module->name);

		if (!target || !target->module)
			continue;
		if (update->stage == KSPLICE_APPLIED)
			ksplice_jumps_clear(target);
		ksplice_tracer_detach(update, target);
		mutex_lock(&update->report);
		ksplice_target_forget(target);
		mutex_unlock(&update->report);
		pr_info("%s: %s has gone\n", update->id, target->name);
	}
}

/* Those in place first, in the order in which they were applied; the others may stand on them. */
static int module_comes(struct module *module)
{
	struct ksplice_update *update;

	list_for_each_entry(update, &ksplice_updates, list) {
		struct ksplice_target *target = find_waiting(update, module->name);
		int err;

		if (!target || target->module || update->stage != KSPLICE_APPLIED)
			continue;
		err = bind(update, target, module);
		if (!err)
			continue;
		pr_err("%s: module %s is not loaded: this update, which is applied, cannot change it\n",
		       update->id, module->name);
		module_goes(module);
		return err;
	}
	list_for_each_entry(update, &ksplice_updates, list) {
		struct ksplice_target *target = find_waiting(update, module->name);

		if (target && !target->module)
			bind(update, target, module);
	}
	return 0;
}

static int notify(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *module = data;
	int err = 0;

	if ((state != MODULE_STATE_COMING && state != MODULE_STATE_GOING) || !ksplice_is_waited_for(module->name))
		return NOTIFY_DONE;
	if (state == MODULE_STATE_GOING) {
		mutex_lock(&ksplice_operation);
		module_goes(module);
	} else {
		err = mutex_lock_killable(&ksplice_operation);
		if (err)
			return notifier_from_errno(err);
		err = module_comes(module);
	}
	ksplice_clear_used_stack();
	mutex_unlock(&ksplice_operation);
	return notifier_from_errno(err);
}

static struct notifier_block modules = {
	.notifier_call = notify,
	.priority = INT_MIN,
};

int ksplice_notifier_init(void)
{
	return register_module_notifier(&modules);
}

void ksplice_notifier_exit(void)
{
	unregister_module_notifier(&modules);
}
