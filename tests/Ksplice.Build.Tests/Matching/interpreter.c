// SPDX-License-Identifier: GPL-2.0
/*
 * The interpreter of match/ as a program, for tests: it matches one file of
 * match data after the other against a kernel in a file (dumped.c) and prints the
 * results (shown.c), a zero behind each.
 *
 * usage: interpreter KERNEL [-t TIMES] DATA...
 *
 * DATA may begin with @ADDRESS:HEX@: then these bytes stand there meanwhile.  With
 * -t it prints nothing but the seconds of processor time that it took to match
 * them all so many times.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "dumped.h"
#include "shown.h"

static void show(const char *path)
{
	struct ksp_match match;
	enum ksp_reason reason;
	size_t size;
	const u8 *data = read_file(path, &size);

	reason = ksp_match(data, size, &kernel_env, &match);
	show_match(stdout, reason, &match);
	putchar(0);
	ksp_match_free(&kernel_env, &match);
	free((void *)data);
}

/* Matches all files @times times over and prints the seconds that takes. */
static void measure(unsigned int times, int n, char **paths)
{
	const u8 **data = calloc(n, sizeof(*data));
	size_t *sizes = calloc(n, sizeof(*sizes));
	struct timespec from, to;
	struct ksp_match match;
	int i;

	for (i = 0; i < n; i++)
		data[i] = read_file(paths[i], &sizes[i]);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
	while (times--) {
		for (i = 0; i < n; i++) {
			ksp_match(data[i], sizes[i], &kernel_env, &match);
			ksp_match_free(&kernel_env, &match);
		}
	}
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
	printf("%.6f\n", (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) / 1e9);
}

#define MAX_CHANGE	64

/* Shows a match with other bytes in memory. */
static void show_changed(char *argument)
{
	u8 bytes[MAX_CHANGE];
	char *hex, *path;
	u64 address = strtoull(argument + 1, &hex, 16);
	size_t n = 0;

	path = strchr(hex, '@');
	if (*hex++ != ':' || !path)
		exit(2);
	for (; hex < path && n < MAX_CHANGE; hex += 2, n++)
		sscanf(hex, "%2hhx", &bytes[n]);
	if (!exchange(address, bytes, n))
		exit(2);
	show(path + 1);
	exchange(address, bytes, n);
}

int main(int argc, char **argv)
{
	int i;

	if (argc < 2)
		return 2;
	load_kernel(argv[1]);
	if (argc > 3 && !strcmp(argv[2], "-t")) {
		measure(atoi(argv[3]), argc - 4, argv + 4);
		return 0;
	}
	for (i = 2; i < argc; i++) {
		if (*argv[i] == '@')
			show_changed(argv[i]);
		else
			show(argv[i]);
	}
	return 0;
}
