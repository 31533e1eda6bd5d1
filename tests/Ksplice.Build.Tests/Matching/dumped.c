// SPDX-License-Identifier: GPL-2.0
/*
 * A kernel in a file, as the surroundings of a match.
 *
 * The file, as DumpedKernel.cs writes it (little endian): the number of
 * segments and for each its address, its size and its bytes; the number of
 * symbols and for each its address, the length of its name and the name, sorted
 * by name; the number of jump entries: code, target, key; the number of static
 * calls: site, key; the number of entries of the bug table: code, file, line,
 * flags; of the exception table: code, fixup, data; the address of __fentry__; the number of the function
 * tracer's sites, if the kernel ran, and the sites; the number of addresses at
 * which symbols start, and the addresses; where text with ENDBR starts and ends;
 * the number of ENDBR that boot overwrites, and where they are.  Each table is
 * sorted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dumped.h"

struct segment {
	u64 address;
	u64 size;
	u8 *bytes;
};

struct symbol {
	u64 address;
	const char *name;
	bool same_name;		/* as the one before it */
};

static struct segment *segments;
static struct symbol *symbols;
static struct bucket {
	u32 hash;
	u32 first;		/* 1 + index of the first symbol */
} *buckets;			/* by hash of the name */
static u64 n_buckets = 1;
static const u64 *jumps, *calls, *bugs, *exceptions;
static const u64 *sites, *starts, *seals;
static u64 n_segments, n_symbols, n_jumps, n_calls, n_bugs, n_exceptions, n_sites, n_starts, n_seals, fentry, text_start, text_end;

static int read_memory(struct ksp_env *env, u64 address, void *to, size_t n)
{
	u64 i;

	(void)env;
	for (i = 0; i < n_segments; i++) {
		u64 offset = address - segments[i].address;

		if (offset < segments[i].size && n <= segments[i].size - offset) {
			memcpy(to, segments[i].bytes + offset, n);
			return 0;
		}
	}
	return -EFAULT;
}

static u32 hash(const char *name)
{
	u32 value = 0x811c9dc5;

	while (*name)
		value = (value ^ (u8)*name++) * 0x01000193;
	return value ^ value >> 15;
}

/* Where a name's bucket is: that of its first symbol, or an empty one. */
static struct bucket *bucket_of(const char *name)
{
	u32 value = hash(name);
	u64 at = value & (n_buckets - 1);

	while (buckets[at].first &&
	       (buckets[at].hash != value || strcmp(symbols[buckets[at].first - 1].name, name)))
		at = (at + 1) & (n_buckets - 1);
	buckets[at].hash = value;
	return &buckets[at];
}

static int candidates(struct ksp_env *env, const char *name, int (*found)(void *arg, u64 address), void *arg)
{
	u64 first = bucket_of(name)->first, at;

	(void)env;
	if (!first)
		return -ENOENT;
	for (at = first - 1; at < n_symbols && (at == first - 1 || symbols[at].same_name); at++) {
		if (found(arg, symbols[at].address))
			break;
	}
	return 0;
}

