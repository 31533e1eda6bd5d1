/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The match data of one update: what the build knows of the pre code, in the
 * form in which the interpreter (match.h) looks for it in the running kernel.
 *
 * It is one block of bytes, little endian, made of six tables behind a
 * header.  *Objects* are what is to be found: functions, and constant data
 * that they refer to.  Each is a program of *ops* that walks over the run
 * bytes from the object's start: literal bytes, relocation fields, branches,
 * sites that the kernel rewrites.  *Symbols* are the unknowns: whatever an op
 * refers to is a symbol, also a place in the middle of a function, and every
 * op that meets one either gives it its value or must agree with the value
 * that it has; a symbol that stands for content agrees with whatever holds
 * that.  *Places* are the names of the units' text, in order: by them
 * functions of one name are told apart.  Literal bytes and names stand in the
 * last two tables.
 *
 * The build has these layouts once more in C# (Matching/MatchFormat.cs); a
 * test holds the two against each other.  Nothing in the data is trusted: the
 * interpreter checks every index and length.
 */
#ifndef KSPLICE_FORMAT_H
#define KSPLICE_FORMAT_H

#ifdef __KERNEL__
#include <linux/types.h>
#endif

#define KSP_MATCH_MAGIC		0x4843544d50534bULL	/* "KSPMTCH" and a zero */
#define KSP_MATCH_VERSION	6
#define KSP_NONE		0xffffffffu

/* Offsets count from the start of the header. */
struct ksp_header {
	u64 magic;
	u32 version;
	u32 size;		/* of everything */
	u32 symbols;		/* offset of struct ksp_symbol[n_symbols] */
	u32 n_symbols;
	u32 objects;		/* offset of struct ksp_object[n_objects] */
	u32 n_objects;
	u32 ops;		/* offset of struct ksp_op[n_ops] */
	u32 n_ops;
	u32 places;		/* offset of struct ksp_place[n_places] */
	u32 n_places;
	u32 bytes;		/* offset of u8[n_bytes] */
	u32 n_bytes;
	u32 names;		/* offset of char[n_names]; the last one is a zero */
	u32 n_names;
	u32 n_exports;
	u32 n_functions;
};

enum ksp_symbol_kind {
	KSP_SYMBOL_PLAIN = 0,	/* one address */
	KSP_SYMBOL_CONTENT,	/* whatever holds @content: merged strings and constants */
};

/* Functions of the kernel that stand for something at a site. */
enum ksp_role {
	KSP_ROLE_NONE = 0,
	KSP_ROLE_RETURN_THUNK,		/* returns may jump to it */
	KSP_ROLE_STATIC_RETURN0,	/* a static call of it is "xor eax, eax" */
	KSP_ROLE_STATIC_RETURN,		/* a conditional tail static call of nothing goes there */
	KSP_ROLE_PARAVIRT_NOP,		/* a paravirt call of it is no-ops */
	KSP_ROLE_PARAVIRT_BUG,		/* a paravirt call of nothing goes there */
	KSP_ROLE_RETURN_POINTER,	/* data: the thunk to which all returns jump */
	KSP_ROLE_CALL_COUNT,		/* data: what boot may write before functions, to count calls */
	KSP_ROLE_CALL_THUNKS,		/* calls through a register may go to its entry */
	KSP_ROLE_JUMP_THUNKS,		/* the same for jumps */
	KSP_ROLE_WARN_TRAP,		/* a static call of it is a trap (K29) */
};

#define KSP_SYMBOL_NAMED	1	/* if any symbol of that name exists, it is one of them */
#define KSP_SYMBOL_BY_NAME	2	/* the name alone decides if no use does; it must be unique */
#define KSP_SYMBOL_GLOBAL	4	/* a symbol of that name must exist */
#define KSP_SYMBOL_CALLED	8	/* new code takes its address: if it is code, it may be called there (K22) */

struct ksp_symbol {
	u32 name;		/* into names */
	u8 kind;
	u8 role;
	u16 flags;
	u32 export;		/* export index or KSP_NONE; runtime constants come last */
	u32 object;		/* the object that starts there, or KSP_NONE */
	u32 content;		/* KSP_SYMBOL_CONTENT: into bytes */
	u32 content_size;
};

enum ksp_object_kind {
	KSP_OBJECT_TEXT = 0,	/* must be found */
	KSP_OBJECT_DATA,	/* compared once its address is known */
};

#define KSP_OBJECT_REPLACED	1	/* no thread may be in it: reported as a range */
#define KSP_OBJECT_OPTIONAL	2	/* data that nothing need lead to */
#define KSP_OBJECT_ENDS_IN_CALL	4	/* its end may be a return address (K13) */

