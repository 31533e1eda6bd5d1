// SPDX-License-Identifier: GPL-2.0
/*
 * Calls and indirect branches that the kernel leads through other code.
 *
 * DOC: call depth tracking (since 6.2, retbleed=stuff)
 *
 * Boot writes one instruction that counts the call into the padding before
 * each function that is called, and has the calls enter there.  Such a call
 * means the function behind that instruction.  The instruction is a copy of
 * the kernel's own template, so that what it counts is compared too.
 *
 * DOC: indirect branches
 *
 * They go to other thunks of the same register than the compiler named: those
 * that count calls stand in tables of the kernel, those against ITS also in
 * memory of their own, and are known by what they do.
 */
#include "internal.h"

#define THUNK_SIZE	32	/* RETPOLINE_THUNK_SIZE */
#define COUNT_SIZE	9	/* sarq $5, %gs:place(%rip) */

static bool find_role(struct run *run, enum ksp_role role, u64 *address)
{
	u32 i;

	for (i = 0; i < run->header->n_symbols; i++) {
		if (run->symbols[i].role == role && ksp_find_unique(run, i, address) == 1)
			return true;
	}
	return false;
}

/* What the instruction that counts a call at @address counts in, or 0. */
static u64 counted_at(struct run *run, u64 address)
{
	static const u8 count[] = { 0x65, 0x48, 0xc1, 0x3d };
	u8 found[COUNT_SIZE];
	s32 place;

	if (!ksp_get(run, address, found, sizeof(found)) || memcmp(found, count, sizeof(count)) ||
	    found[COUNT_SIZE - 1] != 5)
		return 0;
	memcpy(&place, found + sizeof(count), sizeof(place));
	return address + COUNT_SIZE + (s64)place;
}

/* The function that a call of @target calls. */
u64 ksp_called(struct run *run, u64 target)
{
	u64 template;

	if (!run->looked_for_count) {
		run->looked_for_count = true;
		if (find_role(run, KSP_ROLE_CALL_COUNT, &template))
			run->count = counted_at(run, template);
	}
	return run->count && counted_at(run, target) == run->count ? target + COUNT_SIZE : target;
}

/* A jump through register @number and nothing else? */
static bool is_jump_through(struct run *run, u64 address, u32 number)
{
	u32 prefix = number >= 8;
	u8 code[4];

	return ksp_get(run, address, code, prefix + 3) && (!prefix || code[0] == 0x41) && code[prefix] == 0xff &&
	       code[prefix + 1] == (0xe0 | (number & 7)) && code[prefix + 2] == 0xcc;
}

/* Does a branch to @target go where register @number points? */
bool ksp_is_thunk_of(struct run *run, u64 target, u32 number, bool jump)
{
	u64 table;

	if (find_role(run, jump ? KSP_ROLE_JUMP_THUNKS : KSP_ROLE_CALL_THUNKS, &table) &&
	    target == table + number * THUNK_SIZE)
		return true;
	return is_jump_through(run, target, number);
}
