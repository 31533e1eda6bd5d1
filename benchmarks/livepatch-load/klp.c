
// SPDX-License-Identifier: GPL-2.0
/* After the replaced function: what makes it a livepatch. */
#include <linux/livepatch.h>
#include <linux/module.h>

static struct klp_func functions[] = {
	{ .old_name = "eventfd_read", .new_func = eventfd_read },
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

MODULE_DESCRIPTION("A change of eventfd_read by the kernel's own means");
MODULE_INFO(livepatch, "Y");
MODULE_LICENSE("GPL");
