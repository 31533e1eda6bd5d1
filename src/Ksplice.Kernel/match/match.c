// SPDX-License-Identifier: GPL-2.0
/*
 * Run-pre matching: finds the pre code of an update in running memory.
 *
 * DOC: how it works
 *
 * Each object of the match data (format.h) is walked over the run bytes from
 * a candidate address, op by op.  Whatever an op refers to is a symbol; the
 * first op that meets a symbol gives it its value, every later one must agree.
 * The values that a walk found are kept only if the walk reaches the object's
 * end, so a wrong candidate leaves no trace.  An object is settled when one
 * candidate, and only one, survives; since a settled object fixes symbols of
 * others, the objects are tried in rounds until nothing changes any more
 * (Arnold & Kaashoek, EuroSys 2009, section 4).
 *
 * DOC: context
 *
 * Pure computation over what struct ksp_env offers; no locks, no globals.  It
 * may sleep where the callbacks do.  The match data is checked once, at the
 * start, and every walk relies on that.  Matching/MatchInterpreter.cs is the
 * same algorithm in C#; tests hold the two against each other.
 */
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

struct run {
	struct ksp_env *env;
	const struct ksp_header *header;
	const struct ksp_symbol *symbols;
	const struct ksp_object *objects;
	const struct ksp_op *ops;
	const u8 *bytes;
	const char *names;

	u64 *values;		/* by symbol */
	u8 *known;		/* by symbol */
	u32 *journal;		/* symbols in the order in which they became known */
	u32 n_journal;
	u8 *done;		/* by object */
	u64 *ends;		/* by object: one past its last run byte */

	u64 block;		/* address of what is in window, or 1 */
	u8 window[BLOCK];
};

/* One walk of an object over run bytes. */
struct walk {
	struct run *run;
	const struct ksp_object *object;
	u64 at;			/* in the run kernel */
	u64 limit;		/* the ops must end there */
	u32 pre;		/* offset in the pre object */
	bool in_body;		/* past the fentry site */
	u64 jump;		/* where the redirect would be written */
	u64 fentry;
	u64 obstacle;		/* what stands in the redirect's way, or 0 */
	struct ksp_failure failure;	/* the mismatch that is farthest from the start */
};

static const char *name_of(const struct run *run, u32 symbol)
{
	const char *name = run->names + run->symbols[symbol].name;

	return *name ? name : NULL;
}

/* ---- memory ---- */

static bool get(struct run *run, u64 address, void *to, size_t n)
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

static bool get_u64(struct run *run, u64 address, u64 *value)
{
	return get(run, address, value, sizeof(*value));
}

static bool get_s32(struct run *run, u64 address, s32 *value)
{
	return get(run, address, value, sizeof(*value));
}

/* ---- failures ---- */

static void keep_bytes(u8 *to, u8 *count, const u8 *from, size_t n)
{
	*count = n < KSP_SHOWN ? n : KSP_SHOWN;
	if (*count)
		memcpy(to, from, *count);
}

/* The first address of an instruction that may cover @address and is probed. */
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
static enum ksp_reason differ(struct walk *w, enum ksp_reason reason, u64 address, u32 symbol,
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
	failure->symbol = symbol == KSP_NONE ? NULL : name_of(w->run, symbol);
	keep_bytes(failure->expected, &failure->n_expected, expected, n);
	while (shown && !get(w->run, address, found, shown))
		shown--;
	keep_bytes(failure->found, &failure->n_found, found, shown);
	return reason;
}

static enum ksp_reason different(struct walk *w, u32 symbol)
{
	return differ(w, KSP_DIFFERENT, w->at, symbol, NULL, 0);
}

/* ---- symbols ---- */

struct check {
	u64 address;
	bool any;
	bool same;
};

static int compare_candidate(void *arg, u64 address)
{
	struct check *check = arg;

	check->any = true;
	check->same = address == check->address;
	return check->same;
}

/* True if @address is one of the symbols of that name. */
static bool is_candidate(struct run *run, u32 symbol, u64 address, bool *any)
{
	const char *name = name_of(run, symbol);
	struct check check = { .address = address };

	if (name)
		run->env->candidates(run->env, name, compare_candidate, &check);
	*any = check.any;
	return check.same;
}

struct unique {
	u64 address;
	u32 n;
};

static int count_candidate(void *arg, u64 address)
{
	struct unique *unique = arg;

	if (!unique->n || unique->address != address)
		unique->n++;
	unique->address = address;
	return unique->n > 1;
}

