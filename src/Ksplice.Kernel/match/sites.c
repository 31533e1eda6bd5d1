// SPDX-License-Identifier: GPL-2.0
/*
 * Sites: places that the kernel rewrites in its own text, when it boots or
 * while it runs.
 *
 * DOC: how it works
 *
 * Each walk_ function takes whatever the kernel may have made of its site and
 * nothing else.  What a site leads to is checked against the kernel's own tables
 * and functions.  Where it leads nowhere (an ENDBR, a lock prefix) there is only
 * its spelling.
 *
 * A site that was met in a variant of an alternative that did not match stays in
 * the redirect's way.  That is the safe side: the function tracer leads on
 * instead, or the function is refused.
 */
#include "internal.h"

const u8 ksp_endbr[4] = { 0xf3, 0x0f, 0x1e, 0xfa };

/*
 * A site of @length bytes that the kernel may rewrite at any time must not lie
 * in the bytes that a redirect overwrites.  The function's own branches may
 * lead there: no thread is in the function when the redirect is written, and
 * none gets behind it afterwards.
 */
static void note_live_site(struct walk *w, u32 length)
{
	if (w->in_body && w->at < w->jump + KSP_JUMP_SIZE && w->at + length > w->jump && !w->obstacle)
		w->obstacle = w->at;
}

enum ksp_reason ksp_walk_fentry(struct walk *w, const struct ksp_op *op)
{
	static const u8 nop[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	u8 found[sizeof(nop)];
	u64 target;

	if (!ksp_get(w->run, w->at, found, sizeof(found)))
		return ksp_differ(w, KSP_UNREADABLE, w->at, op->symbol, nop, sizeof(nop));
	if (memcmp(found, nop, sizeof(nop)) &&
	    !(ksp_branch_at(w->run, w->at, KSP_BRANCH_CALL, &target) &&
	      w->run->env->is_ftrace_target(w->run->env, w->at, target)))
		return ksp_differ(w, KSP_DIFFERENT, w->at, op->symbol, nop, sizeof(nop));
	w->fentry = w->at;
	w->at += sizeof(nop);
	return KSP_MATCHED;
}

/* The ops, then no-ops to the site's end. */
static enum ksp_reason walk_padded(struct walk *w, const struct ksp_op *op, u32 n)
{
	enum ksp_reason reason = ksp_walk_ops(w, op, n);

	if (reason != KSP_MATCHED)
		return reason;
	return w->at <= w->limit && ksp_only_nops(w) && w->at == w->limit ? KSP_MATCHED : ksp_different(w, KSP_NONE);
}

enum ksp_reason ksp_walk_alternative(struct walk *w, const struct ksp_op *op)
{
	const struct ksp_op *variant = op + 1, *end = variant + op->value;
	enum ksp_reason reason = KSP_DIFFERENT;
	u64 at = w->at, limit = w->limit;
	u32 pre = w->pre, mark = w->run->n_journal;

	while (variant < end) {
		w->at = at;
		w->pre = pre;
		w->limit = at + op->length;
		reason = walk_padded(w, variant + 1, variant->value);
		if (reason == KSP_MATCHED)
			break;
		ksp_forget(w->run, mark);
		variant += 1 + variant->value;
	}
	w->pre = pre;
	w->limit = limit;
	return reason;
}

enum ksp_reason ksp_walk_paravirt(struct walk *w, const struct ksp_op *op)
{
	u64 at = w->at, limit = w->limit, table, entry, target;
	u32 pre = w->pre, mark = w->run->n_journal, length;
	enum ksp_reason reason;

