// SPDX-License-Identifier: GPL-2.0
/*
 * Where a module's code stands, whatever the release calls the places.
 */

/**
 * DOC: context
 *
 * Any context; the module is held, or is coming or going.
 */
#include <linux/module.h>
#include <linux/version.h>

#include "core.h"

/**
 * ksplice_module_text - where a module's code stands, without its init code
 * @module: the module
 * @start: its first byte
 * @end: one past its last
 */
void ksplice_module_text(const struct module *module, unsigned long *start,
			 unsigned long *end)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	*start = (unsigned long)module->mem[MOD_TEXT].base;
	*end = *start + module->mem[MOD_TEXT].size;
#else
	*start = (unsigned long)module->core_layout.base;
	*end = *start + module->core_layout.text_size;
#endif
}