static u32 find_unique(struct run *run, u32 symbol, u64 *address)
{
	const char *name = name_of(run, symbol);
	struct unique unique = {};

	if (name)
		run->env->candidates(run->env, name, count_candidate, &unique);
	*address = unique.address;
	return unique.n;
}

/* True if @address is a function of the kernel that plays @role. */
static bool plays(struct run *run, enum ksp_role role, u64 address)
{
	bool any;
	u32 i;

	for (i = 0; i < run->header->n_symbols; i++) {
		if (run->symbols[i].role == role && is_candidate(run, i, address, &any))
			return true;
	}
	return false;
}

static bool holds(struct run *run, const struct ksp_symbol *symbol, u64 address)
{
	const u8 *content = run->bytes + symbol->content;
	u32 done = 0;
	u8 found[BLOCK];

	while (done < symbol->content_size) {
		u32 part = symbol->content_size - done < BLOCK ? symbol->content_size - done : BLOCK;

		if (!get(run, address + done, found, part) || memcmp(content + done, found, part))
			return false;
		done += part;
	}
	return true;
}

/* The op at hand says that @symbol is at @value. */
static enum ksp_reason meet(struct walk *w, u32 index, u64 value)
{
	const struct ksp_symbol *symbol = &w->run->symbols[index];
	bool any;

	/* Equal content may stand at several places. */
	if (symbol->kind == KSP_SYMBOL_CONTENT) {
		if (!holds(w->run, symbol, value))
			return differ(w, KSP_DIFFERENT, w->at, index, w->run->bytes + symbol->content,
				      symbol->content_size);
		if (w->run->known[index])
			return KSP_MATCHED;
	}
	if (w->run->known[index]) {
		if (w->run->values[index] == value)
			return KSP_MATCHED;
		return differ(w, KSP_CONFLICT, w->at, index, (u8 *)&w->run->values[index], sizeof(u64));
	}
	if (symbol->flags & KSP_SYMBOL_NAMED && !is_candidate(w->run, index, value, &any) && any)
		return differ(w, KSP_CONFLICT, w->at, index, NULL, 0);
	w->run->known[index] = 1;
	w->run->values[index] = value;
	w->run->journal[w->run->n_journal++] = index;
	return KSP_MATCHED;
}

static void forget(struct run *run, u32 mark)
{
	while (run->n_journal > mark)
		run->known[run->journal[--run->n_journal]] = 0;
}

/* ---- instructions ---- */