	w->limit = at + op->length;
	reason = walk_padded(w, op + 1, op->value);
	if (reason == KSP_MATCHED)
		goto out;
	ksp_forget(w->run, mark);
	w->at = at;
	if (w->run->known[op->symbol])
		table = w->run->values[op->symbol];
	else if (ksp_find_unique(w->run, op->symbol, &table) != 1)
		goto out;
	if (!ksp_get_u64(w->run, table + op->kind * sizeof(u64), &entry))
		goto out;
	length = ksp_branch_at(w->run, at, KSP_BRANCH_CALL, &target);
	if (length)
		target = ksp_called(w->run, target);
	if (length && (target == entry || (!entry && ksp_plays(w->run, KSP_ROLE_PARAVIRT_BUG, target))))
		w->at += length;
	else if (!ksp_plays(w->run, KSP_ROLE_PARAVIRT_NOP, entry))
		goto out;
	if (ksp_only_nops(w) && w->at == w->limit)
		reason = KSP_MATCHED;
out:
	w->pre = pre;
	w->limit = limit;
	return reason;
}

enum ksp_reason ksp_walk_lock(struct walk *w)
{
	u8 found, lock = 0xf0;

	if (!ksp_get(w->run, w->at, &found, 1) || (found != 0xf0 && found != 0x3e))
		return ksp_differ(w, KSP_DIFFERENT, w->at, KSP_NONE, &lock, 1);
	/* It becomes f0 when a second processor comes, and is never taken away again. */
	if (found == 0x3e)
		note_live_site(w, 1);
	w->at++;
	return KSP_MATCHED;
}

/* K10: the key stands in the run kernel's own table. */
enum ksp_reason ksp_walk_jump_label(struct walk *w, const struct ksp_op *op)
{
	const struct ksp_op *key_op = op + 1;
	u64 target, key, jump;
	enum ksp_reason reason;
	u32 length;

	if (w->run->env->jump_entry(w->run->env, w->at, &target, &key) || (key & 1) != op->kind)
		return ksp_different(w, key_op->symbol);
	length = ksp_branch_at(w->run, w->at, KSP_BRANCH_JMP, &jump);
	if (length) {
		if (jump != target)
			return ksp_different(w, op->symbol);
	} else {
		length = ksp_nop_length(w->run, w->at, w->limit);
		if (length != 2 && length != 5)
			return ksp_different(w, op->symbol);
	}
	reason = ksp_meet(w, op->symbol, target - op->value);
	if (reason == KSP_MATCHED)
		reason = ksp_meet(w, key_op->symbol, (key & ~3ULL) - key_op->value);
	note_live_site(w, length);
	w->at += length;
	return reason;
}

enum ksp_reason ksp_walk_static_call(struct walk *w, const struct ksp_op *op)
{
	static const u8 nop[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	static const u8 zero[] = { 0x2e, 0x2e, 0x2e, 0x31, 0xc0 };	/* cs cs cs xor eax, eax */
	static const u8 ret[] = { 0xc3, 0xcc, 0xcc, 0xcc, 0xcc };
	static const u8 trap[] = { 0x67, 0x48, 0x0f, 0xb9, 0x3a };	/* ud1 (%edx), %rdi */
	const struct ksp_op *key_op = op + 1;
	enum ksp_reason reason;
	u64 key, function, target;
	u8 found[5];
	u32 length;

	if (w->run->env->static_call_key(w->run->env, w->at, &key) || !ksp_get_u64(w->run, key, &function) ||
	    !ksp_get(w->run, w->at, found, sizeof(found)))
		return ksp_different(w, key_op->symbol);
	length = ksp_branch_at(w->run, w->at, op->kind, &target);
	if (length) {
		if (op->kind == KSP_BRANCH_CALL)
			target = ksp_called(w->run, target);
		/* The call goes to what the key holds, or was never rewritten. */
		if (target != function && !(!function && (ksp_plays(w->run, KSP_ROLE_RETURN_THUNK, target) ||
							  ksp_plays(w->run, KSP_ROLE_STATIC_RETURN, target)))) {
			reason = ksp_meet(w, op->symbol, target - op->value);
			if (reason != KSP_MATCHED)
				return reason;
		}
	} else {
		length = 5;
		if (!(!memcmp(found, nop, 5) && !function) && !(!memcmp(found, ret, 5) && !function) &&
		    !(!memcmp(found, zero, 5) && ksp_plays(w->run, KSP_ROLE_STATIC_RETURN0, function)) &&
		    !(op->kind == KSP_BRANCH_CALL && !memcmp(found, trap, 5) &&
		      ksp_plays(w->run, KSP_ROLE_WARN_TRAP, function)))
			return ksp_different(w, op->symbol);
	}
	reason = ksp_meet(w, key_op->symbol, key - key_op->value);
	note_live_site(w, length);
	w->at += length;
	return reason;
}

enum ksp_reason ksp_walk_retpoline(struct walk *w, const struct ksp_op *op)
{
	bool jump = op->kind == KSP_BRANCH_JMP || op->kind == KSP_BRANCH_CS_JMP;
	u64 at = w->at, end = at + op->length, limit = w->limit, target;
	u32 length = ksp_branch_at(w->run, at, op->kind, &target);
	enum ksp_reason reason;
	u8 code[3];
	bool good;

