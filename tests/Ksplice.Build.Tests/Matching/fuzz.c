// SPDX-License-Identifier: GPL-2.0
/*
 * The interpreter of match/ under libFuzzer: malformed match data over a real
 * kernel (dumped.c, $KSPLICE_FUZZ_KERNEL).  tests/long/fuzz-match runs it.
 */
#include <stdlib.h>
#include <string.h>

#include "dumped.h"
#include <ksplice/format.h>

size_t LLVMFuzzerMutate(u8 *data, size_t size, size_t max_size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *path = getenv("KSPLICE_FUZZ_KERNEL");

	(void)argc;
	(void)argv;
	if (!path)
		exit(2);
	load_kernel(path);
	return 0;
}

/* What every later check hangs on is repaired most of the time. */
size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t max_size, unsigned int seed)
{
	struct ksp_header header;

	size = LLVMFuzzerMutate(data, size, max_size);
	if (size < sizeof(header) || seed % 16 == 0)
		return size;
	memcpy(&header, data, sizeof(header));
	header.magic = KSP_MATCH_MAGIC;
	header.version = KSP_MATCH_VERSION;
	header.size = size;
	memcpy(data, &header, sizeof(header));
	return size;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct ksp_match match;

	ksp_match(data, size, &kernel_env, &match);
	ksp_match_free(&kernel_env, &match);
	return 0;
}
