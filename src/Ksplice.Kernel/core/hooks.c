// SPDX-License-Identifier: GPL-2.0
/*
 * Calling the hooks of a patch.
 *
 * DOC: context
 *
 * ksplice_operation is held and every primary's reference with it.  Which hooks
 * run inside stop_machine and which may sleep stands in <ksplice/hooks.h>.  The
 * lists were checked when the primary registered (redirect.c).
 */
#include "core.h"

/**
 * ksplice_call_checks - call the hooks of a kind that may refuse
 * @update: the update, whole; targets in order
 * @kind: a kind whose hooks return int
 *
 * Return: 0, or 1 + how many hooks agreed before one refused.
 */
u32 ksplice_call_checks(const struct ksplice_update *update, enum ksplice_hook kind)
{
	struct ksplice_target *target;
	u32 i, n = 0;

	for_each_target(target, update) {
		const struct ksplice_hook_list *list = &target->code->hooks[kind];

		for (i = 0; i < list->count; i++) {
			int (*check)(void) = list->calls[i];

			n++;
			if (ksplice_fails("hook that checks") || check())
				return n;
		}
	}
	return 0;
}

/**
 * ksplice_call_hooks - call all hooks of a kind that cannot refuse
 * @update: the update, whole; targets in order
 * @kind: a kind whose hooks return nothing
 */
void ksplice_call_hooks(const struct ksplice_update *update, enum ksplice_hook kind)
{
	struct ksplice_target *target;
	u32 i;

	for_each_target(target, update) {
		const struct ksplice_hook_list *list = &target->code->hooks[kind];

		for (i = 0; i < list->count; i++) {
			void (*call)(void) = list->calls[i];

			call();
		}
	}
}
