// SPDX-License-Identifier: GPL-2.0
/*
 * Finds what the core needs of the kernel and the kernel does not export.
 *
 * DOC: context
 *
 * Runs once, from module init, before anything else.  kallsyms_lookup_name is
 * found by asking for a kprobe on it; the rest by name.  What is not found, or
 * stands in init memory, makes the load fail by name.  The types are those of
 * the headers, where the headers have them (K9).
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/bug.h>
#include <linux/extable.h>
#include <linux/ftrace.h>
#include <linux/jump_label.h>
#include <linux/kprobes.h>
#include <linux/memory.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/static_call.h>
#include <linux/stop_machine.h>
#include <asm/text-patching.h>

#include "core.h"

struct ksplice_kernel kernel;

/* What is assigned must have the type that the headers declare. */
#define CHECK(member, name) \
	static_assert(__same_type(*kernel.member, name))

CHECK(text_poke, text_poke);
CHECK(text_poke_kgdb, text_poke_kgdb);
CHECK(text_mutex, text_mutex);
CHECK(stop_machine_cpuslocked, stop_machine_cpuslocked);
CHECK(idle_task, idle_task);
CHECK(get_kprobe, get_kprobe);
CHECK(find_bug, find_bug);
CHECK(search_exception_tables, search_exception_tables);
CHECK(ftrace_location, ftrace_location);
CHECK(ftrace_rec_iter_start, ftrace_rec_iter_start);
CHECK(ftrace_rec_iter_next, ftrace_rec_iter_next);
CHECK(ftrace_rec_iter_record, ftrace_rec_iter_record);
CHECK(find_module, find_module);
CHECK(module_address, __module_address);

static const struct {
	const char *name;
	void *to;
} wanted[] = {
	{ "kallsyms_on_each_match_symbol", &kernel.kallsyms_on_each_match_symbol },
	{ "kallsyms_lookup_size_offset", &kernel.kallsyms_lookup_size_offset },
	{ "text_poke", &kernel.text_poke },
	{ "text_poke_kgdb", &kernel.text_poke_kgdb },
	{ "text_mutex", &kernel.text_mutex },
	{ "stop_machine_cpuslocked", &kernel.stop_machine_cpuslocked },
	{ "idle_task", &kernel.idle_task },
	{ "get_kprobe", &kernel.get_kprobe },
	{ "find_bug", &kernel.find_bug },
	{ "search_exception_tables", &kernel.search_exception_tables },
	{ "ftrace_location", &kernel.ftrace_location },
	{ "ftrace_lock", &kernel.ftrace_lock },
	{ "ftrace_rec_iter_start", &kernel.ftrace_rec_iter_start },
	{ "ftrace_rec_iter_next", &kernel.ftrace_rec_iter_next },
	{ "ftrace_rec_iter_record", &kernel.ftrace_rec_iter_record },
	{ "ftrace_is_dead", &kernel.ftrace_is_dead },
	{ "find_module", &kernel.find_module },
	{ "__module_address", &kernel.module_address },
	{ "modules", &kernel.modules },
	{ "__start___jump_table", &kernel.start_jump_table },
	{ "__stop___jump_table", &kernel.stop_jump_table },
	{ "__start_static_call_sites", &kernel.start_static_calls },
	{ "__stop_static_call_sites", &kernel.stop_static_calls },
	{ "__start___ex_table", &kernel.start_exceptions },
	{ "__stop___ex_table", &kernel.stop_exceptions },
	{ "__init_begin", &kernel.init_begin },
	{ "__init_end", &kernel.init_end },
	{ "_stext", &kernel.stext },
	{ "_etext", &kernel.etext },
};

static int find_lookup_name(void)
{
	/* Never armed: a kernel whose ftrace is disabled keeps flags of a probe that was. */
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name",
				.flags = KPROBE_FLAG_DISABLED };
	int err = register_kprobe(&probe);

	if (err) {
		pr_err("cannot find kallsyms_lookup_name: a kprobe on it is refused (%d)\n", err);
		return err;
	}
	/* With IBT the probe's address may lie behind an ENDBR. */
	kernel.kallsyms_lookup_name = (void *)probe.addr - probe.offset;
	unregister_kprobe(&probe);
	return 0;
}

int ksplice_lookup_init(void)
{
	int err = find_lookup_name();
	size_t i;

	if (err)
		return err;
	for (i = 0; i < ARRAY_SIZE(wanted); i++) {
		unsigned long address = kernel.kallsyms_lookup_name(wanted[i].name);

		if (!address) {
			pr_err("cannot find %s in this kernel\n", wanted[i].name);
			return -ENOENT;
		}
		*(unsigned long *)wanted[i].to = address;
	}
	return 0;
}
