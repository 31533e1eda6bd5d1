// SPDX-License-Identifier: MIT
#include <string.h>
#include <sys/mman.h>

/* Runs code on a page that may only be executed; killed where that is refused. */
int main(void)
{
	unsigned char *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return 2;
	*page = 0xc3;
	if (mprotect(page, 4096, PROT_EXEC))
		return 3;
	((void (*)(void))page)();
	return 0;
}
