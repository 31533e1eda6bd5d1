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

/**
 * ksplice_ranges_collect - all ranges of an update in which no thread may be
 * @update: the update, whole
 * @undo: the new code instead of the replaced code
 * @ranges: takes them, sorted; names stay the update's; free items with kvfree()
 *
 * Context: process context, ksplice_operation held.
 * Return: 0 or -ENOMEM.
 */
int ksplice_ranges_collect(const struct ksplice_update *update, bool undo,
			   struct ksplice_ranges *ranges)
{
	struct ksplice_target *target;
	u32 i, n = 0;

	for_each_target(target, update)
		n += undo ? 1 : target->n_ranges;
	ranges->n = n;
	ranges->items = ksplice_fails("memory for ranges to check") ? NULL :
		       kvcalloc(n, sizeof(*ranges->items), GFP_KERNEL);
	if (!ranges->items && n)
		return -ENOMEM;
	n = 0;
	for_each_target(target, update) {
		struct ksplice_range *item = &ranges->items[n];

		if (undo) {
			item->name = "new code";
			ksplice_module_text(target->primary, &item->start, &item->end);
			item->start--;	/* no function's address is a mere pointer here */
			item->ends_in_call = true;
			n++;
		} else if (target->n_ranges) {
			memcpy(item, target->ranges, target->n_ranges * sizeof(*item));
			n += target->n_ranges;
		}
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
