// SPDX-License-Identifier: GPL-2.0
/*
 * The function tracer: the way in where a jump does not fit, and who else uses it.
 */

/**
 * DOC: redirects by handler
 *
 * Where a jump label or a static call stands in the first bytes of a function,
 * or the function is shorter than a jump, a tracer's handler on its fentry site
 * sets the instruction pointer to the new code instead.  Registering sleeps and
 * rewrites text, so a handler is registered before the machine is stopped and
 * only switched on inside the stop, at the same time as the jumps are written
 * (K18); PERMANENT keeps an administrator from disabling ftrace under it.  A thread that is
 * on its way through the tracer has the function's own text on its stack and
 * counts as being in it.
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
 */

/**
 * DOC: context and locking
 *
 * Process context with ksplice_operation held, but for ksplice_tracer_switch(),
 * which runs inside stop_machine or while nothing of the target runs, and for
 * what sysfs asks.  The handler itself runs wherever the function is called: it
 * takes no lock and calls nothing.  Nothing preempts it between the switch and
 * the instruction pointer, so at a stop each thread in it has either the old or
 * the new code's address on its stack.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "core.h"

struct ksplice_handler {
	struct ftrace_ops ops;
	unsigned long code;
	bool on;
};

/* The name until 6.2. */
#ifndef ftrace_regs_set_instruction_pointer
#define ftrace_regs_set_instruction_pointer ftrace_instruction_pointer_set
#endif

static void notrace lead_on(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			    struct ftrace_regs *fregs)
{
	struct ksplice_handler *handler = container_of(ops, struct ksplice_handler, ops);

	preempt_disable_notrace();
	if (READ_ONCE(handler->on))
		ftrace_regs_set_instruction_pointer(fregs, READ_ONCE(handler->code));
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
	handler->code = function->code;
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
		WRITE_ONCE(handler->on, false);
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
 * ksplice_tracer_switch - let calls of a function reach the new code, or not
 * @function: a function with a handler
 * @on: whether
 */
void ksplice_tracer_switch(const struct ksplice_function *function, bool on)
{
	WRITE_ONCE(function->handler->on, on);
}

/**
 * ksplice_tracer_take_over - let calls that reach an update that goes reach the one that comes
 * @function: the function of the one that comes
 *
 * A fentry site takes one handler that changes where calls go.  So the handler
 * stays, and gets another destination.
 */
void ksplice_tracer_take_over(struct ksplice_function *function)
{
	function->handler = function->before->handler;
	function->before->handler = NULL;
	WRITE_ONCE(function->handler->code, function->code);
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
