// SPDX-License-Identifier: GPL-2.0
/*
 * The walk of one object over run bytes, from one address.
 *
 * DOC: how it works
 *
 * Op by op; the first one that does not fit ends the walk.  What it learned of
 * symbols stays known until the caller forgets it.
 */
#include "internal.h"

static void keep_bytes(u8 *to, u8 *count, const u8 *from, size_t n)
{
	*count = n < KSP_SHOWN ? n : KSP_SHOWN;
	if (*count)
		memcpy(to, from, *count);
}

/* The nearest probe, at @address or before it, whose breakpoint or jump may cover @address. */
static u64 probe_near(struct run *run, u64 address)
{
	u64 at;

	for (at = address; address - at < KSP_JUMP_SIZE; at--) {
		if (run->env->is_probed(run->env, at))
			return at;
	}
	return 0;
}

/*
 * The run code differs at @address.  Of all differences that a walk meets (an
 * alternative's variants are tried one after the other) the farthest is told.
 */
enum ksp_reason ksp_differ(struct walk *w, enum ksp_reason reason, u64 address, u32 symbol,
			   const u8 *expected, size_t n)
{
	struct ksp_failure *failure = &w->failure;
	size_t shown = n && n < KSP_SHOWN ? n : KSP_SHOWN;
	u8 found[KSP_SHOWN];

	if (failure->reason != KSP_MATCHED && failure->address > address)
		return reason;
	if (reason == KSP_DIFFERENT && probe_near(w->run, address))
		reason = KSP_PROBED;
	failure->reason = reason;
	failure->address = address;
	failure->offset = w->pre;
	failure->symbol = symbol == KSP_NONE ? NULL : ksp_name_of(w->run, symbol);
	keep_bytes(failure->expected, &failure->n_expected, expected, n);
	while (shown && !ksp_get(w->run, address, found, shown))
		shown--;
	keep_bytes(failure->found, &failure->n_found, found, shown);
	return reason;
}

enum ksp_reason ksp_different(struct walk *w, u32 symbol)
{
	return ksp_differ(w, KSP_DIFFERENT, w->at, symbol, NULL, 0);
}

static enum ksp_reason walk_literal(struct walk *w, const struct ksp_op *op)
{
	const u8 *expected = w->run->bytes + op->value;
	u32 done = 0;

	while (done < op->length) {
		size_t part;
		const u8 *found = ksp_look(w->run, w->at + done, &part);

		if (!found) {
			w->pre += done;
			return ksp_differ(w, KSP_UNREADABLE, w->at + done, KSP_NONE, expected + done,
					  op->length - done);
		}
		part = part < op->length - done ? part : op->length - done;
		if (memcmp(found, expected + done, part)) {
			while (*found == expected[done]) {
				found++;
				done++;
			}
			w->pre += done;
			return ksp_differ(w, KSP_DIFFERENT, w->at + done, KSP_NONE, expected + done,
					  op->length - done);
		}
		done += part;
	}
	w->at += op->length;
	return KSP_MATCHED;
}

static enum ksp_reason walk_byte(struct walk *w, const struct ksp_op *op)
{
	enum ksp_reason reason;
	u8 value;

	if (!ksp_get(w->run, w->at, &value, 1))
		return ksp_differ(w, KSP_UNREADABLE, w->at, op->symbol, NULL, 0);
	reason = ksp_meet(w, op->symbol, value - (u64)op->value);
	w->at++;
	return reason;
}

static enum ksp_reason walk_field(struct walk *w, const struct ksp_op *op)
{
	enum ksp_reason reason;
	u64 value = 0;
	u32 low = 0;
	s32 far = 0;
	bool wide = op->kind == KSP_FIELD_ABS64 || op->kind == KSP_FIELD_PC64;

