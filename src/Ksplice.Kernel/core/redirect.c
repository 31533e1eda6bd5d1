// SPDX-License-Identifier: GPL-2.0
/*
 * The redirects: a jump from each replaced function to its new code.
 */

/**
 * DOC: context and locking
 *
 * Prepared when the primary registers; written inside stop_machine with
 * cpus_read_lock and text_mutex held by the caller outside of it (K16), or with
 * text_mutex held while a module is coming, of which nothing runs yet.  The
 * jump stands behind the fentry site, so tracing goes on; where it does not fit,
 * or an NMI might meet it half written, a handler on that site leads on instead
 * (tracer.c).  The jump is written
 * through a writable alias of the text (alias.c), which is mapped for the time
 * of a request.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/err.h>
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

/*
 * Every hook is code of the primary.  None runs in the stop with PREEMPT_RT (K28):
 * a thread that holds a spinlock may be preempted there by what stops the machine,
 * and what the lock guards may be half changed.
 */
static int check_hooks(struct ksplice_update *update, const struct ksplice_target *target,
		       unsigned long text, unsigned long text_end)
{
	u32 kind, i;

	for (kind = 0; kind < KSPLICE_N_HOOKS; kind++) {
		const struct ksplice_hook_list *list = &target->code->hooks[kind];

		if (!is_table(target->primary, list->calls, list->count, sizeof(*list->calls)))
			return bad_tables(update, target, "hook list", kind);
		if (IS_ENABLED(CONFIG_PREEMPT_RT) && ksplice_runs_in_stop(kind) && list->count) {
			ksplice_report(update, KSPLICE_BAD_DATA,
				       "the primary for %s has hooks that run while the machine is stopped, which is not safe on a PREEMPT_RT kernel",
				       target->name);
			return -EOPNOTSUPP;
		}
		for (i = 0; i < list->count; i++) {
			if (!lies_in(list->calls[i], 1, text, text_end))
				return bad_tables(update, target, "hook", i);
		}
	}
	return 0;
}

/**
 * ksplice_code_check - is what a primary says of itself to be believed?
 * @update: takes the reason if not
 * @target: the target, with its primary's code set
 *
 * Return: 0 or an error.
 */
int ksplice_code_check(struct ksplice_update *update, const struct ksplice_target *target)
{
	unsigned long text, text_end;

	if (target->code->abi != KSPLICE_ABI) {
		ksplice_report(update, KSPLICE_BAD_DATA, "the primary for %s has abi %u, wanted is %u",
			       target->name, target->code->abi, KSPLICE_ABI);
		return -EINVAL;
	}
	ksplice_module_text(target->primary, &text, &text_end);
	return check_hooks(update, target, text, text_end);
}

/**
 * ksplice_redirect_prepare - join a primary's new code to matched functions
 * @update: takes the reason of a failure
 * @target: the target, matched, with its primary's code set and checked
 *
 * Context: ksplice_operation held.
 * Return: 0, or -EINVAL for tables that do not fit what was matched.
 */
int ksplice_redirect_prepare(struct ksplice_update *update, struct ksplice_target *target)
{
	const struct ksplice_code *code = target->code;
	unsigned long text, text_end;
	u32 i;

	ksplice_module_text(target->primary, &text, &text_end);
	if (code->n_redirects != target->n_functions) {
		ksplice_report(update, KSPLICE_BAD_DATA, "the primary for %s has %u redirects, wanted are %u",
			       target->name, code->n_redirects, target->n_functions);
		return -EINVAL;
	}
	if (!is_table(target->primary, code->redirects, code->n_redirects, sizeof(*code->redirects)))
		return bad_tables(update, target, "redirect list", 0);
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
		    !lies_in(redirect->code, redirect->size, text, text_end) ||
		    redirect->flags & ~KSPLICE_IN_NMI || redirect->reserved)
			return bad_tables(update, target, "redirect", i);
		function = &target->functions[redirect->function];
		function->code = new_code;
		if (redirect->flags & KSPLICE_IN_NMI) {
			/* K33: nothing is written there, whether or not it would fit. */
			if (!function->fentry) {
				ksplice_report(update, KSPLICE_UNEXPECTED,
					       "%s may run in an NMI, and the function tracer cannot redirect it",
					       function->name);
				return -EINVAL;
			}
			function->jump = 0;
		}
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
 * ksplice_redirect_map - map the places of a target's jumps, to be written
 * @update: takes the reason of a failure
 * @target: the target, matched
 *
 * Context: sleeps, ksplice_operation held.
 * Return: 0, or an error and nothing is mapped.
 */
int ksplice_redirect_map(struct ksplice_update *update, struct ksplice_target *target)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		struct ksplice_function *function = &target->functions[i];
		u8 *alias = function->jump && !function->after ? ksplice_alias_map(function->jump) : NULL;

		if (IS_ERR(alias)) {
			ksplice_report(update, PTR_ERR(alias) == -ENOMEM ? KSPLICE_OUT_OF_MEMORY
									 : KSPLICE_UNEXPECTED,
				       "the text of %s at %lx cannot be mapped to be written (%ld)",
				       function->name, function->jump, PTR_ERR(alias));
			ksplice_redirect_unmap(target);
			return PTR_ERR(alias);
		}
		function->alias = alias;
	}
	return 0;
}

/**
 * ksplice_redirect_unmap - the opposite
 * @target: the target; what is mapped of it
 */
void ksplice_redirect_unmap(struct ksplice_target *target)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		ksplice_alias_unmap(target->functions[i].alias);
		target->functions[i].alias = NULL;
	}
}

/**
 * ksplice_redirect_check - is the text still what it has to be?
 * @target: the target
 * @undo: the jumps must be intact; otherwise what matching saw, or the jump whose place is taken
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
		const u8 *expected = undo ? function->redirect :
				     function->before ? function->before->redirect : function->original;

		if (function->jump && memcmp((void *)function->jump, expected, KSP_JUMP_SIZE))
			return function;
	}
	return NULL;
}

/**
 * ksplice_report_stale - say that a function is not what it was
 * @update: takes it
 * @function: what ksplice_redirect_check() found
 */
void ksplice_report_stale(struct ksplice_update *update, const struct ksplice_function *function)
{
	ksplice_report(update, KSPLICE_UNEXPECTED, "the text of %s at %lx is not what it was: %*ph",
		       function->name, function->jump, KSP_JUMP_SIZE, (void *)function->jump);
}

/**
 * ksplice_redirect_write - write all jumps, or take them off again
 * @target: the target, mapped
 * @undo: take them off, but for those whose place is taken
 *
 * Context: as ksplice_redirect_check(); every CPU executes sync_core() before
 * it runs code of the target again (K15).
 */
void ksplice_redirect_write(struct ksplice_target *target, bool undo)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		struct ksplice_function *function = &target->functions[i];

		if (undo && function->after)
			continue;
		if (function->jump)
			memcpy(function->alias, undo ? function->original : function->redirect,
			       KSP_JUMP_SIZE);
	}
}
