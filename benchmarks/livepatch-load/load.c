// SPDX-License-Identifier: GPL-2.0
/*
 * Threads of five kinds, until it is killed: load ASLEEP BUSY CALLING INSIDE STAYING
 *
 *   ASLEEP   sleep in another system call
 *   BUSY     compute and make no system call
 *   CALLING  write and read an eventfd without pause, so that they call the function and are not held up in it
 *   INSIDE   are held up in the function for 150 ms of every 200, all at the same time
 *   STAYING  are held up in the function and nobody wakes them
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static int *doors;
static int n_doors;

static int open_event(int flags)
{
	int event = eventfd(0, flags);

	if (event < 0) {
		perror("eventfd");
		exit(1);
	}
	return event;
}

static void *sleep_elsewhere(void *unused)
{
	for (;;)
		pause();
	return NULL;
}

static void *compute(void *unused)
{
	for (volatile uint64_t n = 0;; n++)
		;
	return NULL;
}

static void *call(void *unused)
{
	int event = open_event(EFD_NONBLOCK);
	uint64_t value = 1;

	while (write(event, &value, sizeof(value)) == sizeof(value) &&
	       read(event, &value, sizeof(value)) == sizeof(value) && value == 1)
		;
	fprintf(stderr, "wrong answer of an eventfd\n");
	exit(1);
}

static void *wait_inside(void *door)
{
	uint64_t value;

	while (read(*(int *)door, &value, sizeof(value)) == sizeof(value))
		usleep(50000);
	fprintf(stderr, "a wait ended without a value\n");
	exit(1);
}

static void start(int count, void *(*run)(void *), int *arguments)
{
	pthread_attr_t attributes;
	pthread_t thread;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 65536);
	for (int i = 0; i < count; i++) {
		if (pthread_create(&thread, &attributes, run, arguments ? &arguments[i] : NULL)) {
			perror("thread");
			exit(1);
		}
	}
}

static int *open_doors(int count)
{
	int *events = calloc(count + 1, sizeof(*events));

	for (int i = 0; i < count; i++)
		events[i] = open_event(0);
	return events;
}

int main(int argc, char **argv)
{
	uint64_t one = 1;

	if (argc != 6)
		return 2;
	n_doors = atoi(argv[4]);
	doors = open_doors(n_doors);
	start(atoi(argv[1]), sleep_elsewhere, NULL);
	start(atoi(argv[2]), compute, NULL);
	start(atoi(argv[3]), call, NULL);
	start(n_doors, wait_inside, doors);
	start(atoi(argv[5]), wait_inside, open_doors(atoi(argv[5])));
	for (;;) {
		usleep(200000);
		for (int i = 0; i < n_doors; i++) {
			if (write(doors[i], &one, sizeof(one)) != sizeof(one))
				return 1;
		}
	}
}
