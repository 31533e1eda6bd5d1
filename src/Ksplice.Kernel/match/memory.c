// SPDX-License-Identifier: GPL-2.0
/*
 * Reading run memory.
 *
 * DOC: how it works
 *
 * The surroundings are asked for aligned blocks, and the last one is kept: a
 * walk reads on, a few bytes at a time.  A block never crosses a page, so what
 * is readable is not lost to a hole behind it.
 */
#include "internal.h"

/* The bytes at @address, @n of them up to the end of their block; NULL if they cannot be read. */
const u8 *ksp_look(struct run *run, u64 address, size_t *n)
{
	u64 block = address & ~(u64)(BLOCK - 1);

	if (run->block != block) {
		run->block = 1;
		if (run->env->read(run->env, block, run->window, BLOCK))
			return NULL;
		run->block = block;
	}
	*n = BLOCK - (address - block);
	return run->window + (address - block);
}

bool ksp_get(struct run *run, u64 address, void *to, size_t n)
{
	u8 *out = to;

	while (n) {
		size_t part;
		const u8 *found = ksp_look(run, address, &part);

		if (!found)
			return false;
		part = part < n ? part : n;
		memcpy(out, found, part);
		out += part;
		address += part;
		n -= part;
	}
	return true;
}

bool ksp_get_u64(struct run *run, u64 address, u64 *value)
{
	size_t part;
	const u8 *found = ksp_look(run, address, &part);

	if (!found || part < sizeof(*value))
		return found && ksp_get(run, address, value, sizeof(*value));
	memcpy(value, found, sizeof(*value));
	return true;
}

bool ksp_get_s32(struct run *run, u64 address, s32 *value)
{
	size_t part;
	const u8 *found = ksp_look(run, address, &part);

	if (!found || part < sizeof(*value))
		return found && ksp_get(run, address, value, sizeof(*value));
	memcpy(value, found, sizeof(*value));
	return true;
}
