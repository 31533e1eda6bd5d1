// SPDX-License-Identifier: GPL-2.0
/*
 * Loads if rng_is_initialized() says yes, for tests: a function that user
 * space does not see.
 */
#include <linux/module.h>
#include <linux/random.h>

static int __init asker_init(void)
{
	return rng_is_initialized() ? 0 : -EAGAIN;
}
module_init(asker_init);

static void __exit asker_exit(void)
{
}
module_exit(asker_exit);

MODULE_DESCRIPTION("Asks whether the kernel has random numbers");
MODULE_LICENSE("GPL");
