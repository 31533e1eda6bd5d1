// SPDX-License-Identifier: GPL-2.0
/*
 * Jumps of an update in a primary below it, when the module that they are about goes.
 */

/**
 * DOC: context and locking
 *
 * Process context, ksplice_operation held.  text_mutex is held to write.
 */
#include <linux/module.h>
#include <linux/slab.h>

#include "core.h"

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

/**
 * ksplice_leftovers_clear - take out what was left in a primary
 * @target: its target
 *
 * Context: text_mutex held.
 * Return: 0, or the address of a jump that stays, since a kprobe stands in it.
 */
unsigned long ksplice_leftovers_clear(struct ksplice_target *target)
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
	ksplice_sync_cpus();
	return in_the_way;
}

/**
 * ksplice_leftovers_drop - forget jumps in a primary that is being unloaded
 * @target: its target
 */
void ksplice_leftovers_drop(struct ksplice_target *target)
{
	struct leftover *leftover, *next;

	list_for_each_entry_safe(leftover, next, &target->leftovers, list)
		kfree(leftover);
	INIT_LIST_HEAD(&target->leftovers);
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

/**
 * ksplice_jumps_clear - take a target's jumps out of the primaries of updates below
 * @target: the target, whose module goes; these primaries stay
 *
 * Under a kprobe that cannot be: who takes that off writes back the first byte
 * of the jump.  Then it is done when the module comes again, or that is refused.
 */
void ksplice_jumps_clear(struct ksplice_target *target)
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
		ksplice_leftovers_clear(below);
	}
	mutex_unlock(kernel.text_mutex);
}
