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
 * end, so a wrong candidate fixes no symbol.  An object is settled when one
 * candidate, and only one, survives; since a settled object fixes symbols of
 * others, the objects are tried in rounds until nothing changes any more
 * (Arnold & Kaashoek, EuroSys 2009, section 4).
 *
 * DOC: context
 *
 * Pure computation over what struct ksp_env offers; no locks, no globals.  It
 * may sleep where the callbacks do.  The match data is checked once, at the
 * start, and every walk relies on that.  Matching/Interpreter/ of the build is the
 * same algorithm in C#; tests hold the two against each other.
 */
#include "internal.h"

enum ksp_reason ksp_fail(struct run *run, struct ksp_match *match, u32 object,
			 const struct ksp_failure *why, enum ksp_reason reason, u32 candidates)
{
	if (why)
		match->failure = *why;
	match->failure.reason = reason;
	match->failure.candidates = candidates;
	match->failure.object = run->names + run->objects[object].name;
	match->failure.unit = run->names + run->objects[object].unit;
	return reason;
}

static enum ksp_reason find_export(struct run *run, struct ksp_match *match, u32 index, u64 *value)
{
	const struct ksp_symbol *symbol = &run->symbols[index];
	u32 n = 1;

	if (run->known[index])
		*value = run->values[index];
	else
		n = symbol->flags & KSP_SYMBOL_BY_NAME ? ksp_find_unique(run, index, value) : 0;
	match->failure.candidates = n;
	if (n != 1)
		return n ? KSP_AMBIGUOUS : KSP_UNRESOLVED;
	if (!(symbol->flags & KSP_SYMBOL_CALLED) || run->env->has_endbr(run->env, *value))
		return KSP_MATCHED;
	match->failure.address = *value;
	match->failure.n_expected = sizeof(ksp_endbr);
	memcpy(match->failure.expected, ksp_endbr, sizeof(ksp_endbr));
	if (ksp_get(run, *value, match->failure.found, sizeof(ksp_endbr)))
		match->failure.n_found = sizeof(ksp_endbr);
	return KSP_SEALED;
}

static enum ksp_reason fill_exports(struct run *run, struct ksp_match *match)
{
	enum ksp_reason reason;
	u32 i;

	for (i = 0; i < run->header->n_symbols; i++) {
		u32 export = run->symbols[i].export;

		if (export == KSP_NONE)
			continue;
		reason = find_export(run, match, i, &match->exports[export]);
		if (reason != KSP_MATCHED) {
			match->failure.reason = reason;
			match->failure.symbol = ksp_name_of(run, i);
			return reason;
		}
	}
	return KSP_MATCHED;
}

static enum ksp_reason fill_functions(struct run *run, struct ksp_match *match)
{
	u32 i;

	for (i = 0; i < run->header->n_objects; i++) {
		const struct ksp_object *object = &run->objects[i];
		const struct matched *matched = &run->matched[i];
		struct ksp_range *range;

		if (!(object->flags & KSP_OBJECT_REPLACED))
			continue;
		range = &match->ranges[match->n_ranges++];
		range->name = run->names + object->name;
		range->start = ksp_code_of(run, run->values[object->symbol]);
		range->end = matched->end;
		range->ends_in_call = object->flags & KSP_OBJECT_ENDS_IN_CALL;
		if (object->function != KSP_NONE) {
			struct ksp_function *function = &match->functions[object->function];

			function->name = range->name;
			function->start = range->start;
			function->end = range->end;
			function->jump = matched->jump;
			function->fentry = matched->fentry;
			if (matched->jump && !ksp_get(run, matched->jump, function->bytes, KSP_JUMP_SIZE))
				return ksp_fail(run, match, i, NULL, KSP_UNREADABLE, 1);
		}
	}
	return KSP_MATCHED;
}

enum ksp_reason ksp_match(const void *data, size_t size, struct ksp_env *env, struct ksp_match *match)
{
	struct run run = { .env = env, .block = 1 };
	enum ksp_reason reason = KSP_BAD_DATA;
	u32 symbols, objects;
	size_t index_size;
	u8 *seen;

	memset(match, 0, sizeof(*match));
	if (!ksp_check_data(&run, data, size))
		goto out;
	symbols = run.header->n_symbols;
	objects = run.header->n_objects;
	index_size = (size_t)symbols + objects + 1;

	reason = KSP_NO_MEMORY;
	run.values = env->alloc(env, (size_t)symbols * sizeof(u64) + 1);
	run.known = env->alloc(env, (size_t)symbols + 1);
	run.journal = env->alloc(env, (size_t)symbols * sizeof(u32) + 1);
	run.done = env->alloc(env, (size_t)objects + 1);
	run.matched = env->alloc(env, (size_t)objects * sizeof(struct matched) + 1);
	seen = env->alloc(env, index_size);
	match->exports = env->alloc(env, (size_t)run.header->n_exports * sizeof(u64) + 1);
	match->functions = env->alloc(env, (size_t)run.header->n_functions * sizeof(struct ksp_function) + 1);
	match->ranges = env->alloc(env, (size_t)objects * sizeof(struct ksp_range) + 1);
	if (!run.values || !run.known || !run.journal || !run.done || !run.matched || !seen || !match->exports ||
	    !match->functions || !match->ranges)
		goto free_run;

	reason = ksp_check_indexes(&run, seen) ? ksp_settle(&run, match) : KSP_BAD_DATA;
	if (reason == KSP_MATCHED)
		reason = fill_exports(&run, match);
	if (reason == KSP_MATCHED)
		reason = fill_functions(&run, match);
	match->n_exports = run.header->n_exports;
	match->n_functions = run.header->n_functions;

free_run:
	env->free(env, seen);
	env->free(env, run.matched);
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
