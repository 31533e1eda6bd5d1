// SPDX-License-Identifier: MIT
// As many threads as its argument says, each of which wakes once a second and sleeps again. After SIGUSR1 one of them, another each
// time, reads /dev/kmsg from its end instead, where it sleeps until the next message; after SIGUSR2 a new thread does.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static volatile int chosen = -1;

static void *read_kmsg(void *unused)
{
	char record[8192];
	int file = open("/dev/kmsg", O_RDONLY);

	lseek(file, 0, SEEK_END);
	if (read(file, record, sizeof(record)) < 0)
		exit(1);
	close(file);
	return unused;
}

static void *run(void *number)
{
	for (;;) {
		sleep(1);
		if (chosen != (int)(long)number)
			continue;
		chosen = -1;
		read_kmsg(NULL);
	}
	return NULL;
}

int main(int count, char **arguments)
{
	int n = count > 1 ? atoi(arguments[1]) : 1, next = 0, which;
	pthread_attr_t small;
	pthread_t thread;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR1);
	sigaddset(&signals, SIGUSR2);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, 64 << 10);
	for (long i = 0; i < n; i++)
		if (pthread_create(&thread, &small, run, (void *)i))
			return 1;
	while (!sigwait(&signals, &which)) {
		if (which == SIGUSR1)
			chosen = next++ * 7 % n;
		else if (pthread_create(&thread, &small, read_kmsg, NULL))
			return 1;
	}
	return 1;
}
