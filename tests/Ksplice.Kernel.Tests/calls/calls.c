// SPDX-License-Identifier: GPL-2.0
/*
 * Calls functions of assembly that user space cannot call by itself, for
 * tests, and shows what they do in /sys/module/calls/parameters/results.
 *
 * DOC: context
 *
 * All in the context of the reader; nothing is kept, no lock is taken.
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/uaccess.h>

static int results_get(char *buffer, const struct kernel_param *param)
{
	const u32 from[2] = { 1, 2 };
	u32 to[2] = {};
	int value, far, unmapped;

	__iowrite32_copy((void __iomem *)to, from, ARRAY_SIZE(from));
	/* Out of user space, which is a branch, and not mapped, which is a fault. */
	far = get_user(value, (int __user *)-8L);
	unmapped = get_user(value, (int __user *)8L);
	return sprintf(buffer, "%u %u %d %d\n", to[0], to[1], far, unmapped);
}

static const struct kernel_param_ops results_ops = {
	.get = results_get,
};
module_param_cb(results, &results_ops, NULL, 0400);

MODULE_DESCRIPTION("Shows what functions of assembly do");
MODULE_LICENSE("GPL");
