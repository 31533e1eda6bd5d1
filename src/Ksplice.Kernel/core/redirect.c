// SPDX-License-Identifier: GPL-2.0
/*
 * The redirects: a jump from each replaced function to its new code.
 *
 * DOC: context and locking
 *
 * Prepared when the primary registers; written inside stop_machine with
 * cpus_read_lock and text_mutex held by the caller outside of it (K16).  The
 * jump stands behind the fentry site, so tracing goes on.  Only text_poke
 * writes: text_poke_bp would send IPIs to CPUs that wait with interrupts off
 * (K15).
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/string.h>
#include <linux/uaccess.h>

#include "core.h"

/**
 * ksplice_redirect_prepare - join the primary's new code to matched functions
 * @update: the update, matched, with its primary's code set
 *
 * Context: ksplice_operation held.
 * Return: 0, or -EINVAL for tables that do not fit what was matched.
 */
int ksplice_redirect_prepare(struct ksplice_update *update)
{
	const struct ksplice_code *code = update->code;
	unsigned long text, text_end;
	u32 i;

	ksplice_module_text(update->primary, &text, &text_end);
	if (code->abi != KSPLICE_ABI || code->n_redirects != update->n_functions) {
		ksplice_report(update, KSPLICE_BAD_DATA,
			       "primary has abi %u and %u redirects, wanted are %u and %u",
			       code->abi, code->n_redirects, KSPLICE_ABI, update->n_functions);
		return -EINVAL;
	}
	for (i = 0; i < update->n_functions; i++)
		update->functions[i].code = 0;
	for (i = 0; i < code->n_redirects; i++) {
		const struct ksplice_redirect *redirect = &code->redirects[i];
		unsigned long target = (unsigned long)redirect->code;
		struct ksplice_function *function;
		s64 distance;
		s32 displacement;

		if (redirect->function >= update->n_functions ||
		    update->functions[redirect->function].code ||
		    target < text || target >= text_end ||
		    redirect->size > text_end - target) {
			ksplice_report(update, KSPLICE_BAD_DATA,
				       "redirect %u leads from function %u to %lx, which does not fit",
				       i, redirect->function, target);
			return -EINVAL;
		}
		function = &update->functions[redirect->function];
		distance = target - (function->jump + KSP_JUMP_SIZE);
		displacement = distance;
		if (displacement != distance) {
			ksplice_report(update, KSPLICE_UNEXPECTED,
				       "%s at %lx is out of reach of its new code at %lx",
				       function->name, function->jump, target);
			return -EINVAL;
		}
		function->code = target;
		function->redirect[0] = 0xe9;
		memcpy(&function->redirect[1], &displacement, sizeof(displacement));
	}
	return 0;
}

/**
 * ksplice_redirect_check - is the text still what it has to be?
 * @update: the update
 * @undo: the jumps must be intact; otherwise what matching saw
 *
 * Context: inside stop_machine (K16, K19).
 * Return: the index of the first function that differs, or -1.
 */
int ksplice_redirect_check(struct ksplice_update *update, bool undo)
{
	u32 i;

	for (i = 0; i < update->n_functions; i++) {
		struct ksplice_function *function = &update->functions[i];

		if (memcmp((void *)function->jump,
			   undo ? function->redirect : function->original,
			   KSP_JUMP_SIZE))
			return i;
	}
	return -1;
}

/**
 * ksplice_redirect_write - write all jumps, or take them off
 * @update: the update
 * @undo: take them off
 *
 * Context: inside stop_machine; every CPU executes sync_core() before it
 * leaves the stop function (K15).
 */
void ksplice_redirect_write(struct ksplice_update *update, bool undo)
{
	u32 i;

	for (i = 0; i < update->n_functions; i++) {
		struct ksplice_function *function = &update->functions[i];

		kernel.text_poke((void *)function->jump,
				 undo ? function->original : function->redirect,
				 KSP_JUMP_SIZE);
	}
}
