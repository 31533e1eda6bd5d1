/* SPDX-License-Identifier: GPL-2.0 */
#ifndef SHOWN_H
#define SHOWN_H

#include <stdio.h>

#include <ksplice/match.h>

/* Prints a result as DumpedKernel.Show prints the C# interpreter's. */
void show_match(FILE *to, enum ksp_reason reason, const struct ksp_match *match);

#endif
