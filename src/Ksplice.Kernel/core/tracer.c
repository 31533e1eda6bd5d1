// SPDX-License-Identifier: GPL-2.0
/*
 * The function tracer: the way in where a jump does not fit, and who else uses it.
 */

/**
 * DOC: redirects by handler
 *
 * Where a jump label or a static call stands in the first bytes of a function,
 * where the function is shorter than a jump, or where an NMI may run it (K33), a
 * tracer's handler on its fentry site sets the instruction pointer to the new
 * code instead.  Registering sleeps and rewrites text, so a handler is registered
 * before the machine is stopped, and leads nowhere until the stop (K18);
 * PERMANENT keeps an administrator from disabling ftrace under it.  A thread that
 * is on its way through the tracer has the function's own text on its stack and
 * counts as being in it.
 */

/**
 * DOC: one flag, and each CPU its own copy of it (K33)
 *
 * An NMI comes in spite of the stop, at any instruction of it, and runs a chain
 * of functions.  It must see all of an update's functions old, or all of them
 * new.  So all handlers ask one flag, the *side*, 0 or 1: a handler has two
 * places to lead to, by side.  Outside of a stop all CPUs are on the same side,
 * and a handler's two places are equal.  Before the stop the places of the other
 * side are written, which no CPU reads.  In the stop each CPU flips its own copy
 * of the side.  That is all that makes handlers lead elsewhere.
 *
 * A CPU writes its copy itself, in the stop function.  An NMI on that CPU has
 * interrupted the stop function: for as long as the NMI lasts, the stop function
 * does not go on, and nobody else writes this copy.  So an NMI that began before
 * the write sees the old side to its end, and one that begins after it the new
 * side.  The write is one store of a word, so there is no NMI in the middle of
 * it.  NMIs do not nest into each other: one that comes while another runs on
 * the same CPU is run after it.  The same holds for a machine check.
 *
 * A flag that all CPUs share will not do.  The CPU that writes it does not wait
 * for an NMI that another CPU is in, and the functions that this NMI has yet to
 * call would be new after those that it has called were old.
 *
 * A CPU that is offline runs no handler of an NMI (exc_nmi() returns at once),
 * and none comes or goes while cpus_read_lock is held.  The first CPU flips for
 * these, so one that comes later is on the side of all.
 *
 * Once every CPU has flipped, no NMI is under way that began before its CPU's
 * flip: the flip was not reached before that NMI's end.  So then nobody is in the
 * new code that an undo takes away, or reads the places of the old side.  This is
 * what a grace period of RCU would tell (an NMI is a reader); the one that ends
 * before the new code is unloaded (apply.c) is not needed for NMIs.
 */

/**
 * DOC: what the tracer does not promise
 *
 * Once it has failed (ftrace_is_dead()) it takes no handler on or off.  Those
 * that are there go on being called; an undo switches them off, and they stay
 * with what they lead to.  Where another tracer is on the same function, a call
 * that is made while the tracer runs itself, on the same CPU in the same context,
 * reaches no handler and so the old code: the tracer guards against recursion.
 * A livepatch has the same limits.
 * An NMI is a context of its own: one that comes while the tracer runs reaches
 * the handlers.
 */

/**
 * DOC: context and locking
 *
 * Process context with ksplice_operation held, but for ksplice_tracer_flip() and
 * ksplice_tracer_flip_offline(), which run inside stop_machine, and for what
 * sysfs asks.  The handler itself runs wherever the function is called, also in
 * an NMI: it takes no lock and calls nothing.  Nothing preempts it between the
 * side and the instruction pointer, so at a stop each thread in it has either the
 * old or the new code's address on its stack.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>

#include "core.h"

struct ksplice_handler {
	struct ftrace_ops ops;
	unsigned long code[2];	/* by side: where calls lead, or 0 for nowhere */
};

/* Equal on all CPUs but inside of a stop; changed there only. */
static DEFINE_PER_CPU(unsigned int, side);

/* The name until 6.2. */
#ifndef ftrace_regs_set_instruction_pointer
#define ftrace_regs_set_instruction_pointer ftrace_instruction_pointer_set
#endif

static void notrace lead_on(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			    struct ftrace_regs *fregs)
{
	struct ksplice_handler *handler = container_of(ops, struct ksplice_handler, ops);
	unsigned long code;

	preempt_disable_notrace();
	code = READ_ONCE(handler->code[raw_cpu_read(side)]);
	if (code)
		ftrace_regs_set_instruction_pointer(fregs, code);
	preempt_enable_notrace();
}

static int add_handler(struct ksplice_update *update, struct ksplice_function *function)
{
	struct ksplice_handler *handler = ksplice_fails("memory for a handler") ? NULL :
					  kzalloc(sizeof(*handler), GFP_KERNEL);
	int err;

	if (!handler) {
		ksplice_report(update, KSPLICE_OUT_OF_MEMORY, "no memory for a handler");
		return -ENOMEM;
	}
	handler->ops.func = lead_on;
	handler->ops.flags = FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT;
#ifndef CONFIG_HAVE_DYNAMIC_FTRACE_WITH_ARGS
	handler->ops.flags |= FTRACE_OPS_FL_SAVE_REGS;
#endif
	err = ftrace_set_filter_ip(&handler->ops, function->fentry, 0, 0);
	if (!err && ksplice_fails("registering a handler"))
		err = -EBUSY;
	if (!err)
		err = register_ftrace_function(&handler->ops);
	if (err) {
		ksplice_report(update, err == -EBUSY ? KSPLICE_REDIRECTED : KSPLICE_UNEXPECTED,
			       err == -EBUSY ?
			       "%s is redirected by a livepatch or a probe, or ftrace is disabled (%d)" :
			       err == -ENODEV ?
			       "%s cannot be redirected: the kernel has given up its function tracer (%d)" :
			       "%s cannot be redirected through the function tracer (%d)",
			       function->name, err);
		ftrace_free_filter(&handler->ops);
		kfree(handler);
		return err;
	}
	function->handler = handler;
	return 0;
}