/* The length of the no-op at @address, or 0. */
static u32 nop_length(struct run *run, u64 address, u64 limit)
{
	u8 code[MAX_NOP];
	u32 n = 0, at = 0, length;

	while (n < MAX_NOP && address + n < limit && get(run, address + n, &code[n], 1))
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
static bool only_nops(struct walk *w)
{
	while (w->at < w->limit) {
		u32 length = nop_length(w->run, w->at, w->limit);

		if (!length)
			return false;
		w->at += length;
	}
	return true;
}

/* Decodes a relative branch of that kind at @at; its length or 0. */
static u32 branch_at(struct run *run, u64 at, u8 kind, u64 *target)
{
	u32 prefix = 0;
	u8 code[2];
	s32 far;

	if (kind == KSP_BRANCH_CS_JMP || kind == KSP_BRANCH_CS_CALL) {
		if (!get(run, at, code, 1) || code[0] != 0x2e)
			return 0;
		prefix = 1;
		kind = kind == KSP_BRANCH_CS_JMP ? KSP_BRANCH_JMP : KSP_BRANCH_CALL;
	}
	if (!get(run, at + prefix, code, 2))
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
	if (!get_s32(run, at + prefix, &far))
		return 0;
	*target = at + prefix + 4 + (s64)far;
	return prefix + 4;
}

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

/* ---- ops ---- */

static enum ksp_reason walk_ops(struct walk *w, const struct ksp_op *op, u32 n);

static enum ksp_reason walk_literal(struct walk *w, const struct ksp_op *op)
{
	const u8 *expected = w->run->bytes + op->value;
	u32 done = 0, i;
	u8 found[BLOCK];

	while (done < op->length) {
		u32 part = op->length - done < BLOCK ? op->length - done : BLOCK;

		if (!get(w->run, w->at + done, found, part)) {
			w->pre += done;
			return differ(w, KSP_UNREADABLE, w->at + done, KSP_NONE, expected + done, part);
		}
		for (i = 0; i < part; i++) {
			if (found[i] == expected[done + i])
				continue;
			w->pre += done + i;
			return differ(w, KSP_DIFFERENT, w->at + done + i, KSP_NONE,
				      expected + done + i, op->length - done - i);
		}
		done += part;
	}
	w->at += op->length;
	return KSP_MATCHED;
}

static enum ksp_reason walk_field(struct walk *w, const struct ksp_op *op)
{
	enum ksp_reason reason;
	u64 value = 0;
	u32 low = 0;
	s32 far = 0;
	bool wide = op->kind == KSP_FIELD_ABS64 || op->kind == KSP_FIELD_PC64;

	if (!(wide ? get_u64(w->run, w->at, &value) : get_s32(w->run, w->at, &far)))
		return differ(w, KSP_UNREADABLE, w->at, op->symbol, NULL, 0);
	low = far;
	if (op->kind == KSP_FIELD_ABS32)
		value = low;
	else if (!wide)
		value = (s64)far;
	if (op->kind == KSP_FIELD_PC32 || op->kind == KSP_FIELD_PC64)
		value += w->at;
	reason = meet(w, op->symbol, value - op->value);
	w->at += wide ? 8 : 4;
	return reason;
}

static enum ksp_reason walk_branch(struct walk *w, const struct ksp_op *op)
{
	u64 target;
	u32 length = branch_at(w->run, w->at, op->kind, &target);
	enum ksp_reason reason;

	if (!length)
		return different(w, op->symbol);
	reason = meet(w, op->symbol, target - op->value);
	w->at += length;
	return reason;
}

/*
 * How many no-ops there are is the assembler's choice, so all of them are
 * taken; but a site behind them may be a no-op too.
 */
static void walk_nops(struct walk *w, const struct ksp_op *op, const struct ksp_op *end)
{
	const struct ksp_op *next = op + 1;
	u64 start = w->at, target, key;

	while (next < end && next->op == KSP_OP_LABEL)
		next++;
	while (w->at - start < KSP_MAX_NOPS) {
		u32 length = nop_length(w->run, w->at, w->limit);
		u8 code = next < end ? next->op : 0;

		if (!length)
			return;
		if (code == KSP_OP_JUMP_LABEL && !w->run->env->jump_entry(w->run->env, w->at, &target, &key))
			return;
		if (code == KSP_OP_STATIC_CALL && !w->run->env->static_call_key(w->run->env, w->at, &key))
			return;
		if ((code == KSP_OP_ALTERNATIVE || code == KSP_OP_PARAVIRT || code == KSP_OP_FENTRY ||
		     code == KSP_OP_ENDBR) && w->at - start >= op->length)
			return;
		w->at += length;
	}
}

static enum ksp_reason walk_fentry(struct walk *w, const struct ksp_op *op)
{
	static const u8 nop[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	u8 found[sizeof(nop)];
	u64 target;

	if (!get(w->run, w->at, found, sizeof(found)))
		return differ(w, KSP_UNREADABLE, w->at, op->symbol, nop, sizeof(nop));
	if (memcmp(found, nop, sizeof(nop)) &&
	    !(branch_at(w->run, w->at, KSP_BRANCH_CALL, &target) &&
	      w->run->env->is_ftrace_target(w->run->env, w->at, target)))
		return differ(w, KSP_DIFFERENT, w->at, op->symbol, nop, sizeof(nop));
	w->fentry = w->at;
	w->at += sizeof(nop);
	return KSP_MATCHED;
}

/* The ops, then no-ops to the site's end. */
static enum ksp_reason walk_padded(struct walk *w, const struct ksp_op *op, u32 n)
{
	enum ksp_reason reason = walk_ops(w, op, n);

	if (reason != KSP_MATCHED)
		return reason;
	return w->at <= w->limit && only_nops(w) && w->at == w->limit ? KSP_MATCHED : different(w, KSP_NONE);
}

static enum ksp_reason walk_alternative(struct walk *w, const struct ksp_op *op)
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
		forget(w->run, mark);
		variant += 1 + variant->value;
	}
	w->pre = pre;
	w->limit = limit;
	return reason;
}

static enum ksp_reason walk_paravirt(struct walk *w, const struct ksp_op *op)
{
	u64 at = w->at, limit = w->limit, table, entry, target;
	u32 pre = w->pre, mark = w->run->n_journal, length;
	enum ksp_reason reason;

	w->limit = at + op->length;
	reason = walk_padded(w, op + 1, op->value);
	if (reason == KSP_MATCHED)
		goto out;
	forget(w->run, mark);
	w->at = at;
	if (w->run->known[op->symbol])
		table = w->run->values[op->symbol];
	else if (find_unique(w->run, op->symbol, &table) != 1)
		goto out;
	if (!get_u64(w->run, table + op->kind * sizeof(u64), &entry))
		goto out;
	length = branch_at(w->run, at, KSP_BRANCH_CALL, &target);
	if (length && (target == entry || (!entry && plays(w->run, KSP_ROLE_PARAVIRT_BUG, target))))
		w->at += length;
	else if (!plays(w->run, KSP_ROLE_PARAVIRT_NOP, entry))
		goto out;
	if (only_nops(w) && w->at == w->limit)
		reason = KSP_MATCHED;
out:
	w->pre = pre;
	w->limit = limit;
	return reason;
}

