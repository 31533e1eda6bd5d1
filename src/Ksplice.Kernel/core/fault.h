/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Failing on purpose, in a core that is built for that (make KSPLICE_FAULTS=y).
 *
 * Each place that can fail asks ksplice_fails() first.  The module parameter
 * fail_at counts down over these questions; the one at which it comes to zero
 * is answered with yes, once.  In any other core there is no such question.
 *
 * What any task may do at any time asks ksplice_fails_by_name(), which a count
 * leaves out: else a count would come to zero elsewhere each time.
 *
 * Where a test has to do something while the core is at a point, the core waits
 * there by ksplice_wait_by_name() until fail_at is written again.
 */
#ifndef KSPLICE_FAULT_H
#define KSPLICE_FAULT_H

#include <linux/types.h>

#ifdef KSPLICE_FAULTS
bool ksplice_fails(const char *point);
bool ksplice_fails_by_name(const char *point);
void ksplice_wait_by_name(const char *point);
#else
static inline bool ksplice_fails(const char *point)
{
	return false;
}

static inline bool ksplice_fails_by_name(const char *point)
{
	return false;
}

static inline void ksplice_wait_by_name(const char *point)
{
}
#endif

#endif
