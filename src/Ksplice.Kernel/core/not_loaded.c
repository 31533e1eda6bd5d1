// SPDX-License-Identifier: GPL-2.0
/*
 * The list of targets whose object need not be loaded (K21): a helper says so by "late".
 */

/**
 * DOC: context and locking
 *
 * Process context.  not_loaded_lock guards the list; it is taken inside of
 * ksplice_operation or alone.  A target is in the list before its module is
 * looked for, so each module is found there or seen by the notifier.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>

#include "core.h"

static LIST_HEAD(targets);
static DEFINE_MUTEX(not_loaded_lock);

/**
 * ksplice_not_loaded_add - have a target's module seen when it comes and goes
 * @target: the target
 */
void ksplice_not_loaded_add(struct ksplice_target *target)
{
	mutex_lock(&not_loaded_lock);
	list_add_tail(&target->not_loaded, &targets);
	mutex_unlock(&not_loaded_lock);
}

/**
 * ksplice_not_loaded_remove - the opposite
 * @target: any target
 */
void ksplice_not_loaded_remove(struct ksplice_target *target)
{
	mutex_lock(&not_loaded_lock);
	list_del_init(&target->not_loaded);
	mutex_unlock(&not_loaded_lock);
}

/**
 * ksplice_is_waited_for - may a module of that name be a target's?
 * @name: the module's
 */
bool ksplice_is_waited_for(const char *name)
{
	struct ksplice_target *target;
	bool found = false;

	mutex_lock(&not_loaded_lock);
	list_for_each_entry(target, &targets, not_loaded) {
		if (!strcmp(target->name, name))
			found = true;
	}
	mutex_unlock(&not_loaded_lock);
	return found;
}

/**
 * ksplice_loaded_are_matched - are all modules that are loaded matched?
 * @update: takes the reason if not
 *
 * One that did not match while the update was not applied was let in.
 *
 * Return: 0, -ENOEXEC, or -EBUSY while a module is on its way.
 */
int ksplice_loaded_are_matched(struct ksplice_update *update)
{
	struct ksplice_target *target;

	for_each_target(target, update) {
		enum module_state state = MODULE_STATE_UNFORMED;
		struct module *module;

		if (!target->helper->late || target->module)
			continue;
		preempt_disable();
		rcu_read_lock();
		module = static_call(find_module)(target->name);
		if (module)
			state = module->state;
		rcu_read_unlock();
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
