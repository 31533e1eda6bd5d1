// SPDX-License-Identifier: GPL-2.0
/*
 * Writable aliases: a second mapping of the bytes that a redirect overwrites.
 */

/**
 * DOC: how it works
 *
 * Kernel text is read-only where it runs.  Its pages are mapped once more,
 * writable, before the machine stops; inside the stop the bytes are copied
 * through that mapping and nothing else is needed.  text_poke() and its like
 * are no way there: on newer kernels, and on PREEMPT_RT, they may take a lock
 * that sleeps (K26), and text_poke_bp() sends interrupts to CPUs that wait with
 * theirs off (K15).
 */

/**
 * DOC: context and locking
 *
 * Mapping and unmapping sleep.  Who writes through an alias holds text_mutex,
 * or has stopped the machine with text_mutex held, and sees to it that every
 * CPU executes sync_core() before it runs the bytes.
 */
#include <linux/err.h>
#include <linux/mm.h>
#include <linux/smp.h>
#include <linux/vmalloc.h>
#include <asm/sync_core.h>

#include "core.h"

static struct page *page_of(unsigned long address)
{
	if (address >= (unsigned long)kernel.stext && address < (unsigned long)kernel.etext)
		return virt_to_page((void *)address);
	return vmalloc_to_page((void *)address);
}

/**
 * ksplice_alias_map - map text once more, writable
 * @address: the first byte, of the kernel's text or a module's
 *
 * Room for one jump.
 *
 * Context: sleeps.
 * Return: the same byte in the alias, or an error pointer: -ENOMEM, or -EFAULT
 * where nothing is mapped.
 */
u8 *ksplice_alias_map(unsigned long address)
{
	unsigned long first = address & PAGE_MASK, last = (address + KSP_JUMP_SIZE - 1) & PAGE_MASK;
	struct page *pages[] = { page_of(first), page_of(last) };
	u8 *alias;

	if (!pages[0] || !pages[1])
		return ERR_PTR(-EFAULT);
	alias = ksplice_fails("mapping of text") ? NULL :
		vmap(pages, first == last ? 1 : 2, VM_MAP, PAGE_KERNEL);
	return alias ? alias + offset_in_page(address) : ERR_PTR(-ENOMEM);
}

/**
 * ksplice_alias_unmap - the opposite
 * @alias: what ksplice_alias_map() returned, or NULL
 */
void ksplice_alias_unmap(u8 *alias)
{
	vunmap((void *)((unsigned long)alias & PAGE_MASK));
}

static void sync(void *unused)
{
	sync_core();
}

/**
 * ksplice_sync_cpus - have no CPU run what it has fetched of text that was written
 *
 * Context: process context, interrupts on.
 */
void ksplice_sync_cpus(void)
{
	on_each_cpu(sync, NULL, 1);
}
