// SPDX-License-Identifier: GPL-2.0
/*
 * Targets whose module is loaded after the update (K21).
 *
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
 *
 * DOC: context and locking
 *
 * The notifier has the lowest priority of its chain, so that it comes after those
 * of jump labels and static calls: the module's are what they will be.  It takes ksplice_operation only for a module
 * that some target waits for.  Nobody who holds that waits for a loader, or for
 * the notifiers' semaphore, which this one holds for reading: hooks run without
 * it.  Who loads a module may be killed meanwhile; late_lock, taken inside of that or alone, guards
 * the list of those.  A target is in the list before its module is looked for,
 * so each module is found there or seen by the notifier.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/err.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <asm/sync_core.h>

#include "core.h"

static LIST_HEAD(late_targets);
static DEFINE_MUTEX(late_lock);

/**
 * ksplice_late_add - have a target's module seen when it comes and goes
 * @target: the target
 */
void ksplice_late_add(struct ksplice_target *target)
{
	mutex_lock(&late_lock);
	list_add_tail(&target->late, &late_targets);
	mutex_unlock(&late_lock);
}

/**
 * ksplice_late_remove - the opposite
 * @target: any target
 */
void ksplice_late_remove(struct ksplice_target *target)
{
	mutex_lock(&late_lock);
	list_del_init(&target->late);
	mutex_unlock(&late_lock);
}

static bool is_late(const char *name)
{
	struct ksplice_target *target;
	bool found = false;

	mutex_lock(&late_lock);
	list_for_each_entry(target, &late_targets, late) {
		if (!strcmp(target->name, name))
			found = true;
	}
	mutex_unlock(&late_lock);
	return found;
}

static struct ksplice_target *find_late(struct ksplice_update *update, const char *name)
{
	struct ksplice_target *target;

	for_each_target(target, update) {
		if (target->helper->late && !strcmp(target->name, name))
			return target;
	}
	return NULL;
}

/**
 * ksplice_late_ready - are all modules that are loaded matched?
 * @update: takes the reason if not
 *
 * One that did not match while the update was not applied was let in.
 *
 * Return: 0, -ENOEXEC, or -EBUSY while a module is on its way.
 */
int ksplice_late_ready(struct ksplice_update *update)
{
	struct ksplice_target *target;

	for_each_target(target, update) {
		enum module_state state = MODULE_STATE_UNFORMED;
		struct module *module;

		if (!target->helper->late || target->module)
			continue;
		preempt_disable();
		module = static_call(find_module)(target->name);
		if (module)
			state = module->state;
		preempt_enable();
		if (!module)
			continue;
		if (state == MODULE_STATE_LIVE) {
			ksplice_report(update, KSPLICE_NO_MATCH,
				       "module %s did not match when it was loaded; the kernel's log says why",
				       target->name);
			return -ENOEXEC;
		}
		ksplice_report(update, KSPLICE_MODULE_BUSY,
			       "module %s is being loaded or unloaded", target->name);
		return -EBUSY;
	}
	return 0;
}

static void sync(void *unused)
{
	sync_core();
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
		/* A CPU may have fetched what it has not executed. */
		on_each_cpu(sync, NULL, 1);
	}
	mutex_unlock(kernel.text_mutex);
	ksplice_let_others_in();
	ksplice_redirect_unmap(target);
detach:
	if (err)
		ksplice_tracer_detach(update, target);
	return err;
}

/* A jump of an update that could not be taken out of a primary below it. */
struct leftover {
	struct list_head list;
	unsigned long at;
	u8 original[KSP_JUMP_SIZE];
};

static bool is_probed(unsigned long at)
{
	u32 i;

	for (i = 0; i < KSP_JUMP_SIZE; i++) {
		if (ksplice_is_probed(at + i))
			return true;
	}
	return false;
}

