// SPDX-License-Identifier: GPL-2.0
/*
 * Which of several functions of one name is the unit's: the one that stands
 * among the unit's other symbols.
 *
 * DOC: how it works
 *
 * Small static functions of headers exist in the kernel many times, with the
 * same name and the same code; two drivers have functions that are alike.
 * Their bytes cannot tell which one a unit's source compiled to.  Their place
 * can.  The linker puts what one file has in one text section down as one
 * piece (it takes files in order, and a file's sections in their order), and
 * the compiler emits a unit's functions in the same order whether or not each
 * has a section of its own.  So in the run kernel the names of the unit's
 * section, in the pre object's order, stand one after the other in the symbol
 * table, with nothing between them.  The match data holds this *sequence*.
 *
 * A candidate is *in sequence* if the whole sequence stands around it: each
 * symbol after it and before it, to both ends of the sequence, has the name
 * that the pre object has there.
 *
 * DOC: why it cannot accept wrongly
 *
 * The unit is in the kernel, or there is nothing to update; its sequence
 * stands there once.  Every place where a sequence of these names stands has
 * one symbol of the wanted name in it, and that symbol is among the
 * candidates; so all places where the unit could be are looked at.  If exactly
 * one candidate is in sequence, no other place is left for the unit.  If none
 * is, or more than one, nothing is accepted on this ground, and the match
 * fails.
 *
 * It rests on what all of matching rests on, that the unit compiles to the
 * functions that the kernel's own build had.  If it does not, names are
 * missing, extra or in another order; then no candidate is in sequence, and a
 * stranger would be only if the functions of other files repeated the whole
 * sequence, name by name.  The code at the place is compared in any case, as
 * that of every object.  Where a reference in code that matched leads to a
 * function, that decides, and nobody asks for its sequence.
 *
 * A weak function that another unit overrides has no symbol of its own, so its
 * name may be missing from the sequence; and what stands under its name
 * elsewhere is another unit's function, even if it has the same bytes.  A weak
 * function is therefore accepted in its sequence only, and only with a
 * neighbour.
 */
#include "internal.h"

/* objtool and the compiler put symbols before functions' padding. */
#define PADDING		"__pfx_"
#define MAX_NAME	256

static const char *name_at(const struct run *run, u32 place)
{
	return run->names + run->places[place].name;
}

/* The first of the names of the place that @place is a name of. */
static u32 head(const struct run *run, u32 place)
{
	while (run->places[place].flags & KSP_PLACE_SAME)
		place--;
	return place;
}

/* Does a symbol at @address have one of the place's names? */
static bool stands_at(struct run *run, u32 place, u64 address)
{
	u32 i = place;

	do {
		if (ksp_is_named(run, name_at(run, i), address))
			return true;
		i++;
	} while (i < run->header->n_places && run->places[i].flags & KSP_PLACE_SAME);
	return false;
}

/* Is the symbol at @address that of the padding before the place? */
static bool is_padding(struct run *run, u32 place, u64 address)
{
	const char *name = name_at(run, place);
	char padding[sizeof(PADDING) + MAX_NAME];
	size_t n = strlen(name);

	if (n > MAX_NAME)
		return false;
	memcpy(padding, PADDING, sizeof(PADDING) - 1);
	memcpy(padding + sizeof(PADDING) - 1, name, n + 1);
	return ksp_is_named(run, padding, address);
}

enum way { BEFORE, BEHIND };

/* To where the next symbol starts on that way. */
static bool next_symbol(struct run *run, enum way way, u64 *address)
{
	u64 start, end, at = way == BEHIND ? *address : *address - 1;

	if ((way == BEFORE && !*address) || run->env->extent(run->env, at, &start, &end))
		return false;
	if (way == BEHIND ? end <= *address : start >= *address)
		return false;
	*address = way == BEHIND ? end : start;
	return true;
}

/*
 * The next symbol on that way is @place's, or one that it need not have.
 * Padding stands before its function, and stays where an overridden one was:
 * that of @padded, the later of the two places between which the step goes.
 */
static bool step(struct run *run, enum way way, u32 place, u32 padded, u64 *address, u32 *met)
{
	u64 next = *address;

	if (!next_symbol(run, way, &next))
		return false;
	if (is_padding(run, padded, next)) {
		*address = next;
		if (!next_symbol(run, way, &next))
			return false;
	}
	if (!stands_at(run, place, next))
		return run->places[place].flags & KSP_PLACE_WEAK;
	*address = next;
	++*met;
	return true;
}

/* The sequence from @place on stands behind @address; counts the places in @met. */
static bool stands_behind(struct run *run, u32 place, u64 address, u32 *met)
{
	u32 i;

	for (i = place + 1; i < run->header->n_places && !(run->places[i].flags & KSP_PLACE_FIRST); i++) {
		if (!(run->places[i].flags & KSP_PLACE_SAME) && !step(run, BEHIND, i, i, &address, met))
			return false;
	}
	return true;
}

/* The sequence up to @place stands before @address; counts the places in @met. */
static bool stands_before(struct run *run, u32 place, u64 address, u32 *met)
{
	while (!(run->places[place].flags & KSP_PLACE_FIRST)) {
		u32 before = head(run, place - 1);

		if (!step(run, BEFORE, before, place, &address, met))
			return false;
		place = before;
	}
	return true;
}

/* Must the object's candidate be in sequence, though it may be the only one? */
bool ksp_is_overridable(const struct run *run, const struct ksp_object *object)
{
	return object->place != KSP_NONE && run->places[object->place].flags & KSP_PLACE_WEAK;
}

/* Does the unit's sequence stand around @address, where the object would be? */
bool ksp_in_sequence(struct run *run, const struct ksp_object *object, u64 address)
{
	u32 met = 0;

	return object->place != KSP_NONE && stands_behind(run, object->place, address, &met) &&
	       stands_before(run, object->place, address, &met) &&
	       (met || !ksp_is_overridable(run, object));
}
