// SPDX-License-Identifier: GPL-2.0
/*
 * Finds what the core needs of the kernel and the kernel does not export.
 */

/**
 * DOC: context
 *
 * Runs once, from module init, before anything else; sleeps.  The first
 * function is found by asking for a kprobe on it, the rest by name among the
 * symbols of the kernel itself, never among those of its modules.  What is not
 * found, is there more than once, or stood in init memory makes the load fail
 * by name.  Filling a static call rewrites the places that call it, in init
 * text too: the loader told the kernel of them before init runs, and as long as
 * init runs the kernel rewrites them there.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/init.h>
#include <linux/memory.h>
#include <linux/string.h>

#include "core.h"

struct ksplice_kernel kernel;

#define DEFINE(name) DEFINE_STATIC_CALL_NULL(name, name);
KSPLICE_KERNEL_FUNCTIONS(DEFINE)

struct function {
	const char *name;
	struct static_call_key *key;
	void *trampoline;
};

#define FUNCTION(name) { #name, &STATIC_CALL_KEY(name), STATIC_CALL_TRAMP_ADDR(name) },
static const struct function functions[] = {
	KSPLICE_KERNEL_FUNCTIONS(FUNCTION)
};

/* What is assigned must have the type that the headers declare. */
static_assert(__same_type(*kernel.text_mutex, text_mutex));
static_assert(__same_type(*kernel.optinsn_slots, kprobe_optinsn_slots));
static_assert(__same_type(*kernel.command_line, saved_command_line));

static const struct {
	const char *name;
	void *to;
} objects[] = {
	{ "__init_begin", &kernel.init_begin },
	{ "__init_end", &kernel.init_end },
	{ "__per_cpu_start", &kernel.per_cpu_start },
	{ "__per_cpu_end", &kernel.per_cpu_end },
	{ "text_mutex", &kernel.text_mutex },
	{ "kprobe_mutex", &kernel.kprobe_mutex },
	{ "ftrace_lock", &kernel.ftrace_lock },
	{ "kprobe_optinsn_slots", &kernel.optinsn_slots },
	{ "modules", &kernel.modules },
	{ "saved_command_line", &kernel.command_line },
	{ "__start___jump_table", &kernel.start_jump_table },
	{ "__stop___jump_table", &kernel.stop_jump_table },
	{ "__start_static_call_sites", &kernel.start_static_calls },
	{ "__stop_static_call_sites", &kernel.stop_static_calls },
	{ "__start___ex_table", &kernel.start_exceptions },
	{ "__stop___ex_table", &kernel.stop_exceptions },
	{ "_stext", &kernel.stext },
	{ "_etext", &kernel.etext },
};

/*
 * Where the kernel's own function of that name starts, or 0.  A kprobe's
 * address may lie behind an ENDBR; what is to be called is the start, by which
 * the kernel finds the thunk that counts the depth of calls.
 */
static unsigned long __init find_by_probe(const char *name)
{
	/* Never armed: a kernel whose ftrace is disabled keeps flags of a probe that was. */
	struct kprobe probe = { .symbol_name = name, .flags = KPROBE_FLAG_DISABLED };
	char text[KSYM_SYMBOL_LEN];
	unsigned long offset, size;
	const char *at;
	int err;

	err = register_kprobe(&probe);
	if (err) {
		pr_err("cannot find %s in this kernel: a kprobe on it is refused (%d)\n",
		       name, err);
		return 0;
	}
	sprint_symbol(text, (unsigned long)probe.addr);
	unregister_kprobe(&probe);

	/* "name+offset/size", and " [module]" where it is one's. */
	at = strchr(text, '+');
	if (!at || strchr(at, '[') || sscanf(at, "+%lx/%lx", &offset, &size) != 2) {
		pr_err("cannot find %s in this kernel, only %s\n", name, text);
		return 0;
	}
	return (unsigned long)probe.addr - offset;
}

/**
 * ksplice_is_freed - did what the kernel has at an address stand in init memory?
 * @address: of one of the kernel's symbols
 *
 * What stood there is gone (K11).  The symbols of per-CPU variables may lie
 * there too and are not gone: each processor has its own copy (K24).
 */
bool ksplice_is_freed(unsigned long address)
{
	return address >= (unsigned long)kernel.init_begin && address < (unsigned long)kernel.init_end &&
	       !(address >= (unsigned long)kernel.per_cpu_start && address < (unsigned long)kernel.per_cpu_end);
}

struct found {
	unsigned long address;
	unsigned int n;
};

static int __init take(void *arg, unsigned long address)
{
	struct found *found = arg;

	found->address = address;
	found->n++;
	return 0;
}

/* The kernel's one symbol of that name.  Its address may be 0: per-CPU symbols count from there in many kernels. */
static bool __init find_by_name(const char *name, unsigned long *address)
{
	struct found found = { 0 };

	static_call(kallsyms_on_each_match_symbol)(take, name, &found);
	if (found.n != 1) {
		pr_err("cannot find %s in this kernel: it has %u symbols of that name\n",
		       name, found.n);
		return false;
	}
	/* The first four tell where init memory is, and may lie in it. */
	if (kernel.per_cpu_end && ksplice_is_freed(found.address)) {
		pr_err("cannot find %s in this kernel: it stood in init memory\n", name);
		return false;
	}
	*address = found.address;
	return true;
}

static void __init fill(const struct function *function, unsigned long address)
{
	__static_call_update(function->key, function->trampoline, (void *)address);
}

int __init ksplice_lookup_init(void)
{
	unsigned long address = find_by_probe(functions[0].name);
	size_t i;

	if (!address)
		return -ENOENT;
	fill(&functions[0], address);
	for (i = 0; i < ARRAY_SIZE(objects); i++) {
		if (!find_by_name(objects[i].name, objects[i].to))
			return -ENOENT;
	}
	for (i = 1; i < ARRAY_SIZE(functions); i++) {
		if (!find_by_name(functions[i].name, &address))
			return -ENOENT;
		fill(&functions[i], address);
	}
	return 0;
}
