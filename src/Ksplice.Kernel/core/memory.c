// SPDX-License-Identifier: GPL-2.0
/*
 * The running kernel as the match interpreter sees it.  A name that a module
 * target has itself means the module's own; what it does not have is the
 * kernel's or another module's export.  Sites of a module stand in its tables.
 *
 * An update that is to take the place of all others is matched against the plain
 * kernel: bytes under a redirect are the saved ones, no redirect is followed, and
 * nothing that an update in place brought is there.
 */

/**
 * DOC: context and locking
 *
 * Called from a helper's init, or when a module comes, with text_mutex held
 * (K12), so that nobody is half way through rewriting text.  What the match asks
 * for is read by copy_from_kernel_nofault: freed init memory may be unmapped
 * (K11).  The kernel's own tables are read as they are.  May sleep.
 */
#include <linux/bsearch.h>
#include <linux/bug.h>
#include <linux/extable.h>
#include <linux/ftrace.h>
#include <linux/jump_label.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/slab.h>
#include <linux/static_call.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "core.h"

static struct ksplice_memory *memory_of(struct ksp_env *env)
{
	return container_of(env, struct ksplice_memory, env);
}

static int env_read(struct ksp_env *env, u64 address, void *to, size_t n)
{
	if (copy_from_kernel_nofault(to, (void *)address, n))
		return -EFAULT;
	if (memory_of(env)->plain)
		ksplice_show_originals(address, to, n);
	return 0;
}

struct search {
	const char *name;
	int (*found)(void *arg, u64 address);
	void *arg;
	unsigned int n;
	bool full;
	bool plain;
};

static int candidate(void *data, unsigned long address)
{
	struct search *search = data;

	if (ksplice_is_freed(address))
		return 0;
	if (!search->plain && ksplice_is_left_behind(address))
		return 0;
	search->n++;
	return search->found(search->arg, search->plain ? address : ksplice_symbol_of(address));
}

/*
 * A module's own symbols.  Its core table lives as long as the module, holds
 * no init symbol, and is complete before the module is live.
 */
static int own_candidates(const struct module *module, const char *name, struct search *search)
{
	const struct mod_kallsyms *kallsyms = &module->core_kallsyms;
	unsigned int i;

	for (i = 0; i < kallsyms->num_symtab; i++) {
		const Elf_Sym *symbol = &kallsyms->symtab[i];

		if (symbol->st_shndx == SHN_UNDEF || strcmp(kallsyms->strtab + symbol->st_name, name))
			continue;
		if (candidate(search, symbol->st_value))
			return 1;
	}
	return 0;
}

static int compare_export(const void *name, const void *item)
{
	const struct ksplice_export *symbol = item;

	return strcmp(name, offset_to_ptr(&symbol->name_offset));
}

static const struct ksplice_export *find_export(const struct kernel_symbol *table, unsigned int n,
						const char *name)
{
	return n ? bsearch(name, table, n, sizeof(struct ksplice_export), compare_export) : NULL;
}

/* The one that a loaded module exports: the loader lets no second have it. */
static void exported_candidate(const char *name, struct search *search)
{
	const struct ksplice_export *symbol = NULL;
	unsigned long address = 0;
	struct module *module;

	preempt_disable();
	list_for_each_entry_rcu(module, kernel.modules, list) {
		const struct kernel_symbol *gpl_symbols;
		unsigned int n;

		if (module->state == MODULE_STATE_UNFORMED || (search->plain && ksplice_is_primary(module)))
			continue;
		gpl_symbols = ksplice_gpl_exports(module, &n);
		symbol = find_export(module->syms, module->num_syms, name) ?:
			 find_export(gpl_symbols, n, name);
		if (symbol) {
			address = (unsigned long)&symbol->value_offset + symbol->value_offset;
			break;
		}
	}
	preempt_enable();
	if (symbol)
		candidate(search, address);
}

static void look_in_primary(const struct module *primary, void *arg)
{
	struct search *search = arg;

	if (!search->full && !search->plain)
		search->full = own_candidates(primary, search->name, search);
}

static int env_candidates(struct ksp_env *env, const char *name,
			  int (*found)(void *arg, u64 address), void *arg)
{
	const struct ksplice_target *target = memory_of(env)->target;
	const struct module *module = target->module;
	struct search search = {
		.name = name,
		.found = found,
		.arg = arg,
		.plain = memory_of(env)->plain,
	};

	/* What updates brought that are in place. */
	ksplice_new_symbols(target->name, look_in_primary, &search);
	if (search.full)
		return 0;
	if (module && own_candidates(module, name, &search))
		return 0;
	if (module && search.n)
		return 0;
	if (module)
		ksplice_new_symbols(KSPLICE_KERNEL_NAME, look_in_primary, &search);
	if (search.full || static_call(kallsyms_on_each_match_symbol)(candidate, name, &search))
		return 0;
	if (module)
		exported_candidate(name, &search);
	return search.n ? 0 : -ENOENT;
}

static int env_extent(struct ksp_env *env, u64 address, u64 *start, u64 *end)
{
	unsigned long size, offset;

	if (!static_call(kallsyms_lookup_size_offset)(address, &size, &offset))
		return -ENOENT;
	*start = address - offset;
	*end = *start + size;
	return 0;
}