static enum ksp_reason walk_lock(struct walk *w)
{
	u8 found, lock = 0xf0;

	if (!get(w->run, w->at, &found, 1) || (found != 0xf0 && found != 0x3e))
		return differ(w, KSP_DIFFERENT, w->at, KSP_NONE, &lock, 1);
	w->at++;
	return KSP_MATCHED;
}

/* K10: the key stands in the run kernel's own table. */
static enum ksp_reason walk_jump_label(struct walk *w, const struct ksp_op *op)
{
	const struct ksp_op *key_op = op + 1;
	u64 target, key, jump;
	enum ksp_reason reason;
	u32 length;

	if (w->run->env->jump_entry(w->run->env, w->at, &target, &key) || (key & 1) != op->kind)
		return different(w, key_op->symbol);
	length = branch_at(w->run, w->at, KSP_BRANCH_JMP, &jump);
	if (length) {
		if (jump != target)
			return different(w, op->symbol);
	} else {
		length = nop_length(w->run, w->at, w->limit);
		if (length != 2 && length != 5)
			return different(w, op->symbol);
	}
	reason = meet(w, op->symbol, target - op->value);
	if (reason == KSP_MATCHED)
		reason = meet(w, key_op->symbol, (key & ~3ULL) - key_op->value);
	note_live_site(w, length);
	w->at += length;
	return reason;
}

static enum ksp_reason walk_static_call(struct walk *w, const struct ksp_op *op)
{
	static const u8 nop[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };
	static const u8 zero[] = { 0x2e, 0x2e, 0x2e, 0x31, 0xc0 };	/* cs cs cs xor eax, eax */
	static const u8 ret[] = { 0xc3, 0xcc, 0xcc, 0xcc, 0xcc };
	const struct ksp_op *key_op = op + 1;
	enum ksp_reason reason;
	u64 key, function, target;
	u8 found[5];
	u32 length;

	if (w->run->env->static_call_key(w->run->env, w->at, &key) || !get_u64(w->run, key, &function) ||
	    !get(w->run, w->at, found, sizeof(found)))
		return different(w, key_op->symbol);
	length = branch_at(w->run, w->at, op->kind, &target);
	if (length) {
		/* The call goes to what the key holds, or was never rewritten. */
		if (target != function && !(!function && (plays(w->run, KSP_ROLE_RETURN_THUNK, target) ||
							  plays(w->run, KSP_ROLE_STATIC_RETURN, target)))) {
			reason = meet(w, op->symbol, target - op->value);
			if (reason != KSP_MATCHED)
				return reason;
		}
	} else {
		length = 5;
		if (!(!memcmp(found, nop, 5) && !function) && !(!memcmp(found, ret, 5) && !function) &&
		    !(!memcmp(found, zero, 5) && plays(w->run, KSP_ROLE_STATIC_RETURN0, function)))
			return different(w, op->symbol);
	}
	reason = meet(w, key_op->symbol, key - key_op->value);
	note_live_site(w, length);
	w->at += length;
	return reason;
}

static enum ksp_reason walk_retpoline(struct walk *w, const struct ksp_op *op)
{
	bool jump = op->kind == KSP_BRANCH_JMP || op->kind == KSP_BRANCH_CS_JMP;
	u64 at = w->at, end = at + op->length, limit = w->limit, target;
	u32 length = branch_at(w->run, at, op->kind, &target);
	enum ksp_reason reason;
	u8 code[3];
	bool good;

	if (length && length == op->length) {
		reason = meet(w, op->symbol, target);
		w->at = end;
		return reason;
	}
	if (op->kind < 16 || !get(w->run, at, code, 3))
		return different(w, op->symbol);
	if (code[0] == 0x0f && code[1] == 0xae && code[2] == 0xe8) {	/* lfence */
		w->at += 3;
		if (!get(w->run, w->at, code, 3))
			return different(w, op->symbol);
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
	if (good && jump && w->at < end && get(w->run, w->at, code, 1) && code[0] == 0xcc)
		w->at++;
	good = good && w->at <= end && only_nops(w) && w->at == end;
	w->limit = limit;
	if (good)
		return KSP_MATCHED;
	w->at = at;
	return different(w, op->symbol);
}

static enum ksp_reason walk_return(struct walk *w, const struct ksp_op *op)
{
	u64 at = w->at, target;
	u32 i, length = branch_at(w->run, at, KSP_BRANCH_JMP, &target);
	u8 code[8];

