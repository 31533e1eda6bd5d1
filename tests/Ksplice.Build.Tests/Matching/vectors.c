// SPDX-License-Identifier: GPL-2.0
/*
 * The interpreter of match/ over the vectors of tests/vectors: each has match
 * data, the memory that it is matched against, and the result, in the lines
 * that Vectors/MatchVector.cs tells of.  It needs no kernel and no .NET.  Built
 * with -I src/Ksplice.Kernel/include from this file, shown.c and all of match/,
 * it is asked about all files of tests/vectors.
 *
 * usage: vectors FILE...
 *
 * It names each vector with another result, and counts them all.  Exit code: 0
 * if every result is as it stands in the file, 1 if not, 2 if a file cannot be
 * understood.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shown.h"

#define ROW		32	/* bytes of a line of memory */
#define MAX_ENTRIES	64
#define MAX_DATA	4096
#define MAX_LINE	4096
#define MAX_NUMBERS	6

struct row {
	u64 address;
	u8 bytes[ROW];
};

struct symbol {
	u64 address;
	char name[64];
};

struct entry {
	u64 numbers[MAX_NUMBERS];
};

struct table {
	const char *word;
	u32 width;
	u32 n;
	struct entry entries[MAX_ENTRIES];
};

enum { JUMP, CALL, BUG, EXCEPTION, TRACER, SITE, PROBE, ENDBR, SEAL, N_TABLES };

static struct table tables[N_TABLES] = {
	[JUMP] = { "jump", 3 },
	[CALL] = { "call", 2 },
	[BUG] = { "bug", 6 },
	[EXCEPTION] = { "exception", 3 },
	[TRACER] = { "tracer", 1 },
	[SITE] = { "site", 1 },
	[PROBE] = { "probe", 1 },
	[ENDBR] = { "endbr", 2 },
	[SEAL] = { "seal", 1 },
};

static struct row rows[MAX_ENTRIES];
static struct symbol symbols[MAX_ENTRIES];
static u32 n_rows, n_symbols;
static u8 data[MAX_DATA];
static size_t n_data;

static const u64 *find(u32 table, u64 code)
{
	u32 i;

	for (i = 0; i < tables[table].n; i++) {
		if (tables[table].entries[i].numbers[0] == code)
			return tables[table].entries[i].numbers;
	}
	return NULL;
}

static int read_memory(struct ksp_env *env, u64 address, void *to, size_t n)
{
	u8 *out = to;
	u32 i;

	(void)env;
	for (; n; n--, address++) {
		for (i = 0; i < n_rows && address - rows[i].address >= ROW; i++)
			;
		if (i == n_rows)
			return -EFAULT;
		*out++ = rows[i].bytes[address - rows[i].address];
	}
	return 0;
}

static int candidates(struct ksp_env *env, const char *name, int (*found)(void *arg, u64 address), void *arg)
{
	u32 i;

	(void)env;
	for (i = 0; i < n_symbols; i++) {
		if (!strcmp(symbols[i].name, name) && found(arg, symbols[i].address))
			break;
	}
	return 0;
}

static int extent(struct ksp_env *env, u64 address, u64 *start, u64 *end)
{
	bool any = false;
	u32 i;

	(void)env;
	*start = 0;
	*end = ~0ULL;
	for (i = 0; i < n_symbols; i++) {
		u64 at = symbols[i].address;

		if (at > address && at < *end)
			*end = at;
		if (at <= address && at >= *start) {
			*start = at;
			any = true;
		}
	}
	return any ? 0 : -ENOENT;
}

static int jump_entry(struct ksp_env *env, u64 code, u64 *target, u64 *key)
{
	const u64 *entry = find(JUMP, code);

	(void)env;
	if (!entry)
		return -ENOENT;
	*target = entry[1];
	*key = entry[2];
	return 0;
}

static int static_call_key(struct ksp_env *env, u64 code, u64 *key)
{
	const u64 *entry = find(CALL, code);

	(void)env;
	if (!entry)
		return -ENOENT;
	*key = entry[1];
	return 0;
}

static int bug_entry(struct ksp_env *env, u64 code, struct ksp_bug *bug)
{
	const u64 *entry = find(BUG, code);

	(void)env;
	if (!entry)
		return -ENOENT;
	*bug = (struct ksp_bug){ .file = entry[1], .line = entry[2], .flags = entry[3],
				.format = entry[4], .entry = entry[5] };
	return 0;
}

static int exception_entry(struct ksp_env *env, u64 code, u64 *fixup, u32 *handler)
{
	const u64 *entry = find(EXCEPTION, code);

	(void)env;
	if (!entry)
		return -ENOENT;
	*fixup = entry[1];
	*handler = entry[2];
	return 0;
}

static u64 count_exceptions(struct ksp_env *env, u64 start, u64 end)
{
	u64 n = 0;
	u32 i;

	(void)env;
	for (i = 0; i < tables[EXCEPTION].n; i++) {
		u64 code = tables[EXCEPTION].entries[i].numbers[0];

		n += code >= start && code < end;
	}
	return n;
}

static bool is_ftrace_target(struct ksp_env *env, u64 site, u64 target)
{
	(void)env;
	return find(TRACER, target) || find(SITE, site);
}

static bool is_probed(struct ksp_env *env, u64 address)
{
	(void)env;
	return find(PROBE, address);
}

