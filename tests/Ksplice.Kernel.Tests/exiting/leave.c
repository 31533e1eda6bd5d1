// SPDX-License-Identifier: MIT
// A thread that asks for an I/O priority, so that the kernel has something to do for it at the very end of its way out, says which
// thread it is, and leaves. The process stays.
#include <pthread.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static void *leave(void *unused)
{
	(void)unused;
	if (syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 3))
		return NULL;
	printf("%ld\n", syscall(SYS_gettid));
	fflush(stdout);
	return NULL;
}

int main(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, leave, NULL))
		return 1;
	pause();
	return 0;
}
