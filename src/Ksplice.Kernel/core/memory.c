// SPDX-License-Identifier: GPL-2.0
/*
 * The running kernel as the match interpreter sees it.
 *
 * DOC: context and locking
 *
 * Called from a helper's init with text_mutex held (K12), so that nobody is
 * half way through rewriting text.  Memory is read by copy_from_kernel_nofault
 * only: freed init memory may be unmapped (K11).  May sleep.
 */
#include <linux/ftrace.h>
#include <linux/jump_label.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/static_call.h>
#include <linux/uaccess.h>

#include "core.h"

static int env_read(struct ksp_env *env, u64 address, void *to, size_t n)
{
	return copy_from_kernel_nofault(to, (void *)address, n) ? -EFAULT : 0;
}

struct search {
	int (*found)(void *arg, u64 address);
	void *arg;
	unsigned int n;
};

static int candidate(void *data, unsigned long address)
{
	struct search *search = data;

	/* K11: what stood in init memory is gone. */
	if (address >= (unsigned long)kernel.init_begin &&
	    address < (unsigned long)kernel.init_end)
		return 0;
	search->n++;
	return search->found(search->arg, address);
}

static int env_candidates(struct ksp_env *env, const char *name,
			  int (*found)(void *arg, u64 address), void *arg)
{
	struct search search = { .found = found, .arg = arg };

	kernel.kallsyms_on_each_match_symbol(candidate, name, &search);
	return search.n ? 0 : -ENOENT;
}

static int env_jump_entry(struct ksp_env *env, u64 code, u64 *target, u64 *key)
{
	struct jump_entry *entry;

	for (entry = kernel.start_jump_table; entry < kernel.stop_jump_table; entry++) {
		if (jump_entry_code(entry) != code)
			continue;
		*target = jump_entry_target(entry);
		/* With the flags, which jump_entry_key() takes off. */
		*key = (unsigned long)&entry->key + entry->key;
		return 0;
	}
	return -ENOENT;
}

static int env_static_call_key(struct ksp_env *env, u64 code, u64 *key)
{
	struct static_call_site *site;

	for (site = kernel.start_static_calls; site < kernel.stop_static_calls; site++) {
		if ((unsigned long)&site->addr + site->addr != code)
			continue;
		*key = ((unsigned long)&site->key + site->key) & ~STATIC_CALL_SITE_FLAGS;
		return 0;
	}
	return -ENOENT;
}

static bool env_is_ftrace_target(struct ksp_env *env, u64 site, u64 target)
{
	return kernel.ftrace_location(site) == site;
}

bool ksplice_is_probed(unsigned long address)
{
	bool probed;

	preempt_disable();
	probed = kernel.get_kprobe((void *)address) != NULL;
	preempt_enable();
	return probed;
}

static bool env_is_probed(struct ksp_env *env, u64 address)
{
	return ksplice_is_probed(address);
}

static void *env_alloc(struct ksp_env *env, size_t size)
{
	return kvzalloc(size, GFP_KERNEL);
}

static void env_free(struct ksp_env *env, void *memory)
{
	kvfree(memory);
}

void ksplice_memory_env(struct ksp_env *env)
{
	*env = (struct ksp_env) {
		.read = env_read,
		.candidates = env_candidates,
		.jump_entry = env_jump_entry,
		.static_call_key = env_static_call_key,
		.is_ftrace_target = env_is_ftrace_target,
		.is_probed = env_is_probed,
		.alloc = env_alloc,
		.free = env_free,
	};
}
