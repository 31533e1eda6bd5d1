// SPDX-License-Identifier: GPL-2.0
/*
 * The few x86 instructions that the interpreter must know: no-ops, whose
 * number is the assembler's choice, and relative branches, whose encoding is.
 */
#include "internal.h"

/* The length of the no-op at @address, or 0. */
u32 ksp_nop_length(struct run *run, u64 address, u64 limit)
{
	u8 code[MAX_NOP];
	u32 n, at = 0, length;

	/* No instruction but these begins so; prefixes may be many. */
	if (address >= limit || !ksp_get(run, address, code, 1) ||
	    (code[0] != 0x66 && code[0] != 0x2e && code[0] != 0x90 && code[0] != 0x0f))
		return 0;
	for (n = 1; n < MAX_NOP && address + n < limit && ksp_get(run, address + n, &code[n], 1);)
		n++;
	while (at < n && (code[at] == 0x66 || code[at] == 0x2e))
		at++;
	if (at < n && code[at] == 0x90)
		return at + 1;
	if (at + 2 >= n || code[at] != 0x0f || code[at + 1] != 0x1f || code[at + 2] & 0x38)
		return 0;
	length = at + 3;
	if ((code[at + 2] & 0xc0) != 0xc0 && (code[at + 2] & 7) == 4) {
		if (length >= n)
			return 0;
		if (!(code[at + 2] & 0xc0) && (code[length] & 7) == 5)
			length += 4;
		length++;
	} else if ((code[at + 2] & 0xc7) == 5) {
		length += 4;
	}
	if ((code[at + 2] & 0xc0) == 0x40)
		length++;
	else if ((code[at + 2] & 0xc0) == 0x80)
		length += 4;
	return length <= n ? length : 0;
}

/* No-ops from w->at to w->limit and nothing else? */
bool ksp_only_nops(struct walk *w)
{
	while (w->at < w->limit) {
		u32 length = ksp_nop_length(w->run, w->at, w->limit);

		if (!length)
			return false;
		w->at += length;
	}
	return true;
}

/* Decodes a relative branch of that kind at @at; its length or 0. */
u32 ksp_branch_at(struct run *run, u64 at, u8 kind, u64 *target)
{
	u32 prefix = 0;
	u8 code[2];
	s32 far;

	if (kind == KSP_BRANCH_CS_JMP || kind == KSP_BRANCH_CS_CALL) {
		if (!ksp_get(run, at, code, 1) || code[0] != 0x2e)
			return 0;
		prefix = 1;
		kind = kind == KSP_BRANCH_CS_JMP ? KSP_BRANCH_JMP : KSP_BRANCH_CALL;
	}
	if (!ksp_get(run, at + prefix, code, 2))
		return 0;
	if ((kind < 16 && code[0] == (0x70 | kind)) || (kind == KSP_BRANCH_JMP && code[0] == 0xeb) ||
	    (kind >= KSP_BRANCH_LOOPNE && kind <= KSP_BRANCH_JRCXZ &&
	     code[0] == 0xe0 + kind - KSP_BRANCH_LOOPNE)) {
		*target = at + prefix + 2 + (s64)(signed char)code[1];
		return prefix + 2;
	}
	if (kind < 16 && code[0] == 0x0f && code[1] == (0x80 | kind))
		prefix += 2;
	else if ((kind == KSP_BRANCH_JMP && code[0] == 0xe9) ||
		 (kind == KSP_BRANCH_CALL && code[0] == 0xe8))
		prefix += 1;
	else
		return 0;
	if (!ksp_get_s32(run, at + prefix, &far))
		return 0;
	*target = at + prefix + 4 + (s64)far;
	return prefix + 4;
}
