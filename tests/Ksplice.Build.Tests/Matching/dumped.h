/* SPDX-License-Identifier: GPL-2.0 */
#ifndef DUMPED_H
#define DUMPED_H

#include <ksplice/match.h>

/* The kernel that load_kernel() has read. */
extern struct ksp_env kernel_env;

/* Reads a whole file into memory of exactly its size, or ends the program. */
const u8 *read_file(const char *path, size_t *size);

void load_kernel(const char *path);

/* Exchanges @bytes with what stands at @address; false if that is not there. */
bool exchange(u64 address, u8 *bytes, size_t n);

#endif
