// SPDX-License-Identifier: GPL-2.0
/*
 * A livepatch of show_smap, for tests: somebody else who redirects a function.
 */
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

static int show_nothing(struct seq_file *m, void *v)
{
	seq_puts(m, "livepatch\n");
	return 0;
}

static struct klp_func functions[] = {
	{ .old_name = "show_smap", .new_func = show_nothing },
	{ }
};

static struct klp_object objects[] = {
	{ .funcs = functions },
	{ }
};

static struct klp_patch patch = { .mod = THIS_MODULE, .objs = objects };

static int __init livepatch_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(livepatch_init);

static void __exit livepatch_exit(void)
{
}
module_exit(livepatch_exit);

MODULE_DESCRIPTION("Replaces show_smap by the kernel's own means");
MODULE_INFO(livepatch, "Y");
MODULE_LICENSE("GPL");
