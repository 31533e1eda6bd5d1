// SPDX-License-Identifier: GPL-2.0
#include "shown.h"

typedef unsigned long long number;

void show_match(FILE *to, enum ksp_reason reason, const struct ksp_match *match)
{
	const struct ksp_failure *failure = &match->failure;
	u32 i;

	fprintf(to, "%d", reason);
	if (reason != KSP_MATCHED && reason != KSP_BAD_DATA) {
		fprintf(to, " %s %s %s %llx %x %u", failure->unit ?: "", failure->object ?: "", failure->symbol ?: "-",
			(number)failure->address, failure->offset, failure->candidates);
		for (i = 0; i < failure->n_expected; i++)
			fprintf(to, " %02x", failure->expected[i]);
		fprintf(to, " /");
		for (i = 0; i < failure->n_found; i++)
			fprintf(to, " %02x", failure->found[i]);
	}
	for (i = 0; i < match->n_exports; i++)
		fprintf(to, " e%llx", (number)match->exports[i]);
	for (i = 0; i < match->n_functions; i++)
		fprintf(to, " f%llx-%llx %llx %llx", (number)match->functions[i].start, (number)match->functions[i].end,
			(number)match->functions[i].jump, (number)match->functions[i].fentry);
	for (i = 0; i < match->n_ranges; i++)
		fprintf(to, " r%s %llx-%llx%s", match->ranges[i].name, (number)match->ranges[i].start, (number)match->ranges[i].end,
			match->ranges[i].ends_in_call ? " call" : "");
}