/* The number of rows of @width numbers whose first is at most @value. */
static u64 count_up_to(const u64 *table, u64 n, u64 width, u64 value)
{
	u64 low = 0, high = n;

	while (low < high) {
		u64 middle = (low + high) / 2;

		if (table[middle * width] <= value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static const u64 *find_row(const u64 *table, u64 n, u64 width, u64 value)
{
	u64 count = count_up_to(table, n, width, value);

	return count && table[(count - 1) * width] == value ? &table[(count - 1) * width] : NULL;
}

static int extent(struct ksp_env *env, u64 address, u64 *start, u64 *end)
{
	u64 count = count_up_to(starts, n_starts, 1, address);

	(void)env;
	if (!count)
		return -ENOENT;
	*start = starts[count - 1];
	*end = count < n_starts ? starts[count] : ~0ULL;
	return 0;
}

static int jump_entry(struct ksp_env *env, u64 code, u64 *target, u64 *key)
{
	const u64 *row = find_row(jumps, n_jumps, 3, code);

	(void)env;
	if (!row)
		return -ENOENT;
	*target = row[1];
	*key = row[2];
	return 0;
}

static int static_call_key(struct ksp_env *env, u64 code, u64 *key)
{
	const u64 *row = find_row(calls, n_calls, 2, code);

	(void)env;
	if (!row)
		return -ENOENT;
	*key = row[1];
	return 0;
}

static int bug_entry(struct ksp_env *env, u64 code, struct ksp_bug *bug)
{
	const u64 *row = find_row(bugs, n_bugs, 6, code);

	(void)env;
	if (!row)
		return -ENOENT;
	*bug = (struct ksp_bug){ .file = row[1], .line = row[2], .flags = row[3], .format = row[4], .entry = row[5] };
	return 0;
}

static int exception_entry(struct ksp_env *env, u64 code, u64 *fixup, u32 *data)
{
	const u64 *row = find_row(exceptions, n_exceptions, 3, code);

	(void)env;
	if (!row)
		return -ENOENT;
	*fixup = row[1];
	*data = row[2];
	return 0;
}

static u64 count_exceptions(struct ksp_env *env, u64 start, u64 end)
{
	(void)env;
	return start < end ? count_up_to(exceptions, n_exceptions, 3, end - 1) - count_up_to(exceptions, n_exceptions, 3, start - 1) : 0;
}

static bool is_ftrace_target(struct ksp_env *env, u64 site, u64 target)
{
	(void)env;
	return target == fentry || find_row(sites, n_sites, 1, site);
}

static bool is_probed(struct ksp_env *env, u64 address)
{
	(void)env;
	(void)address;
	return false;
}

static bool has_endbr(struct ksp_env *env, u64 address)
{
	static const u8 endbr[] = { 0xf3, 0x0f, 0x1e, 0xfa };
	u8 found[sizeof(endbr)];

	if (address < text_start || address >= text_end)
		return true;
	return !read_memory(env, address, found, sizeof(found)) && !memcmp(found, endbr, sizeof(endbr)) &&
	       !find_row(seals, n_seals, 1, address);
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

const u8 *read_file(const char *path, size_t *size)
{
	int file = open(path, O_RDONLY);
	struct stat status;
	void *bytes;

	if (file < 0 || fstat(file, &status)) {
		perror(path);
		exit(2);
	}
	*size = status.st_size;
	/* A copy of exactly that size: the sanitizer sees a read behind its end. */
	bytes = malloc(*size ? *size : 1);
	if (!bytes || read(file, bytes, *size) != (ssize_t)*size) {
		perror(path);
		exit(2);
	}
	close(file);
	return bytes;
}

static u64 number(const u8 **at)
{
	u64 value;

	memcpy(&value, *at, sizeof(value));
	*at += sizeof(value);
	return value;
}

static const u64 *numbers(const u8 **at, u64 n)
{
	u64 *table = malloc(n * sizeof(u64) + 1);

	memcpy(table, *at, n * sizeof(u64));
	*at += n * sizeof(u64);
	return table;
}

void load_kernel(const char *path)
{
	size_t size;
	const u8 *at = read_file(path, &size);
	u64 i;

	n_segments = number(&at);
	segments = calloc(n_segments, sizeof(*segments));
	for (i = 0; i < n_segments; i++) {
		segments[i].address = number(&at);
		segments[i].size = number(&at);
		segments[i].bytes = (u8 *)at;
		at += segments[i].size;
	}
	n_symbols = number(&at);
	symbols = calloc(n_symbols, sizeof(*symbols));
	for (i = 0; i < n_symbols; i++) {
		u64 length;

		symbols[i].address = number(&at);
		length = number(&at);
		symbols[i].name = strndup((const char *)at, length);
		at += length;
	}
	while (n_buckets < 2 * n_symbols + 1)
		n_buckets *= 2;
	buckets = calloc(n_buckets, sizeof(*buckets));
	for (i = 0; i < n_symbols; i++) {
		symbols[i].same_name = i && !strcmp(symbols[i].name, symbols[i - 1].name);
		if (!symbols[i].same_name)
			bucket_of(symbols[i].name)->first = i + 1;
	}
	n_jumps = number(&at);
	jumps = numbers(&at, 3 * n_jumps);
	n_calls = number(&at);
	calls = numbers(&at, 2 * n_calls);
	n_bugs = number(&at);
	bugs = numbers(&at, 6 * n_bugs);
	n_exceptions = number(&at);
	exceptions = numbers(&at, 3 * n_exceptions);
	fentry = number(&at);
	n_sites = number(&at);
	sites = numbers(&at, n_sites);
	n_starts = number(&at);
	starts = numbers(&at, n_starts);
	text_start = number(&at);
	text_end = number(&at);
	n_seals = number(&at);
	seals = numbers(&at, n_seals);
}

struct ksp_env kernel_env = {
	read_memory, candidates, extent, jump_entry, static_call_key, bug_entry, exception_entry, count_exceptions,
	is_ftrace_target, is_probed, has_endbr, NULL, NULL, allocate, release,
};

bool exchange(u64 address, u8 *bytes, size_t n)
{
	u64 i;
	size_t at;

	for (i = 0; i < n_segments; i++) {
		u64 offset = address - segments[i].address;

		if (offset >= segments[i].size || n > segments[i].size - offset)
			continue;
		for (at = 0; at < n; at++) {
			u8 old = segments[i].bytes[offset + at];

			segments[i].bytes[offset + at] = bytes[at];
			bytes[at] = old;
		}
		return true;
	}
	return false;
}
