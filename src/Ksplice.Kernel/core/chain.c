// SPDX-License-Identifier: GPL-2.0
/*
 * Updates on top of updates.
 */

/**
 * DOC: how it works
 *
 * An update may replace what another one put in place.  Its pre code is then
 * the other's new code: a function's symbol stays the kernel's, and its code is
 * where the chain of redirects that are in place ends.  The jump to the newest
 * code is written into the code below it, so taking it off brings back what
 * was there, whatever that was.
 *
 * The upper update's target holds a reference on each primary whose code or
 * data it jumps from or refers to (references.c), so that stays loaded.  While the upper
 * one is applied the lower one cannot be reversed, and while the lower one is
 * not applied neither can the upper one be: updates come off in any order that
 * leaves none without what it was matched against.
 */

/**
 * DOC: locking
 *
 * ksplice_operation is held: no update comes, goes or changes its stage.
 */
#include <linux/module.h>
#include <linux/string.h>

#include "core.h"

static const struct ksplice_function *find_function(unsigned long address, bool by_code)
{
	const struct ksplice_update *update;
	const struct ksplice_target *target;
	u32 i;

	list_for_each_entry(update, &ksplice_updates, list) {
		if (update->stage != KSPLICE_APPLIED)
			continue;
		for_each_target(target, update) {
			for (i = 0; i < target->n_functions; i++) {
				const struct ksplice_function *function = &target->functions[i];

				if ((by_code ? function->code : function->start) == address)
					return function;
			}
		}
	}
	return NULL;
}

/**
 * ksplice_code_of - where the code of a function is that updates may have replaced
 * @address: where its symbol is
 *
 * Return: the newest code, or @address.
 */
unsigned long ksplice_code_of(unsigned long address)
{
	const struct ksplice_function *function;

	while ((function = find_function(address, false)))
		address = function->code;
	return address;
}

/**
 * ksplice_symbol_of - which symbol code of an update stands for
 * @address: any address
 *
 * Return: the function that the code at @address replaces in the end, or @address.
 */
unsigned long ksplice_symbol_of(unsigned long address)
{
	const struct ksplice_function *function;

	while ((function = find_function(address, true)))
		address = function->start;
	return address;
}

/**
 * ksplice_any_in_place - is any update applied?
 */
bool ksplice_any_in_place(void)
{
	const struct ksplice_update *update;

	list_for_each_entry(update, &ksplice_updates, list) {
		if (update->stage == KSPLICE_APPLIED)
			return true;
	}
	return false;
}

/**
 * ksplice_has_handler - does a handler of an update in place stand on a function?
 * @start: where the function is
 */
bool ksplice_has_handler(unsigned long start)
{
	const struct ksplice_function *function = find_function(start, false);

	return function && function->handler;
}

/**
 * ksplice_is_primary - is a module the primary of an update in place?
 * @module: any module
 */
bool ksplice_is_primary(const struct module *module)
{
	const struct ksplice_update *update;
	const struct ksplice_target *target;

	list_for_each_entry(update, &ksplice_updates, list) {
		if (update->stage != KSPLICE_APPLIED)
			continue;
		for_each_target(target, update) {
			if (target->primary == module)
				return true;
		}
	}
	return false;
}

static void show_original(const struct ksplice_function *function, unsigned long address,
			  u8 *bytes, size_t n)
{
	u32 i;

	for (i = 0; function->jump && i < KSP_JUMP_SIZE; i++) {
		if (function->jump + i >= address && function->jump + i - address < n)
			bytes[function->jump + i - address] = function->original[i];
	}
}

/**
 * ksplice_show_originals - put what was saved over what was read under redirects
 * @address: where the bytes were read
 * @bytes: the bytes
 * @n: how many
 *
 * The newest update comes first: what it saved may be the redirect of an older one.
 */
void ksplice_show_originals(unsigned long address, u8 *bytes, size_t n)
{
	const struct ksplice_update *update;
	const struct ksplice_target *target;
	u32 i;

	list_for_each_entry_reverse(update, &ksplice_updates, list) {
		if (update->stage != KSPLICE_APPLIED)
			continue;
		for_each_target(target, update) {
			for (i = 0; i < target->n_functions; i++)
				show_original(&target->functions[i], address, bytes, n);
		}
	}
}

/**
 * ksplice_is_left_behind - is that text that an update in place replaces, and no function?
 * @address: where a symbol is
 *
 * A function's .cold part: the new code has its own.
 */
