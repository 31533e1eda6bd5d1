// SPDX-License-Identifier: GPL-2.0
/*
 * Entries of the kernel's tables that say what a trap or a fault means.
 *
 * DOC: how it works
 *
 * Code that is the same but has another entry behaves otherwise: a fault goes
 * to another fixup, a warning becomes a crash.  The op stands before the
 * instruction that the entry is about, and takes no bytes.  That the kernel
 * has an entry where the pre code has none is seen for traps only.
 */
#include "internal.h"

enum ksp_reason ksp_walk_bug(struct walk *w, const struct ksp_op *op)
{
	u32 line = op->value & 0xffff, flags = op->value >> 16 & KSP_BUG_FLAGS;
	struct ksp_bug bug = {};
	bool found = !w->run->env->bug_entry(w->run->env, w->at, &bug);

	if (found != (op->kind != KSP_BUG_NONE))
		return ksp_different(w, op->symbol);
	if (op->kind == KSP_BUG_NONE)
		return KSP_MATCHED;
	if ((bug.flags & KSP_BUG_FLAGS) != flags)
		return ksp_different(w, op->symbol);
	if (op->kind == KSP_BUG_SHORT)
		return KSP_MATCHED;
	return bug.line == line ? ksp_meet(w, op->symbol, bug.file) : ksp_different(w, op->symbol);
}

enum ksp_reason ksp_walk_exception(struct walk *w, const struct ksp_op *op)
{
	u64 fixup;
	u32 data;

	if (w->run->env->exception_entry(w->run->env, w->at, &fixup, &data) || data != (u32)op->value)
		return ksp_different(w, op->symbol);
	return ksp_meet(w, op->symbol, fixup);
}
