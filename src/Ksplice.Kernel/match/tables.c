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
	enum ksp_reason reason;
	bool found = !w->run->env->bug_entry(w->run->env, w->at, &bug);

	if (found != (op->kind != KSP_BUG_NONE))
		return ksp_different(w, op->symbol);
	if (op->kind == KSP_BUG_NONE)
		return KSP_MATCHED;
	if ((bug.flags & KSP_BUG_FLAGS) != flags)
		return ksp_different(w, op->symbol);
	if (op->kind == KSP_BUG_SHORT)
		return KSP_MATCHED;
	if (bug.line != line)
		return ksp_different(w, op->symbol);
	reason = ksp_meet(w, op->symbol, bug.file);
	if (reason == KSP_MATCHED && op->kind == KSP_BUG_FORMAT)
		reason = ksp_meet(w, op[1].symbol, bug.format - op[1].value);
	return reason;
}

/* Code that has the address of an entry: the entry is there, and it is about the place that is meant. */
enum ksp_reason ksp_walk_bug_field(struct walk *w, const struct ksp_op *op)
{
	struct ksp_bug bug = {};
	enum ksp_reason reason;
	u64 entry, code;
	s32 far;

	if (!ksp_get_s32(w->run, w->at, &far))
		return ksp_differ(w, KSP_UNREADABLE, w->at, op->symbol, NULL, 0);
	entry = w->at + (s64)far - op->value;
	if (!ksp_get_s32(w->run, entry, &far))
		return ksp_different(w, op->symbol);
	code = entry + (s64)far;
	if (w->run->env->bug_entry(w->run->env, code, &bug) || bug.entry != entry)
		return ksp_different(w, op->symbol);
	reason = ksp_meet(w, op->symbol, code);
	w->at += sizeof(far);
	return reason;
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
