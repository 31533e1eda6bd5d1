// SPDX-License-Identifier: GPL-2.0
/*
 * Has functions whose names the kernel lacks: who looks one of them up in the
 * kernel must not be given these.
 *
 * DOC: context
 *
 * Nothing calls them.
 */
#include <linux/module.h>

void find_bUg(void);
void kallsyms_on_each_match_symboL(void);

noinline void find_bUg(void)
{
	pr_emerg("stranger: called\n");
}

noinline void kallsyms_on_each_match_symboL(void)
{
	pr_emerg("stranger: called for every symbol\n");
}

MODULE_DESCRIPTION("Has symbols of names that are looked up");
MODULE_LICENSE("GPL");
