// SPDX-License-Identifier: GPL-2.0
/*
 * Does one thing, waits until it is done and prints the milliseconds that it took.
 *
 *   measure load MODULE …          loads modules
 *   measure stage FOLDER STAGE S   asks an update for a stage, again while threads are in the way, for S seconds at most;
 *                                  prints the tries, how often the machine was stopped, how many threads were held and the last
 *                                  pause in ns, too
 *   measure zero FILE S            waits until a file says 0, or is gone
 *   measure effect                 prints the error of a read that is too short
 *
 * Ends with 1 if the time is over.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e3 + time.tv_nsec / 1e6;
}

static const char *contents(const char *folder, const char *name)
{
	static char text[256];
	char path[256];
	ssize_t length;
	int file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = open(path, O_RDONLY);
	length = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
	if (file >= 0)
		close(file);
	if (length < 0)
		return NULL;
	text[length] = 0;
	text[strcspn(text, "\n")] = 0;
	return text;
}

static int load(char **modules)
{
	for (; *modules; modules++) {
		int file = open(*modules, O_RDONLY | O_CLOEXEC);

		if (file < 0 || syscall(SYS_finit_module, file, "", 0)) {
			perror(*modules);
			return 2;
		}
		close(file);
	}
	return 0;
}

static int ask(const char *folder, const char *stage, double end)
{
	char path[256];
	int tries = 0, stops = 0, held = 0;

	snprintf(path, sizeof(path), "%s/stage", folder);
	do {
		int file = open(path, O_WRONLY);

		if (file < 0 || write(file, stage, strlen(stage)) < 0) {
			perror(path);
			return 2;
		}
		close(file);
		while (!strcmp(contents(folder, "busy"), "1"))
			usleep(1000);
		tries += atoi(contents(folder, "tries"));
		stops += atoi(contents(folder, "stops"));
		held += atoi(contents(folder, "held"));
		if (!strcmp(contents(folder, "stage"), stage)) {
			printf("%d %d %d %s ", tries, stops, held, contents(folder, "pause_ns"));
			return 0;
		}
		if (strcmp(contents(folder, "abort_cause"), "code_busy")) {
			fprintf(stderr, "%s\n", contents(folder, "reason"));
			return 2;
		}
	} while (now() < end);
	printf("%d %d %d 0 ", tries, stops, held);
	return 1;
}

static int wait_zero(const char *path, double end)
{
	const char *text;

	while ((text = contents("/", path)) && strcmp(text, "0")) {
		if (now() > end)
			return 1;
		usleep(1000);
	}
	return 0;
}

int main(int argc, char **argv)
{
	double start = now();
	int code = 2;
	char byte;

	if (argc > 2 && !strcmp(argv[1], "load")) {
		code = load(argv + 2);
	} else if (argc == 5 && !strcmp(argv[1], "stage")) {
		code = ask(argv[2], argv[3], start + atoi(argv[4]) * 1e3);
	} else if (argc == 4 && !strcmp(argv[1], "zero")) {
		code = wait_zero(argv[2], start + atoi(argv[3]) * 1e3);
	} else if (argc == 2 && !strcmp(argv[1], "effect")) {
		errno = 0;
		puts(read(eventfd(1, EFD_NONBLOCK), &byte, 1) < 0 && errno == EMSGSIZE ? "new" : errno == EINVAL ? "old" : "wrong");
		return 0;
	}
	if (code < 2)
		printf("%.1f\n", now() - start);
	return code;
}
