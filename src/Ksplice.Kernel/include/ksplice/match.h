/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The run-pre match interpreter: what it asks of its surroundings and what it
 * answers.  It takes the match data of one update (format.h) and finds every
 * object in it in the memory of the running kernel.
 *
 * It knows nothing of modules or threads: core/ runs it over live memory, and
 * the same file builds in user space for tests and fuzzing.
 */
#ifndef KSPLICE_MATCH_H
#define KSPLICE_MATCH_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
#endif

#define KSP_JUMP_SIZE	5	/* e9 rel32 */
#define KSP_SHOWN	16	/* bytes of each side kept with a difference */

enum ksp_reason {
	KSP_MATCHED = 0,
	KSP_BAD_DATA,		/* the match data itself is malformed */
	KSP_NO_MEMORY,
	KSP_NO_CANDIDATE,	/* no symbol of that name */
	KSP_DIFFERENT,		/* every candidate differs */
	KSP_AMBIGUOUS,		/* more than one candidate matches */
	KSP_UNREADABLE,		/* memory could not be read */
	KSP_PROBED,		/* a breakpoint of a kprobe stands in the code */
	KSP_CONFLICT,		/* two uses of a symbol disagree on its value */
	KSP_UNRESOLVED,		/* a symbol that the update needs got no value */
	KSP_NO_ROOM,		/* no room for a jump, and no fentry site */
	KSP_NOT_IN_SEQUENCE,	/* the name exists, but not where the unit's own would be */
	KSP_SEALED,		/* new code takes its address, and an indirect call of it faults */
};

/* Why the match failed and where; valid when ksp_match() is not KSP_MATCHED. */
struct ksp_failure {
	enum ksp_reason reason;
	const char *unit;	/* source file; points into the match data, may be NULL */
	const char *object;	/* the same; NULL if the data is malformed */
	const char *symbol;	/* the symbol at fault, or NULL */
	u64 address;		/* where in the run kernel */
	u32 offset;		/* the same place, from the start of the pre object */
	u32 candidates;		/* how many were tried or survived */
	u8 expected[KSP_SHOWN];
	u8 found[KSP_SHOWN];
	u8 n_expected;
	u8 n_found;
};

/*
 * A function that the update replaces, as it stands in the run kernel: where
 * another update has replaced it, this is that update's code.
 */
struct ksp_function {
	const char *name;	/* points into the match data */
	u64 start;
	u64 end;		/* one past the last byte */
	u64 jump;		/* where the redirect is to be written; 0 if it has no room there */
	u64 fentry;		/* the fentry site; 0 if there is none, but never beside jump 0 */
	u8 bytes[KSP_JUMP_SIZE];	/* what stands at @jump now */
};

/* Text that no thread may be in: replaced functions and their .cold parts. */
struct ksp_range {
	const char *name;	/* points into the match data */
	u64 start;
	u64 end;
	bool ends_in_call;	/* @end may be a return address */
};

/* What a match found out.  Arrays belong to it; ksp_match_free() frees them. */
struct ksp_match {
	u32 n_exports;
	u64 *exports;		/* by export index */
	u32 n_functions;
	struct ksp_function *functions;	/* by redirect index */
	u32 n_ranges;
	struct ksp_range *ranges;
	struct ksp_failure failure;
};

/* An entry of the bug table. */
struct ksp_bug {
	u64 entry;	/* its own address */
	u64 file;	/* address of the name, 0 if the kernel keeps none */
	u64 format;	/* address of the format, 0 if the kernel keeps none */
	u32 line;
	u32 flags;
};

/*
 * The surroundings.  Every callback gets @env back.  Callbacks that look
 * something up return 0 when they found it and a negative errno otherwise.
 */
struct ksp_env {
	/* Copy @n bytes at @address; never faults. */
	int (*read)(struct ksp_env *env, u64 address, void *to, size_t n);
	/* Call @found for each text or data symbol of that exact name; stop
	 * when it returns nonzero.  Init memory that was freed is left out.
	 */
	int (*candidates)(struct ksp_env *env, const char *name,
			  int (*found)(void *arg, u64 address), void *arg);
	/* Where the last symbol at or before @address starts, and where the
	 * next one does.
	 */
	int (*extent)(struct ksp_env *env, u64 address, u64 *start, u64 *end);
	/* The run kernel's __jump_table entry for the site at @code; the key
	 * with its flag bits (bit 0: branch, bit 1: init).
	 */
	int (*jump_entry)(struct ksp_env *env, u64 code, u64 *target, u64 *key);
	/* The run kernel's .static_call_sites entry for the site at @code. */
	int (*static_call_key)(struct ksp_env *env, u64 code, u64 *key);
	/* The run kernel's __bug_table entry for the trap at @code. */
	int (*bug_entry)(struct ksp_env *env, u64 code, struct ksp_bug *bug);
	/* The run kernel's __ex_table entry for the instruction at @code. */
	int (*exception_entry)(struct ksp_env *env, u64 code, u64 *fixup, u32 *data);
	/* How many of those are for code from @start to @end, one past the last byte. */
	u64 (*count_exceptions)(struct ksp_env *env, u64 start, u64 end);
	/* True if a call at the fentry site @site to @target is ftrace's.  Where the
	 * targets are many and not known (trampolines), any call at a site that
	 * ftrace has in its records.
	 */
	bool (*is_ftrace_target)(struct ksp_env *env, u64 site, u64 target);
	/* True if a kprobe's breakpoint or jump stands at @address. */
	bool (*is_probed)(struct ksp_env *env, u64 address);
	/* False if @address is code of a kernel with IBT and an indirect call of
	 * it faults (K22).
	 */
	bool (*has_endbr)(struct ksp_env *env, u64 address);
	/* Where the function whose symbol is at @address has its code now, and
	 * the symbol's address for code at @address: other than the same where
	 * an update is in place.  NULL where none can be.
	 */
	u64 (*code_of)(struct ksp_env *env, u64 address);
	u64 (*symbol_of)(struct ksp_env *env, u64 address);
	/* Zeroed memory, or NULL; may sleep. */
	void *(*alloc)(struct ksp_env *env, size_t size);
	void (*free)(struct ksp_env *env, void *memory);
};

/**
 * ksp_match - match an update against memory
 * @data: the match data (format.h), @size bytes; every index is checked
 * @env: the surroundings
 * @match: the result, to be freed with ksp_match_free() also after a failure
 *
 * Context: may sleep as far as the callbacks do; the caller keeps others from
 * rewriting text meanwhile (K12).
 * Return: KSP_MATCHED or the reason that is also in @match->failure.
 */
enum ksp_reason ksp_match(const void *data, size_t size, struct ksp_env *env,
			  struct ksp_match *match);

/**
 * ksp_match_free - free what a result holds and clear it
 */
void ksp_match_free(struct ksp_env *env, struct ksp_match *match);

#endif