/**
 * ksplice_tracer_detach - take a target's handlers off
 * @update: its update
 * @target: the target, whose handlers are switched off or whose code does not run any more
 *
 * Context: process context, sleeps until no thread is in a handler.
 * Return: 0; else ftrace is broken, and what a handler leads to has to stay.
 */
int ksplice_tracer_detach(struct ksplice_update *update, struct ksplice_target *target)
{
	int err = 0;
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		struct ksplice_handler *handler = target->functions[i].handler;
		int failed;

		if (!handler)
			continue;
		target->functions[i].handler = NULL;
		/* If it does not go it leads nowhere. */
		WRITE_ONCE(handler->code[0], 0);
		WRITE_ONCE(handler->code[1], 0);
		failed = ksplice_fails("taking off a handler") ? -EBUSY :
			 unregister_ftrace_function(&handler->ops);
		if (failed) {
			/* Never freed, nor is its code: ftrace may still know it. */
			__module_get(THIS_MODULE);
			pr_err("%s: the handler of %s does not go (%d)\n", update->id,
			       target->functions[i].name, failed);
			err = failed;
			continue;
		}
		ftrace_free_filter(&handler->ops);
		kfree(handler);
	}
	return err;
}

/**
 * ksplice_tracer_attach - register a handler for each function without a jump
 * @update: its update, which takes the reason of a failure
 * @target: the target; a function keeps the handler of an update that is to be replaced
 *
 * Context: process context.
 * Return: 0, or an error and no handler is left.
 */
int ksplice_tracer_attach(struct ksplice_update *update, struct ksplice_target *target)
{
	int err;
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		if (target->functions[i].jump ||
		    (update->replaces && ksplice_has_handler(target->functions[i].start)))
			continue;
		err = add_handler(update, &target->functions[i]);
		if (err) {
			ksplice_tracer_detach(update, target);
			return err;
		}
	}
	return 0;
}

/**
 * ksplice_tracer_prepare - say where calls of a target's functions lead after the next flip
 * @target: the target, its handlers registered; paired (change.c)
 * @undo: nowhere, instead of to the new code; what takes a function's place says where
 */
void ksplice_tracer_prepare(const struct ksplice_target *target, bool undo)
{
	unsigned int other = !raw_cpu_read(side);
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		const struct ksplice_function *function = &target->functions[i];
		struct ksplice_handler *handler = function->before ? function->before->handler
								   : function->handler;

		if (handler && !function->after)
			WRITE_ONCE(handler->code[other], undo ? 0 : function->code);
	}
}

/**
 * ksplice_tracer_settle - the other side is to lead where this one does
 * @target: the target; all CPUs have flipped since ksplice_tracer_prepare(), or none has
 */
void ksplice_tracer_settle(const struct ksplice_target *target)
{
	unsigned int now = raw_cpu_read(side);
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		struct ksplice_handler *handler = target->functions[i].handler;

		if (handler)
			WRITE_ONCE(handler->code[!now], handler->code[now]);
	}
}

/**
 * ksplice_tracer_lead - let calls of a target's functions reach the new code at once
 * @target: the target; nothing of it runs yet
 */
void ksplice_tracer_lead(const struct ksplice_target *target)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		const struct ksplice_function *function = &target->functions[i];

		if (function->handler) {
			WRITE_ONCE(function->handler->code[0], function->code);
			WRITE_ONCE(function->handler->code[1], function->code);
		}
	}
}

/**
 * ksplice_tracer_flip - change this CPU's side
 *
 * Context: inside stop_machine, on each online CPU once.
 */
void ksplice_tracer_flip(void)
{
	this_cpu_write(side, !this_cpu_read(side));
}

/**
 * ksplice_tracer_flip_offline - change the side of the CPUs that are offline
 *
 * Context: inside stop_machine, on one CPU, which has flipped; cpus_read_lock is
 * held outside of it.
 */
void ksplice_tracer_flip_offline(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		if (!cpu_online(cpu))
			per_cpu(side, cpu) = this_cpu_read(side);
	}
}

/**
 * ksplice_tracer_take_over - keep the handlers of the functions whose place was taken
 * @target: the target of the update that came; still paired
 *
 * A fentry site takes one handler that changes where calls go.  So the handler
 * stays, and has got another destination.
 */
void ksplice_tracer_take_over(const struct ksplice_target *target)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		struct ksplice_function *function = &target->functions[i];

		if (function->before && function->before->handler) {
			function->handler = function->before->handler;
			function->before->handler = NULL;
		}
	}
}

/**
 * ksplice_tracer_is_dead - has the kernel given up its function tracer?
 *
 * It does that for good when something about it went wrong.
 */
bool ksplice_tracer_is_dead(void)
{
	return static_call(ftrace_is_dead)();
}