	if (op->kind == KSP_FIELD_ABS8)
		return walk_byte(w, op);
	if (op->kind == KSP_FIELD_BUG)
		return ksp_walk_bug_field(w, op);
	if (!(wide ? ksp_get_u64(w->run, w->at, &value) : ksp_get_s32(w->run, w->at, &far)))
		return ksp_differ(w, KSP_UNREADABLE, w->at, op->symbol, NULL, 0);
	low = far;
	if (op->kind == KSP_FIELD_ABS32)
		value = low;
	else if (!wide)
		value = (s64)far;
	if (op->kind == KSP_FIELD_PC32 || op->kind == KSP_FIELD_PC64)
		value += w->at;
	reason = ksp_meet(w, op->symbol, value - op->value);
	w->at += wide ? 8 : 4;
	return reason;
}

static void start_walk(struct walk *w, struct run *run, u32 index, u64 address)
{
	memset(w, 0, sizeof(*w));
	w->run = run;
	w->object = &run->objects[index];
	w->start = ksp_code_of(run, address);
	w->at = w->start;
	w->limit = ~0ULL;
}

/*
 * Does @address hold the optional object of @symbol, if it has one?  Of the
 * variants of static_cpu_has several are a jump: it is the one that leads to
 * .altinstr_aux only if that code is there.
 */
static bool leads_to_optional(struct walk *w, u32 symbol, u64 address)
{
	u32 index = w->run->symbols[symbol].object;
	struct walk inner;

	if (w->is_inner || index == KSP_NONE || !(w->run->objects[index].flags & KSP_OBJECT_OPTIONAL))
		return true;
	start_walk(&inner, w->run, index, address);
	inner.is_inner = true;
	return ksp_walk_ops(&inner, w->run->ops + inner.object->op, inner.object->n_ops) == KSP_MATCHED;
}

/*
 * What is left of a jump of @op that apply_alternatives() made shorter: since
 * 6.7 it fills up with breakpoints, before with no-ops.
 */
static u32 jump_padding(struct walk *w, const struct ksp_op *op, u32 length)
{
	u32 i, n = op->length - length;
	u8 found;

	if (op->kind != KSP_BRANCH_JMP || length >= op->length || op->length > 8 || w->limit == ~0ULL || w->at + op->length > w->limit)
		return 0;
	for (i = 0; i < n; i++) {
		if (!ksp_get(w->run, w->at + length + i, &found, 1) || found != 0xcc)
			return 0;
	}
	return n;
}

static enum ksp_reason walk_branch(struct walk *w, const struct ksp_op *op)
{
	u64 target;
	u32 length = ksp_branch_at(w->run, w->at, op->kind, &target);
	enum ksp_reason reason;

	if (!length)
		return ksp_different(w, op->symbol);
	if (op->kind == KSP_BRANCH_CALL)
		target = ksp_called(w->run, target);
	reason = ksp_meet(w, op->symbol, target - op->value);
	if (reason == KSP_MATCHED && !leads_to_optional(w, op->symbol, target - op->value))
		return ksp_different(w, op->symbol);
	w->at += length + jump_padding(w, op, length);
	return reason;
}

/*
 * How many no-ops there are is the assembler's choice, so all of them are
 * taken; but a site behind them may be a no-op too. A no-op that the kernel
 * makes a jump or a call is a site, and none of these.
 */
static void walk_nops(struct walk *w, const struct ksp_op *op, const struct ksp_op *end)
{
	const struct ksp_op *next = op + 1;
	u64 start = w->at, target, key;

	while (next < end && (next->op == KSP_OP_LABEL || next->op == KSP_OP_BUG || next->op == KSP_OP_EXCEPTION))
		next += ksp_extent(next);
	while (w->at - start < KSP_MAX_NOPS) {
		u32 length = ksp_nop_length(w->run, w->at, w->limit);
		u8 code = next < end ? next->op : 0;

		if (!length || !w->run->env->jump_entry(w->run->env, w->at, &target, &key) ||
		    !w->run->env->static_call_key(w->run->env, w->at, &key))
			return;
		if ((code == KSP_OP_ALTERNATIVE || code == KSP_OP_PARAVIRT || code == KSP_OP_FENTRY ||
		     code == KSP_OP_ENDBR) && w->at - start >= op->length)
			return;
		w->at += length;
	}
}

