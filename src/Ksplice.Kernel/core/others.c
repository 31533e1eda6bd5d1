// SPDX-License-Identifier: GPL-2.0
/*
 * Others on the same functions: kprobes, and who redirects through the function tracer.
 */

/**
 * DOC: context and locking
 *
 * Process context.  What is found stays so as long as others are kept out:
 * kprobe_mutex, then ftrace_lock.  text_mutex is taken inside of both.
 */
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>

#include "core.h"

/**
 * ksplice_is_probed - does a probe stand there that overwrites code?
 * @address: any address
 *
 * One on a fentry site goes through the function tracer, and is hit before a
 * redirect as without one.
 */
bool ksplice_is_probed(unsigned long address)
{
	struct kprobe *probe;
	bool probed;

	preempt_disable();
	probe = static_call(get_kprobe)((void *)address);
	probed = probe && !kprobe_ftrace(probe);
	preempt_enable();
	return probed;
}

/* The first probe of any kind in a module's text, or 0; text_mutex is held. */
static unsigned long find_probe_in_module(const struct module *module)
{
	unsigned long address, end;
	bool probed = false;

	ksplice_module_text(module, &address, &end);
	for (; address < end; address++) {
		preempt_disable();
		probed = static_call(get_kprobe)((void *)address);
		preempt_enable();
		if (probed)
			return address;
		if (!(address % PAGE_SIZE))
			cond_resched();
	}
	return 0;
}

/*
 * A kprobe inside of a replaced function would never be hit again; one that
 * was planted behind a redirect may stand in the middle of what becomes an
 * instruction again when the redirect goes.  A function of its own, so that its
 * addresses are in no frame that is alive at the stop.
 */
static noinline unsigned long find_probe(const struct ksplice_target *target,
					 const struct ksplice_function **probed)
{
	unsigned long address;
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		const struct ksplice_function *function = &target->functions[i];

		for (address = function->start; address < function->end; address++) {
			if (ksplice_is_probed(address)) {
				*probed = function;
				return address;
			}
		}
		cond_resched();
	}
	return 0;
}

static const struct ksplice_function *find_site(const struct ksplice_target *target, unsigned long site)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		if (target->functions[i].jump && target->functions[i].fentry == site)
			return &target->functions[i];
	}
	return NULL;
}

/*
 * Calls @found for each function of a target that somebody else redirects, until
 * it returns nonzero, and returns that.  ftrace_lock is held.
 */
static int for_each_conflict(const struct ksplice_target *target,
			     int (*found)(void *arg, const struct ksplice_function *function),
			     void *arg)
{
	struct ftrace_rec_iter *iter;

	for (iter = static_call(ftrace_rec_iter_start)(); iter;
	     iter = static_call(ftrace_rec_iter_next)(iter)) {
		const struct dyn_ftrace *site = static_call(ftrace_rec_iter_record)(iter);
		const struct ksplice_function *function;
		int end;

		if (!(site->flags & FTRACE_FL_IPMODIFY))
			continue;
		function = find_site(target, site->ip);
		end = function ? found(arg, function) : 0;
		if (end)
			return end;
	}
	return 0;
}

static int take_first(void *arg, const struct ksplice_function *function)
{
	*(const struct ksplice_function **)arg = function;
	return 1;
}

/*
 * The first function that somebody else redirects, or NULL.  A livepatch leads a
 * call away before it comes to a jump behind the fentry site: the update would be
 * in place and without effect.
 */
static const struct ksplice_function *find_livepatch(const struct ksplice_target *target)
{
	const struct ksplice_function *function = NULL;

	for_each_conflict(target, take_first, &function);
	return function;
}

