// SPDX-License-Identifier: GPL-2.0
/*
 * Places in new code that the loader cannot fill in.
 *
 * Runtime constants are numbers that the kernel writes into its own code when
 * it boots and into no module's (K5), such as the end of user space.  And what
 * belongs to a module that may be loaded after the update has no address when
 * the primary loads (K21); until it has one the loader puts that of
 * ksplice_unresolved() there.
 */

/**
 * DOC: context and locking
 *
 * Called with ksplice_operation held: kept when the target has matched, written
 * before anything leads to the primary's code.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/bug.h>
#include <linux/elf.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "core.h"

void ksplice_unresolved(void)
{
	BUG();
}
EXPORT_SYMBOL_GPL(ksplice_unresolved);

/**
 * ksplice_values_keep - copy out of a match what the helper does not export
 * @update: takes the reason of a failure
 * @target: the target
 * @match: its match; the values stand behind the exports of the helper
 *
 * Return: 0 or -ENOMEM.
 */
int ksplice_values_keep(struct ksplice_update *update, struct ksplice_target *target,
			const struct ksp_match *match)
{
	u32 n_exports = target->helper->n_exports, n = match->n_exports - n_exports;

	if (!n)
		return 0;
	target->values = ksplice_fails("memory for values") ? NULL :
			 kmemdup(match->exports + n_exports, n * sizeof(*target->values), GFP_KERNEL);
	if (!target->values) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory to keep what was matched");
		return -ENOMEM;
	}
	target->n_values = n;
	return 0;
}

/* The bytes of a field, and their number; 0 if there is no such field or the value has no room in it. */
static size_t encode(const struct ksplice_target *target,
		     const struct ksplice_relocation *relocation, s64 *field)
{
	if (relocation->value >= target->n_values)
		return 0;
	*field = target->values[relocation->value] + relocation->addend;
	switch (relocation->type) {
	case R_X86_64_64:
		return sizeof(u64);
	case R_X86_64_8:
		return sizeof(u8);
	case R_X86_64_PC32:
		*field -= (unsigned long)relocation->place;
		fallthrough;
	case R_X86_64_32S:
		return *field == (s32)*field ? sizeof(s32) : 0;
	default:
		return 0;
	}
}

static bool fits(const struct ksplice_target *target, const struct ksplice_relocation *relocation)
{
	unsigned long place = (unsigned long)relocation->place;
	s64 field;
	size_t size = encode(target, relocation, &field);

	return size && within_module_core(place, target->primary) &&
	       within_module_core(place + size - 1, target->primary);
}

/**
 * ksplice_relocate - fill in a primary's places
 * @update: takes the reason of a failure
 * @target: the target, matched, with its primary's code set
 *
 * Return: 0, or -EINVAL for a table that does not fit; then nothing was written.
 */
int ksplice_relocate(struct ksplice_update *update, struct ksplice_target *target)
{
	const struct ksplice_code *code = target->code;
	unsigned long table = (unsigned long)code->relocations;
	u64 i = 0;

	if (!code->n_relocations)
		return 0;
	if (code->n_relocations > KSPLICE_MAX_ENTRIES || !within_module_core(table, target->primary) ||
	    !within_module_core(table + code->n_relocations * sizeof(*code->relocations) - 1, target->primary))
		goto bad;
	for (i = 0; i < code->n_relocations; i++) {
		if (!fits(target, &code->relocations[i]))
			goto bad;
	}
	mutex_lock(kernel.text_mutex);
	for (i = 0; i < code->n_relocations; i++) {
		s64 field;
		size_t size = encode(target, &code->relocations[i], &field);

		static_call(text_poke)(code->relocations[i].place, &field, size);
	}
	mutex_unlock(kernel.text_mutex);
	return 0;

bad:
	ksplice_report(update, KSPLICE_BAD_DATA, "the primary for %s: relocation %llu does not fit",
		       target->name, i);
	return -EINVAL;
}