	if (length && length == op->length) {
		reason = op->kind >= 16 && ksp_is_thunk_of(w->run, target, op->value, jump) ? KSP_MATCHED
											    : ksp_meet(w, op->symbol, target);
		w->at = end;
		return reason;
	}
	if (op->kind < 16 || !ksp_get(w->run, at, code, 3))
		return ksp_different(w, op->symbol);
	if (code[0] == 0x0f && code[1] == 0xae && code[2] == 0xe8) {	/* lfence */
		w->at += 3;
		if (!ksp_get(w->run, w->at, code, 3))
			return ksp_different(w, op->symbol);
	}
	good = true;
	if (op->value >= 8) {
		good = code[0] == 0x41;
		w->at++;
		code[0] = code[1];
		code[1] = code[2];
	}
	good = good && code[0] == 0xff && code[1] == ((jump ? 0xe0 : 0xd0) | (op->value & 7));
	w->at += 2;
	w->limit = end;
	if (good && jump && w->at < end && ksp_get(w->run, w->at, code, 1) && code[0] == 0xcc)
		w->at++;
	good = good && w->at <= end && ksp_only_nops(w) && w->at == end;
	w->limit = limit;
	if (good)
		return KSP_MATCHED;
	w->at = at;
	return ksp_different(w, op->symbol);
}

/* All returns of a kernel jump to one thunk, where it says to which. */
static bool returns_go_to(struct run *run, u64 target)
{
	u64 pointer, thunk;
	u32 i;

	if (!ksp_plays(run, KSP_ROLE_RETURN_THUNK, target))
		return false;
	for (i = 0; i < run->header->n_symbols; i++) {
		if (run->symbols[i].role == KSP_ROLE_RETURN_POINTER &&
		    ksp_find_unique(run, i, &pointer) == 1)
			return ksp_get_u64(run, pointer, &thunk) && thunk == target;
	}
	return true;
}

static bool is_return_thunk(struct run *run, u64 target)
{
	if (run->thunk != target && returns_go_to(run, target))
		run->thunk = target;
	return target && run->thunk == target;
}

enum ksp_reason ksp_walk_return(struct walk *w, const struct ksp_op *op)
{
	u64 at = w->at, target;
	u32 i, length = ksp_branch_at(w->run, at, KSP_BRANCH_JMP, &target);
	u8 code[8];

	if (length == op->length) {
		if (!is_return_thunk(w->run, target))
			return ksp_different(w, op->symbol);
		w->at += length;
		return KSP_MATCHED;
	}
	if (op->length > sizeof(code) || !ksp_get(w->run, at, code, op->length) || code[0] != 0xc3)
		return ksp_different(w, op->symbol);
	for (i = 1; i < op->length; i++) {
		if (code[i] != 0xcc)
			return ksp_different(w, op->symbol);
	}
	w->at += op->length;
	return KSP_MATCHED;
}

enum ksp_reason ksp_walk_endbr(struct walk *w)
{
	static const u8 sealed[] = { 0x66, 0x0f, 0x1f, 0x00 };
	static const u8 newer_sealed[] = { 0x0f, 0x1f, 0x40, 0xd6 };	/* K29 */
	u8 found[4];

	if (!ksp_get(w->run, w->at, found, 4) ||
	    (memcmp(found, ksp_endbr, 4) && memcmp(found, sealed, 4) && memcmp(found, newer_sealed, 4)))
		return ksp_differ(w, KSP_DIFFERENT, w->at, KSP_NONE, ksp_endbr, 4);
	w->at += 4;
	return KSP_MATCHED;
}
