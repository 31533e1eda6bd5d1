// SPDX-License-Identifier: GPL-2.0
/*
 * The modules that a target needs to stay.
 */

/**
 * DOC: lifetime and locking
 *
 * A target holds a reference on every module of which its helper exports a
 * symbol or that new code refers to, and on the module that it changes (K21):
 * neither a redirect nor an export can be left without what it points at.  Only
 * a module that may come later may also go; notifier.c sees it go.  A module is
 * taken only when it is live; one that is coming or going is refused.
 *
 * ksplice_operation is held.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/slab.h>

#include "core.h"

/**
 * ksplice_find_module - find the module that a target changes
 * @update: takes the reason of a failure
 * @target: the target; takes the module, or none if it may come later
 *
 * Return: 0 or an error.
 */
int ksplice_find_module(struct ksplice_update *update, struct ksplice_target *target)
{
	bool late = target->helper->late, busy = false;
	struct module *module;

	preempt_disable();
	rcu_read_lock();
	module = ksplice_fails("look-up of a module") ? NULL :
		 static_call(find_module)(target->name);
	if (module && (module->state != MODULE_STATE_LIVE || (!late && !try_module_get(module))))
		busy = true;
	rcu_read_unlock();
	preempt_enable();

	if (busy) {
		ksplice_report(update, KSPLICE_MODULE_BUSY,
			       "module %s is being loaded or unloaded", target->name);
		return -EBUSY;
	}
	if (!module && !late) {
		ksplice_report(update, KSPLICE_TARGET_NOT_LOADED,
			       "module %s, which this update changes, is not loaded; load it (modprobe %s) and apply again",
			       target->name, target->name);
		return -ENOENT;
	}
	target->module = module;
	return 0;
}

/* K24: a module's per-CPU variables lie outside of the module area, in a reserve of the kernel's. */
static struct module *per_cpu_module(unsigned long address)
{
	struct module *module;

	list_for_each_entry_rcu(module, kernel.modules, list) {
		unsigned long start = (unsigned long)module->percpu;

		if (module->state != MODULE_STATE_UNFORMED && module->percpu_size &&
		    address >= start && address < start + module->percpu_size)
			return module;
	}
	return NULL;
}

/* Returns false if @address is a module's and that module is not there to stay. */
static bool hold_dependency(struct ksplice_target *target, unsigned long address)
{
	bool in_modules = address >= MODULES_VADDR && address < MODULES_END;
	struct module *module;
	bool held = true;
	u32 i;

	preempt_disable();
	module = in_modules ? static_call(__module_address)(address) : per_cpu_module(address);
	if ((!module && !in_modules) || (module && module == target->module))
		goto out;
	for (i = 0; module && i < target->n_dependencies; i++) {
		if (target->dependencies[i] == module)
			goto out;
	}
	held = module && module->state == MODULE_STATE_LIVE &&
	       !ksplice_fails("reference on a dependency") && try_module_get(module);
	if (held)
		target->dependencies[target->n_dependencies++] = module;
out:
	preempt_enable();
	return held;
}

/**
 * ksplice_hold_dependencies - take a reference on each module that a target's update uses
 * @update: takes the reason of a failure
 * @target: the target; takes the references
 * @match: its match
 *
 * Return: 0 or an error; what was taken goes with the target.
 */
int ksplice_hold_dependencies(struct ksplice_update *update, struct ksplice_target *target,
			      const struct ksp_match *match)
{
	size_t most = (size_t)match->n_exports + match->n_ranges;
	u32 i;

	target->dependencies = ksplice_fails("memory for references") ? NULL :
			  kvcalloc(most, sizeof(*target->dependencies), GFP_KERNEL);
	if (!target->dependencies && most) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory for %zu references", most);
		return -ENOMEM;
	}
	/* What another update put in place is that one's as long as we jump from it. */
	for (i = 0; i < match->n_ranges; i++) {
		if (hold_dependency(target, match->ranges[i].start))
			continue;
		ksplice_report(update, KSPLICE_MODULE_BUSY, "the module with %s, at %llx, is being unloaded",
			       match->ranges[i].name, match->ranges[i].start);
		return -EBUSY;
	}
	for (i = 0; i < match->n_exports; i++) {
		if (hold_dependency(target, match->exports[i]))
			continue;
		ksplice_report(update, KSPLICE_MODULE_BUSY,
			       "the module with symbol %u of %s, at %llx, is being loaded or unloaded",
			       i, target->name, match->exports[i]);
		return -EBUSY;
	}
	return 0;
}

/**
 * ksplice_drop_references - give back what a target holds
 * @target: the target
 */
void ksplice_drop_references(struct ksplice_target *target)
{
	u32 i;

	for (i = 0; i < target->n_dependencies; i++)
		module_put(target->dependencies[i]);
	target->n_dependencies = 0;
	kvfree(target->dependencies);
	target->dependencies = NULL;
	if (target->module && !target->helper->late)
		module_put(target->module);
	target->module = NULL;
}
