// SPDX-License-Identifier: GPL-2.0
/*
 * The match data: every index, length and nesting is checked once, before
 * anything relies on it.
 */
#include "internal.h"

/* How many ops an op and what belongs to it take. */
u32 ksp_extent(const struct ksp_op *op)
{
	switch (op->op) {
	case KSP_OP_ALTERNATIVE:
	case KSP_OP_VARIANT:
	case KSP_OP_PARAVIRT:
		return 1 + op->value;
	case KSP_OP_JUMP_LABEL:
	case KSP_OP_STATIC_CALL:
		return 2;
	case KSP_OP_BUG:
		return op->kind == KSP_BUG_FORMAT ? 2 : 1;
	default:
		return 1;
	}
}

static bool table_fits(const struct ksp_header *header, u32 offset, u32 n, u32 each, u32 alignment)
{
	return offset >= sizeof(*header) && offset <= header->size && offset % alignment == 0 &&
	       n <= (header->size - offset) / each;
}

/* Does the op behind @op, of @left, belong to it? */
static bool has_key(const struct run *run, const struct ksp_op *op, u32 left)
{
	return left >= 1 && op[1].op == KSP_OP_KEY && !op[1].length && op[1].symbol < run->header->n_symbols;
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
			if (!symbol || op->kind > KSP_FIELD_BUG)
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
		case KSP_OP_BUG:
			if (op->length || op->kind > KSP_BUG_FORMAT ||
			    !(op->kind >= KSP_BUG_LONG ? symbol : op->symbol == KSP_NONE) ||
			    (op->kind == KSP_BUG_FORMAT && !has_key(run, op, left)))
				return false;
			break;
		case KSP_OP_EXCEPTION:
			if (op->length || !symbol)
				return false;
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
			if (!symbol || !has_key(run, op, left) || op->kind > KSP_BRANCH_CS_CALL)
				return false;
			break;
		default:
			return false;
		}
		i += ksp_extent(op);
	}
	return true;
}

bool ksp_check_data(struct run *run, const void *data, size_t size)
{
	const struct ksp_header *header = data;
	u32 i, exports = 0, functions = 0;

	if (size < sizeof(*header) || header->magic != KSP_MATCH_MAGIC || header->version != KSP_MATCH_VERSION ||
	    header->size != size || !table_fits(header, header->symbols, header->n_symbols, sizeof(struct ksp_symbol), 8) ||
	    !table_fits(header, header->objects, header->n_objects, sizeof(struct ksp_object), 8) ||
	    !table_fits(header, header->ops, header->n_ops, sizeof(struct ksp_op), 8) ||
	    !table_fits(header, header->places, header->n_places, sizeof(struct ksp_place), 8) ||
	    !table_fits(header, header->bytes, header->n_bytes, 1, 1) ||
	    !table_fits(header, header->names, header->n_names, 1, 1) || !header->n_names ||
	    header->n_exports > header->n_symbols || header->n_functions > header->n_objects)
		return false;
	run->header = header;
	run->symbols = data + header->symbols;
	run->objects = data + header->objects;
	run->ops = data + header->ops;
	run->places = data + header->places;
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
	for (i = 0; i < header->n_places; i++) {
		const struct ksp_place *place = &run->places[i];

		/* A sequence has a first place, and that has no other before it. */
		if (place->name >= header->n_names || (!i && !(place->flags & KSP_PLACE_FIRST)) ||
		    (place->flags & KSP_PLACE_FIRST && place->flags & KSP_PLACE_SAME))
			return false;
	}
	for (i = 0; i < header->n_objects; i++) {
		const struct ksp_object *object = &run->objects[i];

		if (object->symbol >= header->n_symbols || object->name >= header->n_names ||
		    object->unit >= header->n_names || object->kind > KSP_OBJECT_DATA ||
		    object->op > header->n_ops || object->n_ops > header->n_ops - object->op ||
		    (object->place != KSP_NONE &&
		     (object->place >= header->n_places || run->places[object->place].flags & KSP_PLACE_SAME)) ||
		    (object->function != KSP_NONE &&
		     (object->function >= header->n_functions || !(object->flags & KSP_OBJECT_REPLACED))) ||
		    !check_ops(run, object->op, object->n_ops, 0))
			return false;
		functions += object->function != KSP_NONE;
	}
	return exports == header->n_exports && functions == header->n_functions;
}

/* Every export and every function has one place, and no two the same. */
bool ksp_check_indexes(struct run *run, u8 *seen)
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