	if (length == op->length) {
		if (!plays(w->run, KSP_ROLE_RETURN_THUNK, target))
			return different(w, op->symbol);
		w->at += length;
		return KSP_MATCHED;
	}
	if (op->length > sizeof(code) || !get(w->run, at, code, op->length) || code[0] != 0xc3)
		return different(w, op->symbol);
	for (i = 1; i < op->length; i++) {
		if (code[i] != 0xcc)
			return different(w, op->symbol);
	}
	w->at += op->length;
	return KSP_MATCHED;
}

static enum ksp_reason walk_endbr(struct walk *w)
{
	static const u8 endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	static const u8 sealed[] = { 0x66, 0x0f, 0x1f, 0x00 };
	u8 found[4];

	if (!get(w->run, w->at, found, 4) || (memcmp(found, endbr, 4) && memcmp(found, sealed, 4)))
		return differ(w, KSP_DIFFERENT, w->at, KSP_NONE, endbr, 4);
	w->at += 4;
	return KSP_MATCHED;
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
		return meet(w, op->symbol, w->at);
	case KSP_OP_FENTRY:
		return walk_fentry(w, op);
	case KSP_OP_ALTERNATIVE:
		return walk_alternative(w, op);
	case KSP_OP_PARAVIRT:
		return walk_paravirt(w, op);
	case KSP_OP_LOCK:
		return walk_lock(w);
	case KSP_OP_JUMP_LABEL:
		return walk_jump_label(w, op);
	case KSP_OP_STATIC_CALL:
		return walk_static_call(w, op);
	case KSP_OP_RETPOLINE:
		return walk_retpoline(w, op);
	case KSP_OP_RETURN:
		return walk_return(w, op);
	case KSP_OP_ENDBR:
		return walk_endbr(w);
	}
	return differ(w, KSP_BAD_DATA, w->at, KSP_NONE, NULL, 0);
}

/* How many ops an op and what belongs to it take. */
static u32 extent(const struct ksp_op *op)
{
	switch (op->op) {
	case KSP_OP_ALTERNATIVE:
	case KSP_OP_VARIANT:
	case KSP_OP_PARAVIRT:
		return 1 + op->value;
	case KSP_OP_JUMP_LABEL:
	case KSP_OP_STATIC_CALL:
		return 2;
	default:
		return 1;
	}
}

static enum ksp_reason walk_ops(struct walk *w, const struct ksp_op *op, u32 n)
{
	const struct ksp_op *end = op + n;

