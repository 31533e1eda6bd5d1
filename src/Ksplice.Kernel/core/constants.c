// SPDX-License-Identifier: GPL-2.0
/*
 * Runtime constants: numbers that the kernel writes into its own code when it
 * boots and into no module's (K5), such as the end of user space.  Matching
 * read them from the code that runs; here they go into the new code.
 *
 * DOC: context and locking
 *
 * Called with ksplice_operation held: kept when the helper has matched, written
 * when the primary registers, before anything leads to its code.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#include "core.h"

/**
 * ksplice_constants_keep - copy the values out of a match
 * @update: takes the reason of a failure
 * @target: the target
 * @match: its match; the values stand behind the exports of the helper
 * @n_exports: how many those are, at most @match's
 *
 * Return: 0 or -ENOMEM.
 */
int ksplice_constants_keep(struct ksplice_update *update, struct ksplice_target *target,
			   const struct ksp_match *match, u32 n_exports)
{
	u32 n = match->n_exports - n_exports;

	if (!n)
		return 0;
	target->values = ksplice_fails("memory for constants") ? NULL :
			 kmemdup(match->exports + n_exports, n * sizeof(*target->values), GFP_KERNEL);
	if (!target->values) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory to keep what was matched");
		return -ENOMEM;
	}
	target->n_values = n;
	return 0;
}

static bool fits(const struct ksplice_target *target, const struct ksplice_constant *constant)
{
	unsigned long place = (unsigned long)constant->place, text, text_end;

	ksplice_module_text(target->primary, &text, &text_end);
	return constant->value < target->n_values &&
	       (constant->size == 1 || constant->size == sizeof(u64)) &&
	       place >= text && place < text_end && constant->size <= text_end - place;
}

/**
 * ksplice_constants_write - write the values into a primary's code
 * @update: takes the reason of a failure
 * @target: the target, with its primary's code set
 *
 * Return: 0, or -EINVAL for a table that does not fit; then nothing was written.
 */
int ksplice_constants_write(struct ksplice_update *update, struct ksplice_target *target)
{
	const struct ksplice_code *code = target->code;
	unsigned long table = (unsigned long)code->constants;
	u64 i;

	if (!code->n_constants)
		return 0;
	if (code->n_constants > KSPLICE_MAX_ENTRIES || !within_module_core(table, target->primary) ||
	    !within_module_core(table + code->n_constants * sizeof(*code->constants) - 1, target->primary))
		goto bad;
	for (i = 0; i < code->n_constants; i++) {
		if (!fits(target, &code->constants[i]))
			goto bad;
	}
	mutex_lock(kernel.text_mutex);
	for (i = 0; i < code->n_constants; i++)
		kernel.text_poke(code->constants[i].place,
				 &target->values[code->constants[i].value],
				 code->constants[i].size);
	mutex_unlock(kernel.text_mutex);
	return 0;

bad:
	ksplice_report(update, KSPLICE_BAD_DATA, "the primary for %s: the constants do not fit",
		       target->name);
	return -EINVAL;
}