/* Does the tracer call who changes where the function at @site goes?  ftrace_lock is held. */
static bool is_led_on(unsigned long site)
{
	struct ftrace_rec_iter *iter;

	for (iter = static_call(ftrace_rec_iter_start)(); iter;
	     iter = static_call(ftrace_rec_iter_next)(iter)) {
		const struct dyn_ftrace *record = static_call(ftrace_rec_iter_record)(iter);

		if (record->ip == site)
			return (record->flags & FTRACE_FL_ENABLED) && (record->flags & FTRACE_FL_IPMODIFY);
	}
	return false;
}

/*
 * The first function whose handler is registered and not called, or NULL: the
 * tracer passes over a site whose record it has disabled, and says nothing.
 */
static const struct ksplice_function *find_unreached(const struct ksplice_target *target)
{
	u32 i;

	for (i = 0; i < target->n_functions; i++) {
		if (target->functions[i].handler && !is_led_on(target->functions[i].fentry))
			return &target->functions[i];
	}
	return NULL;
}

/**
 * ksplice_keep_others_out - keep probes and handlers of the tracer from coming and going
 *
 * Who registers a kprobe copies the instruction first, enters the probe into
 * the kernel's table, and plants it later.  In between text_mutex is free and
 * the text is what it was (K16): only kprobe_mutex tells that it is on its way.
 *
 * Context: process context, before cpus_read_lock and text_mutex.
 */
void ksplice_keep_others_out(void)
{
	mutex_lock(kernel.kprobe_mutex);
	mutex_lock(kernel.ftrace_lock);
}

/**
 * ksplice_let_others_in - the opposite
 */
void ksplice_let_others_in(void)
{
	mutex_unlock(kernel.ftrace_lock);
	mutex_unlock(kernel.kprobe_mutex);
}

/**
 * ksplice_check_others - does a livepatch or a kprobe stand in a target's functions?
 * @update: takes the reason of a failure
 * @target: the target, its handlers registered
 * @undo: a livepatch that came later does no harm
 *
 * Context: process context, others kept out.
 * Return: 0 or an error.
 */
int ksplice_check_others(struct ksplice_update *update, const struct ksplice_target *target,
			 bool undo)
{
	const struct ksplice_function *function = undo ? NULL : find_livepatch(target);
	unsigned long probe;

	if (function) {
		ksplice_report(update, KSPLICE_REDIRECTED,
			       "%s is redirected by a livepatch, or a kprobe that may change where it goes",
			       function->name);
		return -EADDRINUSE;
	}
	function = undo ? NULL : find_unreached(target);
	if (function) {
		ksplice_report(update, KSPLICE_REDIRECTED,
			       "%s cannot be redirected: the kernel has disabled the function tracer there",
			       function->name);
		return -EADDRINUSE;
	}
	probe = find_probe(target, &function);
	if (probe) {
		ksplice_report(update, KSPLICE_PROBED, "a kprobe stands in %s at %lx",
			       function->name, probe);
		return -EPERM;
	}
	probe = undo && !target->pinned ? find_probe_in_module(target->primary) : 0;
	if (probe) {
		ksplice_report(update, KSPLICE_PROBED, "a kprobe stands in the new code at %pS",
			       (void *)probe);
		return -EPERM;
	}
	return 0;
}

/**
 * ksplice_find_overridden - functions of an update in place that somebody redirects since
 * @update: the update
 * @found: called for each, with @arg; a nonzero value ends the search
 * @arg: for @found
 *
 * Context: process context; takes ftrace_lock and update->report.
 * Return: what @found returned last, or 0.
 */
int ksplice_find_overridden(struct ksplice_update *update,
			    int (*found)(void *arg, const struct ksplice_function *function),
			    void *arg)
{
	const struct ksplice_target *target;
	int end = 0;

	mutex_lock(kernel.ftrace_lock);
	mutex_lock(&update->report);
	if (update->stage == KSPLICE_APPLIED) {
		for_each_target(target, update) {
			end = for_each_conflict(target, found, arg);
			if (end)
				break;
		}
	}
	mutex_unlock(&update->report);
	mutex_unlock(kernel.ftrace_lock);
	return end;
}
