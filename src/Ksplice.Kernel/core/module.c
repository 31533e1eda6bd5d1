// SPDX-License-Identifier: GPL-2.0
/*
 * Where a module's code and its exports stand, whatever the release calls the
 * places.
 */

/**
 * DOC: context
 *
 * Any context; the module is held, or is coming or going.
 */
#include <linux/export-internal.h>
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

/**
 * ksplice_gpl_exports - what a module exports to modules under the GPL
 * @module: the module
 * @n: how many entries there are
 *
 * Return: the table, sorted by name.  Where flags beside the table tell who may
 * use a symbol, it has all that the module exports.
 */
const struct kernel_symbol *ksplice_gpl_exports(const struct module *module, unsigned int *n)
{
#ifdef SYMBOL_FLAGS
	*n = module->num_syms;
	return module->syms;
#else
	*n = module->num_gpl_syms;
	return module->gpl_syms;
#endif
}