/* Whose tables tell of a site: the kernel's, the target's, or those of new code in its place. */
static const struct module *module_at(u64 code)
{
	const struct module *module;

	preempt_disable();
	module = static_call(__module_address)(code);
	preempt_enable();
	return module;
}

static int env_jump_entry(struct ksp_env *env, u64 code, u64 *target, u64 *key)
{
	const struct module *module = module_at(code);
	struct jump_entry *entry = module ? module->jump_entries : kernel.start_jump_table;
	struct jump_entry *end = module ? entry + module->num_jump_entries : kernel.stop_jump_table;

	for (; entry < end; entry++) {
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
	const struct module *module = module_at(code);
	struct static_call_site *site = module ? module->static_call_sites : kernel.start_static_calls;
	struct static_call_site *end = module ? site + module->num_static_call_sites
					      : kernel.stop_static_calls;

	for (; site < end; site++) {
		if ((unsigned long)&site->addr + site->addr != code)
			continue;
		*key = ((unsigned long)&site->key + site->key) & ~STATIC_CALL_SITE_FLAGS;
		return 0;
	}
	return -ENOENT;
}

/* An entry stays as long as its module, and the target is referenced. */
static int env_bug_entry(struct ksp_env *env, u64 code, struct ksp_bug *bug)
{
	const struct bug_entry *entry = static_call(find_bug)(code);

	if (!entry)
		return -ENOENT;
	bug->entry = (unsigned long)entry;
	bug->flags = entry->flags;
#ifdef HAVE_ARCH_BUG_FORMAT
	bug->format = (unsigned long)&entry->format_disp + entry->format_disp;
#endif
#ifdef CONFIG_DEBUG_BUGVERBOSE
	bug->file = (unsigned long)&entry->file_disp + entry->file_disp;
	bug->line = entry->line;
#endif
	return 0;
}

static int env_exception_entry(struct ksp_env *env, u64 code, u64 *fixup, u32 *data)
{
	const struct exception_table_entry *entry = static_call(search_exception_tables)(code);

	if (!entry)
		return -ENOENT;
	*fixup = (unsigned long)&entry->fixup + entry->fixup;
	*data = entry->data;
	return 0;
}

/* The first entry of a sorted table for code at or behind @address. */
static const struct exception_table_entry *first_exception(const struct exception_table_entry *low,
							   const struct exception_table_entry *high,
							   u64 address)
{
	while (low < high) {
		const struct exception_table_entry *middle = low + (high - low) / 2;

		if ((unsigned long)&middle->insn + middle->insn < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static u64 env_count_exceptions(struct ksp_env *env, u64 start, u64 end)
{
	const struct module *module = module_at(start);
	const struct exception_table_entry *table = module ? module->extable : kernel.start_exceptions;
	const struct exception_table_entry *stop = module ? table + module->num_exentries
							  : kernel.stop_exceptions;

	return first_exception(table, stop, end) - first_exception(table, stop, start);
}

static bool env_is_ftrace_target(struct ksp_env *env, u64 site, u64 target)
{
	return static_call(ftrace_location)(site) == site;
}

static bool env_is_probed(struct ksp_env *env, u64 address)
{
	return ksplice_is_probed(address);
}

static bool is_code(u64 address)
{
	const struct module *module = module_at(address);
	unsigned long start = (unsigned long)kernel.stext, end = (unsigned long)kernel.etext;

	if (module)
		ksplice_module_text(module, &start, &end);
	return address >= start && address < end;
}

/* K22: the kernel and the loader of modules overwrite each ENDBR that they think nobody needs. */
static bool env_has_endbr(struct ksp_env *env, u64 address)
{
	static const u8 endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	u8 found[sizeof(endbr)];

	if (!IS_ENABLED(CONFIG_X86_KERNEL_IBT) || !is_code(address))
		return true;
	return !env_read(env, address, found, sizeof(found)) && !memcmp(found, endbr, sizeof(endbr));
}

static u64 env_code_of(struct ksp_env *env, u64 address)
{
	return memory_of(env)->plain ? address : ksplice_code_of(address);
}

static u64 env_symbol_of(struct ksp_env *env, u64 address)
{
	return memory_of(env)->plain ? address : ksplice_symbol_of(address);
}

static void *env_alloc(struct ksp_env *env, size_t size)
{
	return ksplice_fails("memory to match with") ? NULL : kvzalloc(size, GFP_KERNEL);
}

static void env_free(struct ksp_env *env, void *memory)
{
	kvfree(memory);
}

/**
 * ksplice_memory_init - the running kernel as one target's match sees it
 * @memory: filled
 * @target: the target, its module referenced
 * @plain: as if no update were in place
 */
void ksplice_memory_init(struct ksplice_memory *memory, const struct ksplice_target *target,
			 bool plain)
{
	memory->target = target;
	memory->plain = plain;
	memory->env = (struct ksp_env) {
		.read = env_read,
		.candidates = env_candidates,
		.extent = env_extent,
		.jump_entry = env_jump_entry,
		.static_call_key = env_static_call_key,
		.bug_entry = env_bug_entry,
		.exception_entry = env_exception_entry,
		.count_exceptions = env_count_exceptions,
		.is_ftrace_target = env_is_ftrace_target,
		.is_probed = env_is_probed,
		.has_endbr = env_has_endbr,
		.code_of = env_code_of,
		.symbol_of = env_symbol_of,
		.alloc = env_alloc,
		.free = env_free,
	};
}
