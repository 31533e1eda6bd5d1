// SPDX-License-Identifier: GPL-2.0
/*
 * Entries of the kernel's tables that say what a trap or a fault means.
 *
 * DOC: how it works
 *
 * Code that is the same but has another entry behaves otherwise: a fault goes
 * to another fixup, a warning becomes a crash.  The op stands before the
 * instruction that the entry is about, and takes no bytes.  An entry where the
 * pre code has none is a difference too: every trap has an op that says so, and
 * for faults, which any instruction may take, the entries are counted.
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

/* Has the run kernel as many entries for the walked code as there are ops for them? */
bool ksp_counts_exceptions(const struct walk *w)
{
	const struct ksp_op *op = w->run->ops + w->object->op, *end = op + w->object->n_ops;
	u64 n = 0;

	for (; op < end; op++)
		n += op->op == KSP_OP_EXCEPTION;
	return w->run->env->count_exceptions(w->run->env, w->start, w->at) == n;
}
