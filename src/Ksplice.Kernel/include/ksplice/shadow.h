/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shadow fields: members that a patch adds to a struct whose objects exist
 * already.  A field is found by the object's address and an id; it lives in the
 * core module and outlives each update that uses it, so that one update can go
 * on where another one stopped.
 *
 * The rules of its life:
 *
 *   - A field belongs to its object.  Whoever frees the object detaches first;
 *     an address that is used again would find the old object's field.
 *   - The same id means the same type, in all updates.  Ids are chosen by the
 *     patch's author; a CVE's number does well.
 *   - What ksplice_shadow_get() returns stays valid until the field is detached
 *     and a grace period of RCU is over: either hold what keeps the object, or
 *     stay inside rcu_read_lock().
 *   - When the last update that knows an id goes, its post_reverse hook calls
 *     ksplice_shadow_free_all().  What is left is freed with the core module.
 *
 * All of these may be called from several CPUs at once, with spinlocks held or
 * with the machine stopped, as far as @gfp lets them.
 */
#ifndef KSPLICE_SHADOW_H
#define KSPLICE_SHADOW_H

#include <linux/types.h>

/* Fills a new field before anybody sees it, under a spinlock; nonzero refuses it. */
typedef int (*ksplice_shadow_ctor)(const void *object, void *field, void *arg);
/* The last look at a field that nobody finds any more. */
typedef void (*ksplice_shadow_dtor)(const void *object, void *field);

/**
 * ksplice_shadow_get - an object's field
 * @object: its address
 * @id: which field
 *
 * Return: the field, or NULL if it has none.
 */
void *ksplice_shadow_get(const void *object, u32 id);

/**
 * ksplice_shadow_attach - give an object a field that it has not
 * @object: its address
 * @id: which field
 * @size: bytes, zeroed
 * @gfp: how to allocate
 * @ctor: fills it, or NULL
 * @arg: given to @ctor
 *
 * Return: the field; NULL if there is one already, no memory, or @ctor refused.
 */
void *ksplice_shadow_attach(const void *object, u32 id, size_t size, gfp_t gfp,
			    ksplice_shadow_ctor ctor, void *arg);

/**
 * ksplice_shadow_get_or_attach - an object's field, new if it has none
 *
 * The same, but a field that is there is returned as it is: of several callers
 * at once one makes it and all get it.
 *
 * Return: the field; NULL if there is no memory or @ctor refused.
 */
void *ksplice_shadow_get_or_attach(const void *object, u32 id, size_t size, gfp_t gfp,
				   ksplice_shadow_ctor ctor, void *arg);

/**
 * ksplice_shadow_detach - take an object's field away
 * @object: its address
 * @id: which field
 * @dtor: called for it, or NULL
 *
 * Return: true if it had one; of several callers at once, one.
 */
bool ksplice_shadow_detach(const void *object, u32 id, ksplice_shadow_dtor dtor);

/**
 * ksplice_shadow_free_all - detach the fields of all objects
 * @id: which field
 * @dtor: called for each, or NULL
 *
 * Return: how many there were.
 */
unsigned long ksplice_shadow_free_all(u32 id, ksplice_shadow_dtor dtor);

#endif
