// SPDX-License-Identifier: GPL-2.0
/*
 * Symbols: what they may be, and what they turn out to be.
 *
 * DOC: how it works
 *
 * The first op that meets a symbol gives it its value, every later one must
 * agree; but equal content may stand at several places, and any will do.  A
 * journal keeps the order in which symbols became known, so that a walk that
 * failed is undone by forgetting what it added.
 */
#include "internal.h"

const char *ksp_name_of(const struct run *run, u32 symbol)
{
	const char *name = run->names + run->symbols[symbol].name;

	return *name ? name : NULL;
}

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

/* True if a symbol at @address has that name. */
bool ksp_is_named(struct run *run, const char *name, u64 address)
{
	struct check check = { .address = address };

	run->env->candidates(run->env, name, compare_candidate, &check);
	return check.same;
}

/* True if @address is one of the symbols of that name. */
bool ksp_is_candidate(struct run *run, u32 symbol, u64 address, bool *any)
{
	const char *name = ksp_name_of(run, symbol);
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

u32 ksp_find_unique(struct run *run, u32 symbol, u64 *address)
{
	const char *name = ksp_name_of(run, symbol);
	struct unique unique = {};

	if (name)
		run->env->candidates(run->env, name, count_candidate, &unique);
	*address = unique.address;
	return unique.n;
}

/* True if @address is a function of the kernel that plays @role. */
bool ksp_plays(struct run *run, enum ksp_role role, u64 address)
{
	bool any;
	u32 i;

	for (i = 0; i < run->header->n_symbols; i++) {
		if (run->symbols[i].role == role && ksp_is_candidate(run, i, address, &any))
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

		if (!ksp_get(run, address + done, found, part) || memcmp(content + done, found, part))
			return false;
		done += part;
	}
	return true;
}

/* Where the function whose symbol is at @address has its code. */
u64 ksp_code_of(struct run *run, u64 address)
{
	return run->env->code_of ? run->env->code_of(run->env, address) : address;
}

/*
 * The op at hand says that @symbol is at @value.  Code of an update calls what
 * it replaces directly, and everybody else through the redirect: both mean the
 * one symbol.
 */
enum ksp_reason ksp_meet(struct walk *w, u32 index, u64 value)
{
	const struct ksp_symbol *symbol = &w->run->symbols[index];
	bool any;

	if (w->run->env->symbol_of)
		value = w->run->env->symbol_of(w->run->env, value);

	/* Equal content may stand at several places. */
	if (symbol->kind == KSP_SYMBOL_CONTENT) {
		if (!holds(w->run, symbol, value))
			return ksp_differ(w, KSP_DIFFERENT, w->at, index, w->run->bytes + symbol->content,
					  symbol->content_size);
		if (w->run->known[index])
			return KSP_MATCHED;
	}
	if (w->run->known[index]) {
		if (w->run->values[index] == value)
			return KSP_MATCHED;
		return ksp_differ(w, KSP_CONFLICT, w->at, index, (u8 *)&w->run->values[index], sizeof(u64));
	}
	if (symbol->flags & KSP_SYMBOL_NAMED && !ksp_is_candidate(w->run, index, value, &any) &&
	    (any || symbol->flags & KSP_SYMBOL_GLOBAL))
		return ksp_differ(w, KSP_CONFLICT, w->at, index, NULL, 0);
	w->run->known[index] = 1;
	w->run->values[index] = value;
	w->run->journal[w->run->n_journal++] = index;
	return KSP_MATCHED;
}

void ksp_forget(struct run *run, u32 mark)
{
	while (run->n_journal > mark)
		run->known[run->journal[--run->n_journal]] = 0;
}
