// SPDX-License-Identifier: GPL-2.0
/*
 * The ranges in which no thread may be, and who was found in one.
 */

/**
 * DOC: context
 *
 * Collected in process context with ksplice_operation held; asked anywhere, also
 * inside stop_machine.
 */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/sort.h>
#include <linux/string.h>

#include "core.h"

static int compare_ranges(const void *a, const void *b)
{
	const struct ksplice_range *one = a, *other = b;

	return one->start < other->start ? -1 : one->start > other->start;
}

static u32 count_ranges(const struct ksplice_change *change)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;
	u32 n = 0;

	for_each_part(part, change) {
		for_each_target(target, part->update)
			n += ksplice_change_goes(change, part) ? 1 : target->n_ranges;
	}
	return n;
}

/* Returns how many. */
static u32 add_ranges(struct ksplice_range *item, const struct ksplice_target *target, bool goes)
{
	if (!goes) {
		if (target->n_ranges)
			memcpy(item, target->ranges, target->n_ranges * sizeof(*item));
		return target->n_ranges;
	}
	item->name = "new code";
	ksplice_module_text(target->primary, &item->start, &item->end);
	item->start--;	/* no function's address is a mere pointer here */
	item->ends_in_call = true;
	return 1;
}

/**
 * ksplice_ranges_collect - all ranges in which no thread may be
 * @change: replaced code of the update that comes counts, and new code of those that go
 * @ranges: takes them, sorted; names stay the updates'; free items with kvfree()
 *
 * Context: process context, ksplice_operation held.
 * Return: 0 or -ENOMEM.
 */
int ksplice_ranges_collect(const struct ksplice_change *change, struct ksplice_ranges *ranges)
{
	const struct ksplice_part *part;
	struct ksplice_target *target;
	u32 i, n = count_ranges(change);

	ranges->n = n;
	ranges->items = ksplice_fails("memory for ranges to check") ? NULL :
		       kvcalloc(n, sizeof(*ranges->items), GFP_KERNEL);
	if (!ranges->items && n)
		return -ENOMEM;
	n = 0;
	for_each_part(part, change) {
		for_each_target(target, part->update)
			n += add_ranges(&ranges->items[n], target, ksplice_change_goes(change, part));
	}
	sort(ranges->items, n, sizeof(*ranges->items), compare_ranges, NULL);
	ranges->lowest = ULONG_MAX;
	ranges->highest = 0;
	for (i = 0; i < n; i++) {
		ranges->lowest = min(ranges->lowest, ranges->items[i].start);
		ranges->highest = max(ranges->highest, ranges->items[i].end);
	}
	return 0;
}

/**
 * ksplice_find_range - the range that a return address of a thread leads into
 * @ranges: the ranges, sorted
 * @address: any word
 *
 * A thread at the very start has executed nothing of the function yet, and a
 * function's address is often on a stack as a mere pointer: the start does not
 * count.  A return address equal to the end belongs to a last call that does
 * not return, so the end does where there is one (K13).
 *
 * Return: the range, or NULL.
 */
const struct ksplice_range *ksplice_find_range(const struct ksplice_ranges *ranges,
					       unsigned long address)
{
	u32 low = 0, high = ranges->n;
	const struct ksplice_range *range;

	if (address <= ranges->lowest || address > ranges->highest)
		return NULL;
	/* The last range that starts before @address. */
	while (high - low > 1) {
		u32 middle = low + (high - low) / 2;

		if (ranges->items[middle].start < address)
			low = middle;
		else
			high = middle;
	}
	range = &ranges->items[low];
	return address < range->end || (range->ends_in_call && address == range->end) ? range : NULL;
}

/**
 * ksplice_conflict_add - record that a thread is in the way
 * @update: takes it
 * @task: the thread
 * @what: "" or what the thread is in, of the range
 * @range: the range
 * @address: where in it
 */
void ksplice_conflict_add(struct ksplice_update *update, const struct task_struct *task,
			  const char *what, const struct ksplice_range *range,
			  unsigned long address)
{
	struct ksplice_conflict *conflict = &update->found[update->n_found];

	if (update->n_found++ >= KSPLICE_MAX_CONFLICTS)
		return;
	memcpy(conflict->comm, task->comm, TASK_COMM_LEN);
	conflict->comm[TASK_COMM_LEN - 1] = 0;
	conflict->pid = task->pid;
	scnprintf(conflict->name, sizeof(conflict->name), "%s%s", what, range->name);
	conflict->address = address;
}
