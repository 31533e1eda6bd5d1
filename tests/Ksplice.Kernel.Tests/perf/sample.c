// SPDX-License-Identifier: GPL-2.0
/*
 * Samples the kernel by a perf event while it reads /proc/self/smaps over and
 * over, and tells how many samples lie in a range of code, and how many have a
 * caller in that range.
 *
 * usage: sample START END     hexadecimal
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGES	512

int main(int argc, char **argv)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_SOFTWARE, .size = sizeof(attr), .config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = 200000, .sample_type = PERF_SAMPLE_IP | PERF_SAMPLE_CALLCHAIN,
		.exclude_user = 1, .exclude_callchain_user = 1,
	};
	unsigned long long start = argc > 2 ? strtoull(argv[1], NULL, 16) : 0, end = argc > 2 ? strtoull(argv[2], NULL, 16) : 0;
	int event = syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
	size_t page = sysconf(_SC_PAGESIZE), size = PAGES * page;
	struct perf_event_mmap_page *head;
	unsigned long long at, inside = 0, called = 0, all = 0;
	time_t until = time(NULL) + 4;
	char *ring, text[65536];

	head = mmap(NULL, size + page, PROT_READ | PROT_WRITE, MAP_SHARED, event, 0);
	if (event < 0 || head == MAP_FAILED) {
		perror("perf_event_open");
		return 1;
	}
	while (time(NULL) < until) {
		int file = open("/proc/self/smaps", O_RDONLY);

		while (read(file, text, sizeof(text)) > 0)
			;
		close(file);
	}
	ioctl(event, PERF_EVENT_IOC_DISABLE, 0);
	ring = (char *)head + page;
	for (at = 0; at < head->data_head && at < size;) {
		struct perf_event_header *record = (void *)(ring + at);
		unsigned long long *words = (void *)(record + 1), i;

		if (at + record->size > size)
			break;
		if (record->type == PERF_RECORD_SAMPLE) {
			int caller = 0;

			all++;
			inside += words[0] >= start && words[0] < end;
			/* The sample itself is the second word of the chain, behind a mark. */
			for (i = 2; i < words[1]; i++)
				caller |= words[2 + i] >= start && words[2 + i] < end;
			called += caller;
		}
		at += record->size;
	}
	printf("%d %d %d\n", all > 0, inside > 0, called > 0);
	return 0;
}