static enum ksp_reason walk_op(struct walk *w, const struct ksp_op *op, const struct ksp_op *end)
{
	switch (op->op) {
	case KSP_OP_LITERAL:
		return walk_literal(w, op);
	case KSP_OP_FIELD:
		return walk_field(w, op);
	case KSP_OP_BRANCH:
		return walk_branch(w, op);
	case KSP_OP_NOPS:
		walk_nops(w, op, end);
		return KSP_MATCHED;
	case KSP_OP_LABEL:
		return ksp_meet(w, op->symbol, w->at);
	case KSP_OP_FENTRY:
		return ksp_walk_fentry(w, op);
	case KSP_OP_ALTERNATIVE:
		return ksp_walk_alternative(w, op);
	case KSP_OP_PARAVIRT:
		return ksp_walk_paravirt(w, op);
	case KSP_OP_LOCK:
		return ksp_walk_lock(w);
	case KSP_OP_JUMP_LABEL:
		return ksp_walk_jump_label(w, op);
	case KSP_OP_STATIC_CALL:
		return ksp_walk_static_call(w, op);
	case KSP_OP_RETPOLINE:
		return ksp_walk_retpoline(w, op);
	case KSP_OP_RETURN:
		return ksp_walk_return(w, op);
	case KSP_OP_ENDBR:
		return ksp_walk_endbr(w);
	case KSP_OP_BUG:
		return ksp_walk_bug(w, op);
	case KSP_OP_EXCEPTION:
		return ksp_walk_exception(w, op);
	}
	return ksp_differ(w, KSP_BAD_DATA, w->at, KSP_NONE, NULL, 0);
}

enum ksp_reason ksp_walk_ops(struct walk *w, const struct ksp_op *op, u32 n)
{
	const struct ksp_op *end = op + n;

	for (; op < end; op += ksp_extent(op)) {
		enum ksp_reason reason;

		if (!w->in_body && op->op != KSP_OP_LABEL && op->op != KSP_OP_FENTRY && op->op != KSP_OP_ENDBR) {
			w->in_body = true;
			w->jump = w->at;
		}
		reason = walk_op(w, op, end);
		if (reason != KSP_MATCHED)
			return reason;
		w->pre += op->length;
	}
	return KSP_MATCHED;
}

enum ksp_reason ksp_walk_object(struct walk *w, struct run *run, u32 index, u64 address)
{
	const struct ksp_object *object = &run->objects[index];
	enum ksp_reason reason;

	start_walk(w, run, index, address);
	reason = ksp_meet(w, object->symbol, address);
	if (reason == KSP_MATCHED)
		reason = ksp_walk_ops(w, run->ops + object->op, object->n_ops);
	if (reason == KSP_MATCHED && object->kind == KSP_OBJECT_TEXT && !ksp_counts_exceptions(w))
		reason = ksp_different(w, KSP_NONE);
	if (reason == KSP_MATCHED && object->function != KSP_NONE) {
		if (!w->in_body)
			w->jump = w->at;
		if (!w->obstacle && w->at - w->jump < KSP_JUMP_SIZE)
			w->obstacle = w->at;
		if (w->obstacle && w->fentry) {
			w->jump = 0;
		} else if (w->obstacle) {
			w->failure.reason = KSP_MATCHED;
			reason = ksp_differ(w, KSP_NO_ROOM, w->jump, KSP_NONE, NULL, 0);
		}
	}
	if (reason == KSP_MATCHED)
		run->matched[index] = (struct matched){ w->at, w->jump, w->fentry };
	return reason;
}