	for (; op < end; op += extent(op)) {
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

static enum ksp_reason walk_object(struct walk *w, struct run *run, u32 index, u64 address)
{
	const struct ksp_object *object = &run->objects[index];
	enum ksp_reason reason;

	memset(w, 0, sizeof(*w));
	w->run = run;
	w->object = object;
	w->at = address;
	w->limit = ~0ULL;
	reason = meet(w, object->symbol, address);
	if (reason == KSP_MATCHED)
		reason = walk_ops(w, run->ops + object->op, object->n_ops);
	if (reason == KSP_MATCHED && object->function != KSP_NONE) {
		if (!w->in_body)
			w->jump = w->at;
		if (!w->obstacle && w->at - w->jump < KSP_JUMP_SIZE)
			w->obstacle = w->at;
		if (w->obstacle) {
			w->failure.reason = KSP_MATCHED;
			reason = differ(w, KSP_NO_ROOM, w->jump, KSP_NONE, NULL, 0);
		}
	}
	if (reason == KSP_MATCHED)
		run->ends[index] = w->at;
	return reason;
}

/* ---- rounds ---- */

struct list {
	struct ksp_env *env;
	u64 *items;
	u32 n;
	u32 capacity;
	bool failed;
};

static int add_candidate(void *arg, u64 address)
{
	struct list *list = arg;
	u32 i;

	for (i = 0; i < list->n; i++) {
		if (list->items[i] == address)
			return 0;
	}
	if (list->n == list->capacity) {
		u32 capacity = list->capacity ? 2 * list->capacity : 16;
		u64 *items = list->env->alloc(list->env, capacity * sizeof(u64));

		if (!items) {
			list->failed = true;
			return 1;
		}
		if (list->n)
			memcpy(items, list->items, list->n * sizeof(u64));
		list->env->free(list->env, list->items);
		list->items = items;
		list->capacity = capacity;
	}
	list->items[list->n++] = address;
	return 0;
}

static enum ksp_reason fail(struct run *run, struct ksp_match *match, u32 object, const struct ksp_failure *why,
			    enum ksp_reason reason, u32 candidates)
{
	if (why)
		match->failure = *why;
	match->failure.reason = reason;
	match->failure.candidates = candidates;
	match->failure.object = run->names + run->objects[object].name;
	match->failure.unit = run->names + run->objects[object].unit;
	return reason;
}

/*
 * Tries every symbol of the object's name.  @survivors is how many matched;
 * with one, the object is settled.
 */
static enum ksp_reason try_candidates(struct run *run, struct ksp_match *match, u32 index, u32 *survivors)
{
	struct list list = { .env = run->env };
	const struct ksp_object *object = &run->objects[index];
	const char *name = name_of(run, object->symbol);
	struct ksp_failure farthest = {};
	u64 survivor = 0;
	u32 i, mark = run->n_journal, best = 0;
	enum ksp_reason reason = KSP_MATCHED;

	*survivors = 0;
	if (name)
		run->env->candidates(run->env, name, add_candidate, &list);
	if (list.failed) {
		reason = fail(run, match, index, NULL, KSP_NO_MEMORY, list.n);
		goto out;
	}
	if (!list.n) {
		match->failure.symbol = name;
		reason = fail(run, match, index, NULL, KSP_NO_CANDIDATE, 0);
		goto out;
	}
	for (i = 0; i < list.n; i++) {
		struct walk w;

		if (walk_object(&w, run, index, list.items[i]) == KSP_MATCHED) {
			survivor = list.items[i];
			++*survivors;
		} else if (!i || w.failure.address - list.items[i] >= best) {
			best = w.failure.address - list.items[i];
			farthest = w.failure;
		}
		forget(run, mark);
	}
	if (!*survivors) {
		reason = fail(run, match, index, &farthest, farthest.reason, list.n);
	} else if (*survivors == 1) {
		struct walk w;

		reason = walk_object(&w, run, index, survivor);
		run->done[index] = 1;
	}
out:
	run->env->free(run->env, list.items);
	return reason;
}

static enum ksp_reason settle(struct run *run, struct ksp_match *match)
{
	u32 i, pending, pending_survivors = 0, settled, first = 0;

	do {
		pending = 0;
		settled = 0;
		for (i = 0; i < run->header->n_objects; i++) {
			const struct ksp_object *object = &run->objects[i];
			enum ksp_reason reason = KSP_MATCHED;
			u32 survivors = 0;

			if (run->done[i])
				continue;
			if (run->known[object->symbol]) {
				struct walk w;

				reason = walk_object(&w, run, i, run->values[object->symbol]);
				if (reason != KSP_MATCHED)
					return fail(run, match, i, &w.failure, w.failure.reason, 1);
				run->done[i] = 1;
			} else if (object->kind == KSP_OBJECT_TEXT) {
				reason = try_candidates(run, match, i, &survivors);
				if (reason != KSP_MATCHED)
					return reason;
			}
			if (run->done[i]) {
				settled++;
			} else if (!pending++) {
				first = i;
				pending_survivors = survivors;
			}
		}
	} while (pending && settled);
	if (!pending)
		return KSP_MATCHED;
	match->failure.symbol = name_of(run, run->objects[first].symbol);
	return fail(run, match, first, NULL, pending_survivors ? KSP_AMBIGUOUS : KSP_UNRESOLVED, pending_survivors);
}

/* ---- the result ---- */

static enum ksp_reason fill_exports(struct run *run, struct ksp_match *match)
{
	u32 i;

	for (i = 0; i < run->header->n_symbols; i++) {
		const struct ksp_symbol *symbol = &run->symbols[i];
		u32 n;

		if (symbol->export == KSP_NONE)
			continue;
		if (run->known[i]) {
			match->exports[symbol->export] = run->values[i];
			continue;
		}
		n = symbol->flags & KSP_SYMBOL_BY_NAME ? find_unique(run, i, &match->exports[symbol->export]) : 0;
		if (n == 1)
			continue;
		match->failure.reason = n ? KSP_AMBIGUOUS : KSP_UNRESOLVED;
		match->failure.symbol = name_of(run, i);
		match->failure.candidates = n;
		return match->failure.reason;
	}
	return KSP_MATCHED;
}

static enum ksp_reason fill_functions(struct run *run, struct ksp_match *match)
{
	u32 i, mark = run->n_journal;

	for (i = 0; i < run->header->n_objects; i++) {
		const struct ksp_object *object = &run->objects[i];
		u64 start = run->values[object->symbol];
		struct ksp_range *range;

		if (!(object->flags & KSP_OBJECT_REPLACED))
			continue;
		range = &match->ranges[match->n_ranges++];
		range->name = run->names + object->name;
		range->start = start;
		range->end = run->ends[i];
		if (object->function != KSP_NONE) {
			struct ksp_function *function = &match->functions[object->function];
			struct walk w;
			enum ksp_reason reason = walk_object(&w, run, i, start);

			if (reason != KSP_MATCHED)
				return fail(run, match, i, &w.failure, reason, 1);
			forget(run, mark);
			function->name = range->name;
			function->start = start;
			function->end = range->end;
			function->jump = w.jump;
			function->fentry = w.fentry;
			if (!get(run, w.jump, function->bytes, KSP_JUMP_SIZE))
				return fail(run, match, i, NULL, KSP_UNREADABLE, 1);
		}
	}
	return KSP_MATCHED;
}

/* ---- the match data ---- */

static bool table_fits(const struct ksp_header *header, u32 offset, u32 n, u32 each, u32 alignment)
{
	return offset >= sizeof(*header) && offset <= header->size && offset % alignment == 0 &&
	       n <= (header->size - offset) / each;
}

static bool check_ops(const struct run *run, u32 first, u32 n, u32 depth)
{
	u32 i = first, end = first + n;

	if (depth > MAX_DEPTH)
		return false;
	while (i < end) {
		const struct ksp_op *op = &run->ops[i];
		u32 left = end - i - 1, part;
		bool symbol = op->symbol < run->header->n_symbols;

		switch (op->op) {
		case KSP_OP_LITERAL:
			if (op->value < 0 || op->value > run->header->n_bytes ||
			    op->length > run->header->n_bytes - op->value)
				return false;
			break;
		case KSP_OP_FIELD:
			if (!symbol || op->kind > KSP_FIELD_PC64)
				return false;
			break;
		case KSP_OP_BRANCH:
		case KSP_OP_RETPOLINE:
			if (!symbol || op->kind > KSP_BRANCH_CS_CALL)
				return false;
			if (op->op == KSP_OP_RETPOLINE && (op->value < 0 || op->value > 15))
				return false;
			break;
		case KSP_OP_LABEL:
		case KSP_OP_FENTRY:
		case KSP_OP_RETURN:
			if (!symbol)
				return false;
			break;
		case KSP_OP_NOPS:
		case KSP_OP_LOCK:
		case KSP_OP_ENDBR:
			break;
		case KSP_OP_ALTERNATIVE:
			if (op->value < 1 || op->value > left)
				return false;
			for (part = 0; part < op->value; part += 1 + run->ops[i + 1 + part].value) {
				const struct ksp_op *variant = &run->ops[i + 1 + part];

				if (variant->op != KSP_OP_VARIANT || variant->value < 0 ||
				    variant->value > op->value - part - 1 ||
				    !check_ops(run, i + 2 + part, variant->value, depth + 1))
					return false;
			}
			break;
		case KSP_OP_PARAVIRT:
			if (!symbol || op->value < 0 || op->value > left ||
			    !check_ops(run, i + 1, op->value, depth + 1))
				return false;
			break;
		case KSP_OP_JUMP_LABEL:
		case KSP_OP_STATIC_CALL:
			if (!symbol || left < 1 || op[1].op != KSP_OP_KEY || op[1].length ||
			    op[1].symbol >= run->header->n_symbols || op->kind > KSP_BRANCH_CS_CALL)
				return false;
			break;
		default:
			return false;
		}
		i += extent(op);
	}
	return true;
}

static bool check_data(struct run *run, const void *data, size_t size)
{
	const struct ksp_header *header = data;
	u32 i, exports = 0, functions = 0;

	if (size < sizeof(*header) || header->magic != KSP_MATCH_MAGIC || header->version != KSP_MATCH_VERSION ||
	    header->size != size || !table_fits(header, header->symbols, header->n_symbols, sizeof(struct ksp_symbol), 8) ||
	    !table_fits(header, header->objects, header->n_objects, sizeof(struct ksp_object), 8) ||
	    !table_fits(header, header->ops, header->n_ops, sizeof(struct ksp_op), 8) ||
	    !table_fits(header, header->bytes, header->n_bytes, 1, 1) ||
	    !table_fits(header, header->names, header->n_names, 1, 1) || !header->n_names ||
	    header->n_exports > header->n_symbols || header->n_functions > header->n_objects)
		return false;
	run->header = header;
	run->symbols = data + header->symbols;
	run->objects = data + header->objects;
	run->ops = data + header->ops;
	run->bytes = data + header->bytes;
	run->names = data + header->names;
	if (run->names[header->n_names - 1])
		return false;
	for (i = 0; i < header->n_symbols; i++) {
		const struct ksp_symbol *symbol = &run->symbols[i];

		if (symbol->name >= header->n_names || symbol->kind > KSP_SYMBOL_CONTENT ||
		    (symbol->object != KSP_NONE && symbol->object >= header->n_objects) ||
		    (symbol->export != KSP_NONE && symbol->export >= header->n_exports) ||
		    symbol->content > header->n_bytes || symbol->content_size > header->n_bytes - symbol->content)
			return false;
		exports += symbol->export != KSP_NONE;
	}
	for (i = 0; i < header->n_objects; i++) {
		const struct ksp_object *object = &run->objects[i];

		if (object->symbol >= header->n_symbols || object->name >= header->n_names ||
		    object->unit >= header->n_names || object->kind > KSP_OBJECT_DATA ||
		    object->op > header->n_ops || object->n_ops > header->n_ops - object->op ||
		    (object->function != KSP_NONE &&
		     (object->function >= header->n_functions || !(object->flags & KSP_OBJECT_REPLACED))) ||
		    !check_ops(run, object->op, object->n_ops, 0))
			return false;
		functions += object->function != KSP_NONE;
	}
	return exports == header->n_exports && functions == header->n_functions;
}

/* Every export and every function has one place, and no two the same. */
static bool check_indexes(struct run *run, u8 *seen)
{
	u32 i;

	for (i = 0; i < run->header->n_symbols; i++) {
		u32 export = run->symbols[i].export;

		if (export != KSP_NONE && seen[export]++)
			return false;
	}
	memset(seen, 0, run->header->n_exports);
	for (i = 0; i < run->header->n_objects; i++) {
		u32 function = run->objects[i].function;

		if (function != KSP_NONE && seen[function]++)
			return false;
	}
	return true;
}

enum ksp_reason ksp_match(const void *data, size_t size, struct ksp_env *env, struct ksp_match *match)
{
	struct run run = { .env = env, .block = 1 };
	enum ksp_reason reason = KSP_BAD_DATA;
	u32 symbols, objects;
	size_t index_size;
	u8 *seen;

	memset(match, 0, sizeof(*match));
	if (!check_data(&run, data, size))
		goto out;
	symbols = run.header->n_symbols;
	objects = run.header->n_objects;
	index_size = (size_t)symbols + objects + 1;

	reason = KSP_NO_MEMORY;
	run.values = env->alloc(env, (size_t)symbols * sizeof(u64) + 1);
	run.known = env->alloc(env, (size_t)symbols + 1);
	run.journal = env->alloc(env, (size_t)symbols * sizeof(u32) + 1);
	run.done = env->alloc(env, (size_t)objects + 1);
	run.ends = env->alloc(env, (size_t)objects * sizeof(u64) + 1);
	seen = env->alloc(env, index_size);
	match->exports = env->alloc(env, (size_t)run.header->n_exports * sizeof(u64) + 1);
	match->functions = env->alloc(env, (size_t)run.header->n_functions * sizeof(struct ksp_function) + 1);
	match->ranges = env->alloc(env, (size_t)objects * sizeof(struct ksp_range) + 1);
	if (!run.values || !run.known || !run.journal || !run.done || !run.ends || !seen || !match->exports ||
	    !match->functions || !match->ranges)
		goto free_run;

	reason = check_indexes(&run, seen) ? settle(&run, match) : KSP_BAD_DATA;
	if (reason == KSP_MATCHED)
		reason = fill_exports(&run, match);
	if (reason == KSP_MATCHED)
		reason = fill_functions(&run, match);
	match->n_exports = run.header->n_exports;
	match->n_functions = run.header->n_functions;

free_run:
	env->free(env, seen);
	env->free(env, run.ends);
	env->free(env, run.done);
	env->free(env, run.journal);
	env->free(env, run.known);
	env->free(env, run.values);
out:
	if (reason != KSP_MATCHED) {
		ksp_match_free(env, match);
		match->failure.reason = reason;
	}
	return reason;
}

void ksp_match_free(struct ksp_env *env, struct ksp_match *match)
{
	env->free(env, match->exports);
	env->free(env, match->functions);
	env->free(env, match->ranges);
	match->exports = NULL;
	match->functions = NULL;
	match->ranges = NULL;
	match->n_exports = 0;
	match->n_functions = 0;
	match->n_ranges = 0;
}
