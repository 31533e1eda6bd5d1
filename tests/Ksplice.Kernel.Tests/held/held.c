// SPDX-License-Identifier: MIT
// Sleeps for as many milliseconds as the second argument says, in the system call that the first one names, and says what that
// returned: nanosleep, poll, epoll, or read of an eventfd, which nobody ends.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	const char *call = count == 3 ? arguments[1] : "";
	int ms = count == 3 ? atoi(arguments[2]) : 0, result = 0;
	struct timespec time = { ms / 1000, ms % 1000 * 1000000 }, start, end;
	struct epoll_event event;
	unsigned long value;

	clock_gettime(CLOCK_MONOTONIC, &start);
	if (!strcmp(call, "nanosleep"))
		result = nanosleep(&time, NULL);
	else if (!strcmp(call, "poll"))
		result = poll(NULL, 0, ms);
	else if (!strcmp(call, "epoll"))
		result = epoll_wait(epoll_create1(0), &event, 1, ms);
	else if (!strcmp(call, "read"))
		result = read(eventfd(0, 0), &value, sizeof(value));
	else
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &end);
	ms -= (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
	printf("%s: %s, %s\n", call, result < 0 ? strerror(errno) : "ok", ms > 0 ? "early" : "in time");
	return 0;
}
