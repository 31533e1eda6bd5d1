// SPDX-License-Identifier: GPL-2.0
/*
 * The interpreter of match/ as a program, for tests: it matches one
 * file of match data after the other against a dumped kernel and prints the
 * results, a zero behind each, as InterpreterTests prints the C# interpreter's.
 *
 * usage: interpreter KERNEL DATA...
 *
 * KERNEL, written by the test (little endian): the number of segments and for
 * each its address, its size and its bytes; the number of symbols and for each
 * its address, the length of its name and the name, sorted by name; the number
 * of jump entries: code, target, key; the number of static calls: site, key;
 * the address of __fentry__; the number of addresses at which symbols start,
 * and the addresses, sorted.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ksplice/match.h>

struct segment {
	u64 address;
	u64 size;
	const u8 *bytes;
};

struct symbol {
	u64 address;
	const char *name;
};

static struct segment *segments;
static struct symbol *symbols;
static const u64 *jumps, *calls;
static const u64 *starts;
static u64 n_segments, n_symbols, n_jumps, n_calls, n_starts, fentry;

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

static int candidates(struct ksp_env *env, const char *name, int (*found)(void *arg, u64 address), void *arg)
{
	u64 low = 0, high = n_symbols;

	(void)env;
	while (low < high) {
		u64 middle = (low + high) / 2;

		if (strcmp(symbols[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == n_symbols || strcmp(symbols[low].name, name))
		return -ENOENT;
	for (; low < n_symbols && !strcmp(symbols[low].name, name); low++) {
		if (found(arg, symbols[low].address))
			break;
	}
	return 0;
}

static int extent(struct ksp_env *env, u64 address, u64 *start, u64 *end)
{
	u64 low = 0, high = n_starts;

	(void)env;
	while (low < high) {
		u64 middle = (low + high) / 2;

		if (starts[middle] <= address)
			low = middle + 1;
		else
			high = middle;
	}
	if (!low)
		return -ENOENT;
	*start = starts[low - 1];
	*end = low < n_starts ? starts[low] : ~0ULL;
	return 0;
}

static int jump_entry(struct ksp_env *env, u64 code, u64 *target, u64 *key)
{
	u64 i;

	(void)env;
	for (i = 0; i < n_jumps; i++) {
		if (jumps[3 * i] != code)
			continue;
		*target = jumps[3 * i + 1];
		*key = jumps[3 * i + 2];
		return 0;
	}
	return -ENOENT;
}

static int static_call_key(struct ksp_env *env, u64 code, u64 *key)
{
	u64 i;

	(void)env;
	for (i = 0; i < n_calls; i++) {
		if (calls[2 * i] != code)
			continue;
		*key = calls[2 * i + 1];
		return 0;
	}
	return -ENOENT;
}

static bool is_ftrace_target(struct ksp_env *env, u64 site, u64 target)
{
	(void)env;
	(void)site;
	return target == fentry;
}

static bool is_probed(struct ksp_env *env, u64 address)
{
	(void)env;
	(void)address;
	return false;
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

static const u8 *map(const char *path, size_t *size)
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

static void load(const char *path)
{
	size_t size;
	const u8 *at = map(path, &size);
	u64 i;

	n_segments = number(&at);
	segments = calloc(n_segments, sizeof(*segments));
	for (i = 0; i < n_segments; i++) {
		segments[i].address = number(&at);
		segments[i].size = number(&at);
		segments[i].bytes = at;
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
	n_jumps = number(&at);
	jumps = memcpy(malloc(n_jumps * 24 + 1), at, n_jumps * 24);
	at += n_jumps * 24;
	n_calls = number(&at);
	calls = memcpy(malloc(n_calls * 16 + 1), at, n_calls * 16);
	at += n_calls * 16;
	fentry = number(&at);
	n_starts = number(&at);
	starts = memcpy(malloc(n_starts * 8 + 1), at, n_starts * 8);
}

static void show(const char *path)
{
	struct ksp_env env = {
		read_memory, candidates, extent, jump_entry, static_call_key, is_ftrace_target, is_probed, NULL, NULL, allocate, release,
	};
	struct ksp_match match;
	enum ksp_reason reason;
	size_t size;
	const u8 *data = map(path, &size);
	u32 i;

	reason = ksp_match(data, size, &env, &match);
	printf("%d", reason);
	if (reason != KSP_MATCHED && reason != KSP_BAD_DATA) {
		printf(" %s %s %s %llx %x %u", match.failure.unit ?: "", match.failure.object ?: "", match.failure.symbol ?: "-",
		       (unsigned long long)match.failure.address, match.failure.offset, match.failure.candidates);
		for (i = 0; i < match.failure.n_expected; i++)
			printf(" %02x", match.failure.expected[i]);
		printf(" /");
		for (i = 0; i < match.failure.n_found; i++)
			printf(" %02x", match.failure.found[i]);
	}
	for (i = 0; i < match.n_exports; i++)
		printf(" e%llx", (unsigned long long)match.exports[i]);
	for (i = 0; i < match.n_functions; i++)
		printf(" f%llx-%llx %llx %llx", (unsigned long long)match.functions[i].start, (unsigned long long)match.functions[i].end,
		       (unsigned long long)match.functions[i].jump, (unsigned long long)match.functions[i].fentry);
	for (i = 0; i < match.n_ranges; i++)
		printf(" r%s %llx-%llx", match.ranges[i].name, (unsigned long long)match.ranges[i].start, (unsigned long long)match.ranges[i].end);
	putchar(0);
	ksp_match_free(&env, &match);
	free((void *)data);
}

int main(int argc, char **argv)
{
	int i;

	load(argv[1]);
	for (i = 2; i < argc; i++)
		show(argv[i]);
	return 0;
}
