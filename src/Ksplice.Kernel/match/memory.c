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

bool ksp_get(struct run *run, u64 address, void *to, size_t n)
{
	u8 *out = to;

	while (n) {
		u64 block = address & ~(u64)(BLOCK - 1);
		size_t skip = address - block;
		size_t part = BLOCK - skip < n ? BLOCK - skip : n;

		if (run->block != block) {
			run->block = 1;
			if (run->env->read(run->env, block, run->window, BLOCK))
				return false;
			run->block = block;
		}
		memcpy(out, run->window + skip, part);
		out += part;
		address += part;
		n -= part;
	}
	return true;
}

bool ksp_get_u64(struct run *run, u64 address, u64 *value)
{
	return ksp_get(run, address, value, sizeof(*value));
}

bool ksp_get_s32(struct run *run, u64 address, s32 *value)
{
	return ksp_get(run, address, value, sizeof(*value));
}
