/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the modules of an update and the core module tell each other, and the
 * layout of the tables that the build writes into a primary.  The build has
 * these layouts once more in C#; a test holds the two against each other.
 */
#ifndef KSPLICE_UPDATE_H
#define KSPLICE_UPDATE_H

#include <linux/types.h>

struct module;

#define KSPLICE_ABI	6

/* The hooks of a patch, in the order of their lists in struct ksplice_code. */
enum ksplice_hook {
	KSPLICE_PRE_APPLY,
	KSPLICE_CHECK_APPLY,
	KSPLICE_APPLY,
	KSPLICE_POST_APPLY,
	KSPLICE_FAIL_APPLY,
	KSPLICE_PRE_REVERSE,
	KSPLICE_CHECK_REVERSE,
	KSPLICE_REVERSE,
	KSPLICE_POST_REVERSE,
	KSPLICE_FAIL_REVERSE,
	KSPLICE_N_HOOKS,
};

#define KSPLICE_IN_NMI	1	/* an NMI may run the function: no jump is written into it (K33) */

/* One redirect: calls of replaced function @function go to @code. */
struct ksplice_redirect {
	void *code;		/* the new function, in the primary */
	u32 function;		/* index among the replaced functions of the match data */
	u32 size;		/* bytes of the new function */
	u32 flags;
	u32 reserved;
};

/* pre_* and check_* are int (*)(void) and may refuse, the others void (*)(void). */
struct ksplice_hook_list {
	void *const *calls;
	u64 count;
};

/*
 * A place in the primary that the core fills in, as the loader does the others:
 * one that holds a runtime constant of the kernel (K5), or refers to a module
 * that may be loaded later (K21).
 */
struct ksplice_relocation {
	void *place;
	s64 addend;
	u32 value;		/* index among the values behind the helper's exports */
	u32 type;		/* R_X86_64_64, _PC32, _32S, _8 */
};

/* Written by the build into the primary's object, symbol ksplice_code. */
struct ksplice_code {
	u32 abi;		/* KSPLICE_ABI */
	u32 n_redirects;
	const struct ksplice_redirect *redirects;
	struct ksplice_hook_list hooks[KSPLICE_N_HOOKS];
	const struct ksplice_relocation *relocations;
	u64 n_relocations;
};

/*
 * The helper's word to the core.  An update changes one or more targets: the
 * kernel itself, loadable modules.  Each has a helper and a primary of its own.
 */
struct ksplice_helper {
	u32 abi;
	u32 n_targets;		/* of the update */
	const char *id;
	const char *target;	/* a module's name, or NULL for the kernel itself */
	struct module *owner;
	const void *match_data;	/* format.h; in init memory, unless it is bound late */
	size_t match_size;
	u32 n_exports;		/* entries of owner's __ksymtab_gpl, sorted by name = export index */
	bool late;		/* the module may come later and go; the helper exports nothing */
	const char *digest;	/* which build's it is: SHA-256 of all targets' match data and new code, in hex */
	const char *const *bases;	/* ids of the updates that it was built on, the lowest first */
	u32 n_bases;
	bool replace;		/* it is to take the place of all updates: matched as if none were in place */
};

/*
 * What the data module of an update exports, beside its strings and constants:
 * the primaries point to it, and so depend on the module.
 */
struct ksplice_data {
	struct module *owner;
	bool kept;		/* applied once: the core holds a reference for good; under its lock */
};

/* The primary's word to the core. */
struct ksplice_primary {
	u32 abi;
	const char *id;
	const char *target;	/* as in the helper */
	struct module *owner;
	const struct ksplice_code *code;
	bool pinned;		/* new addresses may outlive an undo: never unload (K20) */
	struct ksplice_data *data;	/* the update's, with what else may outlive an undo; or NULL */
	const char *digest;	/* as in the helper */
};

/**
 * ksplice_helper_register - match an update and fill the helper's exports
 * @helper: the helper, from its init function
 *
 * Return: 0, or a negative errno that makes the load fail; the reason is in
 * the log, and in /sys/kernel/ksplice/ID/abort_cause unless the helper is of
 * another abi.
 */
int ksplice_helper_register(const struct ksplice_helper *helper);
void ksplice_helper_unregister(const struct ksplice_helper *helper);

/**
 * ksplice_primary_register - make an update ready to be applied
 * @primary: the primary, from its init function
 *
 * Applies nothing: that is asked for through /sys/kernel/ksplice/ID/stage.
 */
int ksplice_primary_register(const struct ksplice_primary *primary);
void ksplice_primary_unregister(const struct ksplice_primary *primary);

/* Where new code refers to as long as its module is not there: a call of it is a bug. */
void ksplice_unresolved(void);

#endif
