// SPDX-License-Identifier: GPL-2.0
/*
 * The redirects: a jump from each replaced function to its new code.
 *
 * DOC: context and locking
 *
 * Prepared when the primary registers; written inside stop_machine with
 * cpus_read_lock and text_mutex held by the caller outside of it (K16), or with
 * text_mutex held while a module is coming, of which nothing runs yet.  The
 * jump stands behind the fentry site, so tracing goes on; where it does not fit
 * a handler on that site leads on instead (tracer.c).  Only text_poke_kgdb
 * writes: text_poke_bp would send IPIs to CPUs that wait with interrupts off
 * (K15).
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/module.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "core.h"

/* Does @size bytes at @address lie between @start and @end? */
static bool lies_in(const void *address, size_t size, unsigned long start, unsigned long end)
{
	unsigned long at = (unsigned long)address;

	return at >= start && at < end && size <= end - at;
}

/* Is that a table of the module, at all of its length? */
static bool is_table(const struct module *module, const void *table, u64 n, size_t each)
{
	unsigned long start = (unsigned long)table;

	return !n || (n <= KSPLICE_MAX_ENTRIES && within_module_core(start, module) &&
		      within_module_core(start + n * each - 1, module));
}

static int bad_tables(struct ksplice_update *update, const struct ksplice_target *target,
		      const char *what, u32 index)
{
	ksplice_report(update, KSPLICE_BAD_DATA, "the primary for %s: %s %u does not fit",
		       target->name, what, index);
	return -EINVAL;
}

/* Every hook is code of the primary. */
static int check_hooks(struct ksplice_update *update, const struct ksplice_target *target,
		       unsigned long text, unsigned long text_end)
{
	u32 kind, i;

	for (kind = 0; kind < KSPLICE_N_HOOKS; kind++) {
		const struct ksplice_hook_list *list = &target->code->hooks[kind];

		if (!is_table(target->primary, list->calls, list->count, sizeof(*list->calls)))
			return bad_tables(update, target, "hook list", kind);
		for (i = 0; i < list->count; i++) {
			if (!lies_in(list->calls[i], 1, text, text_end))
				return bad_tables(update, target, "hook", i);
		}
	}
	return 0;
}

/**
 * ksplice_redirect_prepare - join a primary's new code to matched functions
 * @update: takes the reason of a failure
 * @target: the target, matched, with its primary's code set
 *
 * Context: ksplice_operation held.
 * Return: 0, or -EINVAL for tables that do not fit what was matched.
 */
int ksplice_redirect_prepare(struct ksplice_update *update, struct ksplice_target *target)
{
	const struct ksplice_code *code = target->code;
	unsigned long text, text_end;
	int err;
	u32 i;

	ksplice_module_text(target->primary, &text, &text_end);
	if (code->abi != KSPLICE_ABI || code->n_redirects != target->n_functions) {
		ksplice_report(update, KSPLICE_BAD_DATA,
			       "the primary for %s has abi %u and %u redirects, wanted are %u and %u",
			       target->name, code->abi, code->n_redirects, KSPLICE_ABI,
			       target->n_functions);
		return -EINVAL;
	}
	if (!is_table(target->primary, code->redirects, code->n_redirects, sizeof(*code->redirects)))
		return bad_tables(update, target, "redirect list", 0);
	err = check_hooks(update, target, text, text_end);
	if (err)
		return err;
	for (i = 0; i < target->n_functions; i++)
		target->functions[i].code = 0;
	for (i = 0; i < code->n_redirects; i++) {
		const struct ksplice_redirect *redirect = &code->redirects[i];
		unsigned long new_code = (unsigned long)redirect->code;
		struct ksplice_function *function;
		s64 distance;
		s32 displacement;

		if (redirect->function >= target->n_functions ||
		    target->functions[redirect->function].code ||
		    !lies_in(redirect->code, redirect->size, text, text_end))
			return bad_tables(update, target, "redirect", i);
		function = &target->functions[redirect->function];
		function->code = new_code;
		if (!function->jump)
			continue;
		distance = new_code - (function->jump + KSP_JUMP_SIZE);
		displacement = distance;
		if (displacement != distance) {
			ksplice_report(update, KSPLICE_UNEXPECTED,
				       "%s at %lx is out of reach of its new code at %lx",
				       function->name, function->jump, new_code);
			return -EINVAL;
		}
		function->redirect[0] = 0xe9;
		memcpy(&function->redirect[1], &displacement, sizeof(displacement));
	}
	return 0;
}

/**
 * ksplice_redirect_check - is the text still what it has to be?
 * @target: the target
 * @undo: the jumps must be intact; otherwise what matching saw
 *
 * Context: inside stop_machine (K16, K19), or nothing of the target runs yet.
 * Return: the first function that differs, or NULL.
 */
const struct ksplice_function *ksplice_redirect_check(const struct ksplice_target *target,
						      bool undo)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		const struct ksplice_function *function = &target->functions[i];

		if (function->jump &&
		    memcmp((void *)function->jump,
			   undo ? function->redirect : function->original,
			   KSP_JUMP_SIZE))
			return function;
	}
	return NULL;
}

/**
 * ksplice_redirect_write - write all jumps and switch all handlers on, or off again
 * @target: the target
 * @undo: take them off
 *
 * Context: as ksplice_redirect_check(); every CPU executes sync_core() before
 * it runs code of the target again (K15).
 */
void ksplice_redirect_write(const struct ksplice_target *target, bool undo)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		const struct ksplice_function *function = &target->functions[i];

		if (function->jump)
			kernel.text_poke_kgdb((void *)function->jump,
					      undo ? function->original : function->redirect,
					      KSP_JUMP_SIZE);
		else
			ksplice_tracer_switch(function, !undo);
	}
}
