/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the interpreter share: the state of one match (struct
 * run), that of one walk of an object (struct walk), and who does what.
 */
#ifndef KSPLICE_MATCH_INTERNAL_H
#define KSPLICE_MATCH_INTERNAL_H

#ifdef __KERNEL__
#include <linux/kernel.h>
#include <linux/string.h>
#else
#include <string.h>
#endif

#include <ksplice/match.h>
#include <ksplice/format.h>

#define BLOCK		64	/* bytes read at once; never crosses a page */
#define MAX_DEPTH	4	/* alternative, variant, paravirt, op */
#define MAX_NOP		15	/* bytes of one instruction */

/* Where an object is in the run kernel. */
struct matched {
	u64 end;		/* one past its last byte */
	u64 jump;		/* of ksp_function */
	u64 fentry;
};

struct run {
	struct ksp_env *env;
	const struct ksp_header *header;
	const struct ksp_symbol *symbols;
	const struct ksp_object *objects;
	const struct ksp_op *ops;
	const struct ksp_place *places;
	const u8 *bytes;
	const char *names;

	u64 *values;		/* by symbol */
	u8 *known;		/* by symbol */
	u32 *journal;		/* symbols in the order in which they became known */
	u32 n_journal;
	u8 *done;		/* by object */
	struct matched *matched;	/* by object: what its last good walk found */

	u64 thunk;		/* where returns were found to go, or 0 */
	u64 count;		/* what calls are counted in, or 0 */
	bool looked_for_count;

	u64 block;		/* address of what is in window, or 1 */
	u8 window[BLOCK];
};

/* One walk of an object over run bytes. */
struct walk {
	struct run *run;
	const struct ksp_object *object;
	u64 start;		/* in the run kernel */
	u64 at;
	u64 limit;		/* the ops must end there */
	u32 pre;		/* offset in the pre object */
	bool is_inner;		/* begun by another walk, to look ahead */
	bool in_body;		/* past the fentry site */
	u64 jump;		/* where the redirect would be written */
	u64 fentry;
	u64 obstacle;		/* what stands in the redirect's way, or 0 */
	struct ksp_failure failure;	/* the mismatch that is farthest from the start */
};

/* data.c */
bool ksp_check_data(struct run *run, const void *data, size_t size);
bool ksp_check_indexes(struct run *run, u8 *seen);
u32 ksp_extent(const struct ksp_op *op);

/* memory.c */
const u8 *ksp_look(struct run *run, u64 address, size_t *n);
bool ksp_get(struct run *run, u64 address, void *to, size_t n);
bool ksp_get_u64(struct run *run, u64 address, u64 *value);
bool ksp_get_s32(struct run *run, u64 address, s32 *value);

/* symbols.c */
const char *ksp_name_of(const struct run *run, u32 symbol);
bool ksp_is_named(struct run *run, const char *name, u64 address);
bool ksp_is_candidate(struct run *run, u32 symbol, u64 address, bool *any);
u32 ksp_find_unique(struct run *run, u32 symbol, u64 *address);
bool ksp_plays(struct run *run, enum ksp_role role, u64 address);
u64 ksp_code_of(struct run *run, u64 address);
enum ksp_reason ksp_meet(struct walk *w, u32 index, u64 value);
void ksp_forget(struct run *run, u32 mark);

/* code.c */
u32 ksp_nop_length(struct run *run, u64 address, u64 limit);
bool ksp_only_nops(struct walk *w);
u32 ksp_branch_at(struct run *run, u64 at, u8 kind, u64 *target);

/* thunks.c */
u64 ksp_called(struct run *run, u64 target);
bool ksp_is_thunk_of(struct run *run, u64 target, u32 number, bool jump);

/* sites.c */
extern const u8 ksp_endbr[4];
enum ksp_reason ksp_walk_fentry(struct walk *w, const struct ksp_op *op);
enum ksp_reason ksp_walk_alternative(struct walk *w, const struct ksp_op *op);
enum ksp_reason ksp_walk_paravirt(struct walk *w, const struct ksp_op *op);
enum ksp_reason ksp_walk_lock(struct walk *w);
enum ksp_reason ksp_walk_jump_label(struct walk *w, const struct ksp_op *op);
enum ksp_reason ksp_walk_static_call(struct walk *w, const struct ksp_op *op);
enum ksp_reason ksp_walk_retpoline(struct walk *w, const struct ksp_op *op);
enum ksp_reason ksp_walk_return(struct walk *w, const struct ksp_op *op);
enum ksp_reason ksp_walk_endbr(struct walk *w);

/* tables.c */
enum ksp_reason ksp_walk_bug(struct walk *w, const struct ksp_op *op);
enum ksp_reason ksp_walk_bug_field(struct walk *w, const struct ksp_op *op);
enum ksp_reason ksp_walk_exception(struct walk *w, const struct ksp_op *op);
bool ksp_counts_exceptions(const struct walk *w);

/* walk.c */
enum ksp_reason ksp_differ(struct walk *w, enum ksp_reason reason, u64 address, u32 symbol,
			   const u8 *expected, size_t n);
enum ksp_reason ksp_different(struct walk *w, u32 symbol);
enum ksp_reason ksp_walk_ops(struct walk *w, const struct ksp_op *op, u32 n);
enum ksp_reason ksp_walk_object(struct walk *w, struct run *run, u32 index, u64 address);

/* settle.c */
enum ksp_reason ksp_settle(struct run *run, struct ksp_match *match);

/* neighbours.c */
bool ksp_is_overridable(const struct run *run, const struct ksp_object *object);
bool ksp_in_sequence(struct run *run, const struct ksp_object *object, u64 address);

/* match.c */
enum ksp_reason ksp_fail(struct run *run, struct ksp_match *match, u32 object,
			 const struct ksp_failure *why, enum ksp_reason reason, u32 candidates);

#endif