static bool has_endbr(struct ksp_env *env, u64 address)
{
	static const u8 endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	u8 found[sizeof(endbr)];
	u32 i;

	for (i = 0; i < tables[ENDBR].n; i++) {
		const u64 *range = tables[ENDBR].entries[i].numbers;

		if (address >= range[0] && address < range[1])
			return !read_memory(env, address, found, sizeof(found)) && !memcmp(found, endbr, sizeof(endbr)) &&
			       !find(SEAL, address);
	}
	return true;
}

static void *allocate(struct ksp_env *env, size_t size)
{
	(void)env;
	return calloc(1, size);
}

static void release(struct ksp_env *env, void *memory)
{
	(void)env;
	free(memory);
}

static struct ksp_env env = {
	.read = read_memory, .candidates = candidates, .extent = extent, .jump_entry = jump_entry, .static_call_key = static_call_key,
	.bug_entry = bug_entry, .exception_entry = exception_entry, .count_exceptions = count_exceptions,
	.is_ftrace_target = is_ftrace_target, .is_probed = is_probed, .has_endbr = has_endbr, .alloc = allocate, .free = release,
};

static void bad(const char *file, const char *line)
{
	fprintf(stderr, "%s: '%s' is not understood\n", file, line);
	exit(2);
}

/* The bytes of @hex, at most @max; the number of them, or -1. */
static long unhex(const char *hex, u8 *to, size_t max)
{
	size_t n;

	for (n = 0; hex[2 * n]; n++) {
		if (n == max || sscanf(hex + 2 * n, "%2hhx", &to[n]) != 1 || !hex[2 * n + 1])
			return -1;
	}
	return n;
}

static bool add_memory(const char *rest)
{
	struct row *row = &rows[n_rows];
	char *hex;
	u64 fill;

	if (n_rows == MAX_ENTRIES)
		return false;
	row->address = strtoull(rest, &hex, 16);
	fill = strtoull(hex, &hex, 16);
	memset(row->bytes, fill, ROW);
	n_rows++;
	return !*hex || (*hex == ' ' && unhex(hex + 1, row->bytes, ROW) > 0);
}

static bool add_symbol(const char *rest)
{
	if (n_symbols == MAX_ENTRIES)
		return false;
	return sscanf(rest, "%llx %63s", (unsigned long long *)&symbols[n_symbols].address, symbols[n_symbols].name) == 2 && ++n_symbols;
}

static bool add_data(const char *rest)
{
	long n = unhex(rest, data + n_data, MAX_DATA - n_data);

	n_data += n > 0 ? n : 0;
	return n >= 0;
}

static bool add_entry(struct table *table, const char *rest)
{
	u32 i;
	char *end;

	if (table->n == MAX_ENTRIES)
		return false;
	for (i = 0; i < table->width; i++) {
		table->entries[table->n].numbers[i] = strtoull(rest, &end, 16);
		if (end == rest)
			return false;
		rest = end;
	}
	table->n++;
	return !*rest;
}

static void begin(void)
{
	u32 i;

	n_rows = 0;
	n_symbols = 0;
	n_data = 0;
	for (i = 0; i < N_TABLES; i++)
		tables[i].n = 0;
}

/* Is the result that of the file? */
static bool check(const char *name, const char *expected)
{
	struct ksp_match match;
	enum ksp_reason reason;
	char *shown = NULL;
	/* A copy of exactly that size: the sanitizer sees a read behind its end. */
	u8 *copy = malloc(n_data ? n_data : 1);
	size_t size;
	FILE *to = open_memstream(&shown, &size);
	bool same;

	if (!copy || !to)
		exit(2);
	memcpy(copy, data, n_data);
	reason = ksp_match(copy, n_data, &env, &match);
	show_match(to, reason, &match);
	fclose(to);
	ksp_match_free(&env, &match);
	same = !strcmp(shown, expected);
	if (!same)
		printf("%s\n  expected %s\n  but is   %s\n", name, expected, shown);
	free(shown);
	free(copy);
	return same;
}

static void read_line(const char *file, char *line, u32 *n, u32 *differing)
{
	static char name[MAX_LINE], result[MAX_LINE];
	char *rest = strchr(line, ' ');
	u32 i;

	if (!*line || *line == '#')
		return;
	if (rest)
		*rest++ = 0;
	else
		rest = line + strlen(line);
	if (!strcmp(line, "vector")) {
		begin();
		strcpy(name, rest);
		*result = 0;
	} else if (!strcmp(line, "result")) {
		strcpy(result, rest);
	} else if (!strcmp(line, "end")) {
		++*n;
		*differing += !check(name, result);
	} else if (!strcmp(line, "memory") ? !add_memory(rest) : !strcmp(line, "symbol") ? !add_symbol(rest) :
		   !strcmp(line, "data") && !add_data(rest)) {
		bad(file, line);
	} else if (strcmp(line, "memory") && strcmp(line, "symbol") && strcmp(line, "data") && strcmp(line, "about")) {
		for (i = 0; i < N_TABLES && strcmp(line, tables[i].word); i++)
			;
		if (i == N_TABLES || !add_entry(&tables[i], rest))
			bad(file, line);
	}
}

int main(int argc, char **argv)
{
	u32 n = 0, differing = 0;
	char line[MAX_LINE];
	int i;

	for (i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "r");

		if (!file) {
			perror(argv[i]);
			return 2;
		}
		while (fgets(line, sizeof(line), file)) {
			line[strcspn(line, "\n")] = 0;
			read_line(argv[i], line, &n, &differing);
		}
		fclose(file);
	}
	printf("%u vectors, %u with another result\n", n, differing);
	return differing ? 1 : 0;
}
