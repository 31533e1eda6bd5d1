// SPDX-License-Identifier: GPL-2.0
/*
 * Calling the hooks of a patch.
 */

/**
 * DOC: context
 *
 * Every primary's reference is held.  Which hooks run inside stop_machine and
 * which may sleep stands in <ksplice/hooks.h>.  ksplice_operation is held inside
 * of the stop only: a hook may take as long as it likes, and a module that the
 * update changes may come meanwhile.  So the lists are collected while it is held;
 * they are the primaries' own and were checked when these registered (redirect.c).
 */
#include <linux/preempt.h>

#include "core.h"

/**
 * ksplice_runs_in_stop - are hooks of this kind called while the machine is stopped?
 * @kind: the kind
 */
bool ksplice_runs_in_stop(enum ksplice_hook kind)
{
	return kind == KSPLICE_CHECK_APPLY || kind == KSPLICE_APPLY ||
	       kind == KSPLICE_CHECK_REVERSE || kind == KSPLICE_REVERSE;
}

/* What a hook has to leave as it finds it. */
struct context {
	int preempt_count;
	bool irqs_disabled;
};

static struct context enter(enum ksplice_hook kind)
{
	/* Says on a kernel with DEBUG_ATOMIC_SLEEP if a hook that may sleep could not. */
	if (!ksplice_runs_in_stop(kind))
		might_sleep();
	return (struct context){ preempt_count(), irqs_disabled() };
}

/*
 * A hook that came back with a spinlock held, or with interrupts on in the stop,
 * has a fault that would show itself later and elsewhere.  As do_one_initcall()
 * does with init calls, it is named, and what is counted is set right.
 */
static void leave(const struct context *before, const void *hook)
{
	struct context after = { preempt_count(), irqs_disabled() };

	if (after.preempt_count == before->preempt_count &&
	    after.irqs_disabled == before->irqs_disabled)
		return;
	/* Before it is told: that takes its time, and in the stop no interrupt may come. */
	if (before->irqs_disabled)
		local_irq_disable();
	else
		local_irq_enable();
	preempt_count_set(before->preempt_count);
	pr_err("hook %ps came back with a preempt count of %x and interrupts %s, and was called with %x and %s\n",
	       hook, after.preempt_count, after.irqs_disabled ? "off" : "on",
	       before->preempt_count, before->irqs_disabled ? "off" : "on");
}

/**
 * ksplice_hooks_collect - where the hooks of an update stand
 * @update: the update, whole; targets in order
 * @hooks: filled; good as long as the primaries are held
 *
 * Context: ksplice_operation held.
 */
void ksplice_hooks_collect(const struct ksplice_update *update, struct ksplice_hooks *hooks)
{
	const struct ksplice_target *target;

	hooks->n = 0;
	for_each_target(target, update)
		hooks->codes[hooks->n++] = target->code;
}

/**
 * ksplice_call_checks - call the hooks of a kind that may refuse
 * @hooks: the update's
 * @kind: a kind whose hooks return int
 * @reached: takes how many targets had all or some of their hooks called, or NULL
 *
 * Return: 0, or 1 + how many hooks agreed before one refused.
 */
u32 ksplice_call_checks(const struct ksplice_hooks *hooks, enum ksplice_hook kind, u32 *reached)
{
	u32 i, target, n = 0;

	for (target = 0; target < hooks->n; target++) {
		const struct ksplice_hook_list *list = &hooks->codes[target]->hooks[kind];

		if (reached)
			*reached = target + 1;
		for (i = 0; i < list->count; i++) {
			int (*check)(void) = list->calls[i];
			struct context context;
			int err;

			n++;
			if (ksplice_fails("hook that checks"))
				return n;
			context = enter(kind);
			err = check();
			leave(&context, check);
			if (err)
				return n;
		}
	}
	return 0;
}

/**
 * ksplice_call_hooks - call all hooks of a kind that cannot refuse
 * @hooks: the update's
 * @kind: a kind whose hooks return nothing
 * @n: of how many targets, from the first
 */
void ksplice_call_hooks(const struct ksplice_hooks *hooks, enum ksplice_hook kind, u32 n)
{
	u32 i, target;

	for (target = 0; target < n; target++) {
		const struct ksplice_hook_list *list = &hooks->codes[target]->hooks[kind];

		for (i = 0; i < list->count; i++) {
			void (*call)(void) = list->calls[i];
			struct context context = enter(kind);

			call();
			leave(&context, call);
		}
	}
}