/* Takes out what was left, where the kprobe is gone; text_mutex is held.  Returns what is still in the way, or 0. */
static unsigned long clear_leftovers(struct ksplice_target *target)
{
	struct leftover *leftover, *next;
	unsigned long in_the_way = 0;

	list_for_each_entry_safe(leftover, next, &target->leftovers, list) {
		if (is_probed(leftover->at)) {
			in_the_way = leftover->at;
			continue;
		}
		static_call(text_poke)((void *)leftover->at, leftover->original, KSP_JUMP_SIZE);
		list_del(&leftover->list);
		kfree(leftover);
	}
	on_each_cpu(sync, NULL, 1);
	return in_the_way;
}

/**
 * ksplice_late_drop_leftovers - forget jumps in a primary that is being unloaded
 * @target: its target
 */
void ksplice_late_drop_leftovers(struct ksplice_target *target)
{
	struct leftover *leftover, *next;

	list_for_each_entry_safe(leftover, next, &target->leftovers, list)
		kfree(leftover);
	INIT_LIST_HEAD(&target->leftovers);
}

/* Puts a matched target in the place of the one that waits. */
static int bind(struct ksplice_update *update, struct ksplice_target *waiting,
		struct module *module)
{
	struct ksplice_target *target;
	unsigned long probe;
	int err = 0;

	mutex_lock(kernel.text_mutex);
	probe = clear_leftovers(waiting);
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
	ksplice_late_add(target);
	mutex_lock(&update->report);
	list_replace(&waiting->list, &target->list);
	mutex_unlock(&update->report);
	ksplice_target_destroy(waiting);
	ksplice_report(update, KSPLICE_OK, "%s has come: %u functions %s", target->name,
		       target->n_functions,
		       update->stage == KSPLICE_APPLIED ? "replaced" : "matched");
	return 0;
}

/* Where the primary is that holds @address. */
static struct ksplice_target *find_primary(unsigned long address)
{
	struct ksplice_update *update;
	struct ksplice_target *target;

	list_for_each_entry(update, &ksplice_updates, list) {
		for_each_target(target, update) {
			if (target->primary && within_module_core(address, target->primary))
				return target;
		}
	}
	return NULL;
}

/*
 * Takes a target's jumps out of the primaries of updates below, which stay when
 * the module goes.  Under a kprobe that cannot be: who takes that off writes
 * back the first byte of the jump.  Then it is done when the module comes again,
 * or that is refused.
 */
static void clear_primaries(struct ksplice_target *target)
{
	u32 i;

	mutex_lock(kernel.text_mutex);
	for (i = 0; i < target->n_functions; i++) {
		const struct ksplice_function *function = &target->functions[i];
		struct ksplice_target *below;
		struct leftover *leftover;

		if (!function->jump || within_module_core(function->jump, target->module))
			continue;
		below = find_primary(function->jump);
		if (WARN_ON(!below))
			continue;
		/* A module that goes cannot be refused. */
		leftover = kmalloc(sizeof(*leftover), GFP_KERNEL | __GFP_NOFAIL);
		leftover->at = function->jump;
		memcpy(leftover->original, function->original, KSP_JUMP_SIZE);
		list_add(&leftover->list, &below->leftovers);
		clear_leftovers(below);
	}
	mutex_unlock(kernel.text_mutex);
}

/* The last bound goes first: its jumps may stand in what others brought. */
static void module_goes(const struct module *module)
{
	struct ksplice_update *update;

	list_for_each_entry_reverse(update, &ksplice_updates, list) {
		struct ksplice_target *target = find_late(update, module->name);

		if (!target || !target->module)
			continue;
		if (update->stage == KSPLICE_APPLIED)
			clear_primaries(target);
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
		struct ksplice_target *target = find_late(update, module->name);
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
		struct ksplice_target *target = find_late(update, module->name);

		if (target && !target->module)
			bind(update, target, module);
	}
	return 0;
}

static int notify(struct notifier_block *block, unsigned long state, void *data)
{
	struct module *module = data;
	int err = 0;

	if ((state != MODULE_STATE_COMING && state != MODULE_STATE_GOING) || !is_late(module->name))
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

int ksplice_late_init(void)
{
	return register_module_notifier(&modules);
}

void ksplice_late_exit(void)
{
	unregister_module_notifier(&modules);
}
