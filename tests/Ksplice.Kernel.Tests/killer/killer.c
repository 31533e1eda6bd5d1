// SPDX-License-Identifier: GPL-2.0
/*
 * Has the kernel give up its function tracer, as it does when something about
 * that went wrong.  The loader passes the address of ftrace_kill().
 */
#include <linux/module.h>

static unsigned long address;
module_param(address, ulong, 0);

static int __init killer_init(void)
{
	((void (*)(void))address)();
	return -EAGAIN;
}
module_init(killer_init);

MODULE_DESCRIPTION("Kills the function tracer");
MODULE_LICENSE("GPL");
