// SPDX-License-Identifier: GPL-2.0
/*
 * Disables the function tracer's record of one function for as long as it is
 * loaded, for tests, as the kernel does with sites that are not where it
 * expects them.
 */
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>

static char *function;
module_param(function, charp, 0);

static struct dyn_ftrace *record;

static void *look_up(const char *name)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*lookup)(const char *name);

	if (register_kprobe(&probe))
		return NULL;
	lookup = (void *)probe.addr;
	unregister_kprobe(&probe);
	return (void *)lookup(name);
}

static int __init disabled_init(void)
{
	struct ftrace_rec_iter *(*start)(void) = look_up("ftrace_rec_iter_start");
	struct ftrace_rec_iter *(*next)(struct ftrace_rec_iter *iter) = look_up("ftrace_rec_iter_next");
	struct dyn_ftrace *(*record_of)(struct ftrace_rec_iter *iter) = look_up("ftrace_rec_iter_record");
	unsigned long at = (unsigned long)look_up(function);
	struct ftrace_rec_iter *iter;

	if (!start || !next || !record_of || !at)
		return -ENOENT;
	for (iter = start(); iter; iter = next(iter)) {
		struct dyn_ftrace *found = record_of(iter);

		/* Behind an ENDBR, if there is one. */
		if (found->ip >= at && found->ip <= at + 4) {
			record = found;
			record->flags |= FTRACE_FL_DISABLED;
			return 0;
		}
	}
	return -ENOENT;
}
module_init(disabled_init);

static void __exit disabled_exit(void)
{
	record->flags &= ~FTRACE_FL_DISABLED;
}
module_exit(disabled_exit);

MODULE_DESCRIPTION("Disables a site of the function tracer");
MODULE_LICENSE("GPL");