bool ksplice_is_left_behind(unsigned long address)
{
	const struct ksplice_update *update;
	const struct ksplice_target *target;
	u32 i;

	if (find_function(address, false))
		return false;
	list_for_each_entry(update, &ksplice_updates, list) {
		if (update->stage != KSPLICE_APPLIED)
			continue;
		for_each_target(target, update) {
			for (i = 0; i < target->n_ranges; i++) {
				if (target->ranges[i].start == address)
					return true;
			}
		}
	}
	return false;
}

/**
 * ksplice_is_new_code - does all of a range lie in new code of a target that is in place?
 * @name: the target's
 * @start: its first byte
 * @end: one past its last
 */
bool ksplice_is_new_code(const char *name, unsigned long start, unsigned long end)
{
	const struct ksplice_update *update;
	const struct ksplice_target *target;
	unsigned long text, text_end;

	list_for_each_entry(update, &ksplice_updates, list) {
		if (update->stage != KSPLICE_APPLIED)
			continue;
		for_each_target(target, update) {
			if (strcmp(target->name, name))
				continue;
			ksplice_module_text(target->primary, &text, &text_end);
			if (start >= text && end <= text_end)
				return true;
		}
	}
	return false;
}

/**
 * ksplice_new_symbols - look at the primaries of a target that are in place
 * @name: the target's
 * @look: called for each
 * @arg: given to it
 */
void ksplice_new_symbols(const char *name, void (*look)(const struct module *primary, void *arg),
			 void *arg)
{
	const struct ksplice_update *update;
	const struct ksplice_target *target;

	list_for_each_entry(update, &ksplice_updates, list) {
		if (update->stage != KSPLICE_APPLIED)
			continue;
		for_each_target(target, update) {
			if (!strcmp(target->name, name))
				look(target->primary, arg);
		}
	}
}

/*
 * What an update stands on is stated by the build (K25): two may depend on each
 * other without touching the same bytes.  That one refers to the other's code or
 * data says so too.
 */
static bool stands_on(const struct ksplice_update *upper, const struct ksplice_update *lower)
{
	const struct ksplice_target *one, *other;
	u32 i;

	for_each_target(one, upper) {
		for (i = 0; i < one->helper->n_bases; i++) {
			if (!strcmp(one->helper->bases[i], lower->id))
				return true;
		}
		for_each_target(other, lower) {
			for (i = 0; i < one->n_dependencies; i++) {
				if (other->primary && one->dependencies[i] == other->primary)
					return true;
			}
		}
	}
	return false;
}

/**
 * ksplice_missing_base - an update that another was built on and that is not in place
 * @helper: a helper of the other
 *
 * Return: the id of the first such update, or NULL.
 */
const char *ksplice_missing_base(const struct ksplice_helper *helper)
{
	u32 i;

	for (i = 0; i < helper->n_bases; i++) {
		const struct ksplice_update *base = ksplice_find_update(helper->bases[i]);

		if (!base || base->stage != KSPLICE_APPLIED)
			return helper->bases[i];
	}
	return NULL;
}

/**
 * ksplice_find_upper - an update in place that stands on this one
 * @lower: the update, whole
 *
 * Return: the first such update, or NULL.
 */
const struct ksplice_update *ksplice_find_upper(const struct ksplice_update *lower)
{
	const struct ksplice_update *update;

	list_for_each_entry(update, &ksplice_updates, list) {
		if (update != lower && update->stage == KSPLICE_APPLIED && stands_on(update, lower))
			return update;
	}
	return NULL;
}

/**
 * ksplice_find_lower - an update that this one stands on and that is not in place
 * @upper: the update, whole
 *
 * Return: the first such update, or NULL.
 */
const struct ksplice_update *ksplice_find_lower(const struct ksplice_update *upper)
{
	const struct ksplice_update *update;

	list_for_each_entry(update, &ksplice_updates, list) {
		if (update != upper && update->stage != KSPLICE_APPLIED && stands_on(upper, update))
			return update;
	}
	return NULL;
}

/**
 * ksplice_find_covered - a function whose code in place is not what was matched
 * @update: the update, whole, not in place
 *
 * Return: the first function that an update has replaced since then, or NULL.
 */
const struct ksplice_function *ksplice_find_covered(const struct ksplice_update *update)
{
	const struct ksplice_target *target;
	u32 i;

	for_each_target(target, update) {
		for (i = 0; i < target->n_functions; i++) {
			if (ksplice_code_of(target->functions[i].start) != target->functions[i].start)
				return &target->functions[i];
		}
	}
	return NULL;
}
