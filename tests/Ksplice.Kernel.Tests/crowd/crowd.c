// SPDX-License-Identifier: MIT
// As many threads as its argument says, each of which wakes once a second and sleeps again. After SIGUSR1 one of them, another each
// time, reads an eventfd instead; after SIGUSR2 a new thread does. SIGHUP ends one read, and the thread, whose stack may hold old words.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static volatile int chosen = -1;
static int event;

static void *read_event(void *unused)
{
	uint64_t value;

	if (read(event, &value, sizeof(value)) != sizeof(value))
		exit(1);
	return unused;
}

static void *run(void *number)
{
	for (;;) {
		sleep(1);
		if (chosen != (int)(long)number)
			continue;
		chosen = -1;
		return read_event(NULL);
	}
}

int main(int count, char **arguments)
{
	int n = count > 1 ? atoi(arguments[1]) : 1, next = 0, which;
	uint64_t one = 1;
	pthread_attr_t small;
	pthread_t thread;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	event = eventfd(0, 0);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	for (long i = 0; i < n; i++)
		if (pthread_create(&thread, &small, run, (void *)i))
			return 1;
	while (!sigwait(&signals, &which)) {
		if (which == SIGUSR1)
			chosen = next++ * 7 % n;
		else if (which == SIGHUP ? write(event, &one, sizeof(one)) != sizeof(one) :
					   pthread_create(&thread, &small, read_event, NULL))
			return 1;
	}
	return 1;
}
