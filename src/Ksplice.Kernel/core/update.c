// SPDX-License-Identifier: GPL-2.0
/*
 * The updates that the core knows.
 */

/**
 * DOC: context and locking
 *
 * Process context, ksplice_operation held: it guards the list.
 */
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "core.h"

DEFINE_MUTEX(ksplice_operation);	/* what an update is (core.h) */
LIST_HEAD(ksplice_updates);

/**
 * ksplice_update_free - free an update
 * @update: the update; the last reference of its kobject is gone
 */
void ksplice_update_free(struct ksplice_update *update)
{
	kfree(update->id);
	kfree(update);
}

/**
 * ksplice_find_update - the update of that id
 * @id: 8 hexadecimal digits
 *
 * Return: the update, or NULL if none of its modules is loaded.
 */
struct ksplice_update *ksplice_find_update(const char *id)
{
	struct ksplice_update *update;

	list_for_each_entry(update, &ksplice_updates, list) {
		if (!strcmp(update->id, id))
			return update;
	}
	return NULL;
}