struct ksp_object {
	u32 symbol;		/* its start */
	u32 name;		/* into names */
	u32 unit;		/* into names: the source file */
	u32 size;		/* in the pre object, bytes */
	u32 op;			/* its first op */
	u32 n_ops;
	u32 function;		/* redirect index or KSP_NONE */
	u32 place;		/* its place in a sequence, or KSP_NONE */
	u8 kind;
	u8 flags;
	u16 reserved;
};

#define KSP_PLACE_FIRST		1	/* a sequence begins: one unit's, of one text section */
#define KSP_PLACE_SAME		2	/* another name of the place before */
#define KSP_PLACE_WEAK		4	/* another unit may have it instead */

/* One name of a sequence: the symbols of a unit in a section, in order (neighbours.c). */
struct ksp_place {
	u32 name;		/* into names */
	u32 flags;
};

/*
 * One step.  @length is how many bytes the pre code has there; it tells where
 * in the pre object a difference is, and where the run code cannot vary it is
 * the length of the run code too.
 */
struct ksp_op {
	u8 op;
	u8 kind;
	u16 length;
	u32 symbol;
	s64 value;
};

enum ksp_op_code {
	/* @length bytes, at @value of bytes. */
	KSP_OP_LITERAL = 1,
	/* A relocated field, @kind is enum ksp_field: @symbol + @value. */
	KSP_OP_FIELD,
	/* A relative branch in any encoding, @kind is enum ksp_branch, to
	 * @symbol + @value.
	 */
	KSP_OP_BRANCH,
	/* No-op instructions, any spelling, any number. */
	KSP_OP_NOPS,
	/* @symbol is here. */
	KSP_OP_LABEL,
	/* The call of __fentry__ (@symbol), a 5-byte no-op or ftrace's call. */
	KSP_OP_FENTRY,
	/* @length bytes, @kind variants in the next @value ops. */
	KSP_OP_ALTERNATIVE,
	/* One variant: the next @value ops, then no-ops to the site's end. */
	KSP_OP_VARIANT,
	/* A call of entry @kind of @symbol (pv_ops): the original in the next
	 * @value ops, or a direct call of what the entry holds, or no-ops.
	 */
	KSP_OP_PARAVIRT,
	/* f0, or 3e on one processor. */
	KSP_OP_LOCK,
	/* A jump or no-op to @symbol + @value; @kind is the entry's branch
	 * bit.  A KSP_OP_KEY follows.
	 */
	KSP_OP_JUMP_LABEL,
	/* A static call: @kind is enum ksp_branch, @symbol the trampoline.
	 * A KSP_OP_KEY follows.
	 */
	KSP_OP_STATIC_CALL,
	/* What else the op before knows: @symbol + @value is the key of a site,
	 * the format of a warning.
	 */
	KSP_OP_KEY,
	/* A branch to the thunk @symbol of register @value (0 to 15), or
	 * directly through the register.
	 */
	KSP_OP_RETPOLINE,
	/* A jump to a return thunk (@symbol in the pre code), or a return. */
	KSP_OP_RETURN,
	/* endbr64, or what sealing leaves of it (K29). */
	KSP_OP_ENDBR,
	/* No bytes: the bug table's entry for what comes next.  @kind is enum
	 * ksp_bug_kind, @value the line, and from bit 16 on the flags;
	 * @symbol the file's name.  With a format a KSP_OP_KEY follows.
	 */
	KSP_OP_BUG,
	/* No bytes: the exception table's entry for what comes next, with
	 * fixup @symbol and data @value.
	 */
	KSP_OP_EXCEPTION,
};

enum ksp_bug_kind {
	KSP_BUG_NONE = 0,	/* a trap that must have no entry */
	KSP_BUG_SHORT,		/* the kernel keeps neither file nor line */
	KSP_BUG_LONG,
	KSP_BUG_FORMAT,		/* file, line, and the format of a warning */
};

#define KSP_BUG_FLAGS	0xfffbu	/* all but BUGFLAG_DONE, which says that it was hit */

enum ksp_field {
	KSP_FIELD_ABS64 = 0,
	KSP_FIELD_ABS32,	/* zero extended */
	KSP_FIELD_ABS32S,	/* sign extended */
	KSP_FIELD_PC32,
	KSP_FIELD_PC64,
	KSP_FIELD_ABS8,		/* the count of a shift: a runtime constant (K5) */
	KSP_FIELD_BUG,		/* relative, to the bug table's entry for @symbol (K29) */
};

/* 0 to 15 are conditional jumps by condition code. */
enum ksp_branch {
	KSP_BRANCH_JMP = 16,
	KSP_BRANCH_CALL,
	KSP_BRANCH_LOOPNE,	/* this and the next three have a short form only */
	KSP_BRANCH_LOOPE,
	KSP_BRANCH_LOOP,
	KSP_BRANCH_JRCXZ,
	KSP_BRANCH_CS_JMP,	/* behind a CS prefix; thunks only */
	KSP_BRANCH_CS_CALL,
};

#define KSP_MAX_NOPS	256	/* bytes of one run of no-ops in the run code */

#endif
