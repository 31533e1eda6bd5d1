// SPDX-License-Identifier: GPL-2.0
/*
 * Shadow fields (<ksplice/shadow.h> has the rules of their life).
 */

/**
 * DOC: how it works
 *
 * One hash table of fields by object and id.  Readers walk a bucket under RCU;
 * who adds or removes takes the bucket's lock, so of two that add the same
 * field one finds the other's.  A removed field is freed after a grace period.
 */

/**
 * DOC: context and locking
 *
 * Any context but NMI.  A bucket's lock is taken with interrupts off and held
 * for a search, and for @ctor.  Nobody holds it while the machine is stopped, as
 * a stopper cannot preempt a holder, so hooks inside the stop may call all of
 * this.  With PREEMPT_RT it can, and no hook runs inside the stop (K28).
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/hash.h>
#include <linux/module.h>
#include <linux/rculist.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

#include <ksplice/shadow.h>
#include "core.h"

#define BITS	10

struct field {
	struct hlist_node node;
	struct rcu_head rcu;
	const void *object;
	u32 id;
	char data[] __aligned(sizeof(u64));
};

static struct bucket {
	struct hlist_head fields;
	spinlock_t lock;	/* adding and removing */
} buckets[1 << BITS];

static struct bucket *bucket_of(const void *object, u32 id)
{
	return &buckets[hash_64((unsigned long)object ^ ((u64)id << 32), BITS)];
}

/* Under RCU or the bucket's lock. */
static struct field *find(struct bucket *bucket, const void *object, u32 id)
{
	struct field *field;

	hlist_for_each_entry_rcu(field, &bucket->fields, node, lockdep_is_held(&bucket->lock)) {
		if (field->object == object && field->id == id)
			return field;
	}
	return NULL;
}

void *ksplice_shadow_get(const void *object, u32 id)
{
	struct field *field;

	rcu_read_lock();
	field = find(bucket_of(object, id), object, id);
	rcu_read_unlock();
	return field ? field->data : NULL;
}
EXPORT_SYMBOL_GPL(ksplice_shadow_get);

static void *attach(const void *object, u32 id, size_t size, gfp_t gfp,
		    ksplice_shadow_ctor ctor, void *arg, bool or_get)
{
	struct bucket *bucket = bucket_of(object, id);
	struct field *field, *old;
	unsigned long flags;
	bool refused = false;

	if (or_get) {
		void *data = ksplice_shadow_get(object, id);

		if (data)
			return data;
	}
	if (size > KMALLOC_MAX_SIZE - sizeof(*field))
		return NULL;
	field = ksplice_fails("memory for a shadow field") ? NULL : kzalloc(sizeof(*field) + size, gfp);
	if (!field)
		return NULL;
	field->object = object;
	field->id = id;

	spin_lock_irqsave(&bucket->lock, flags);
	old = find(bucket, object, id);
	if (!old && ctor)
		refused = ctor(object, field->data, arg);
	if (!old && !refused)
		hlist_add_head_rcu(&field->node, &bucket->fields);
	spin_unlock_irqrestore(&bucket->lock, flags);

	if (!old && !refused)
		return field->data;
	kfree(field);
	return old && or_get ? old->data : NULL;
}

void *ksplice_shadow_attach(const void *object, u32 id, size_t size, gfp_t gfp,
			    ksplice_shadow_ctor ctor, void *arg)
{
	return attach(object, id, size, gfp, ctor, arg, false);
}
EXPORT_SYMBOL_GPL(ksplice_shadow_attach);

void *ksplice_shadow_get_or_attach(const void *object, u32 id, size_t size, gfp_t gfp,
				   ksplice_shadow_ctor ctor, void *arg)
{
	return attach(object, id, size, gfp, ctor, arg, true);
}
EXPORT_SYMBOL_GPL(ksplice_shadow_get_or_attach);

static void free_field(struct field *field, ksplice_shadow_dtor dtor)
{
	if (dtor)
		dtor(field->object, field->data);
	kfree_rcu(field, rcu);
}

bool ksplice_shadow_detach(const void *object, u32 id, ksplice_shadow_dtor dtor)
{
	struct bucket *bucket = bucket_of(object, id);
	struct field *field;
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	field = find(bucket, object, id);
	if (field)
		hlist_del_rcu(&field->node);
	spin_unlock_irqrestore(&bucket->lock, flags);
	if (field)
		free_field(field, dtor);
	return field;
}
EXPORT_SYMBOL_GPL(ksplice_shadow_detach);

/* Takes one off; a bucket may be long, and @dtor is not called under its lock. */
static struct field *take_one(struct bucket *bucket, const u32 *id)
{
	struct field *field, *found = NULL;
	unsigned long flags;

	spin_lock_irqsave(&bucket->lock, flags);
	hlist_for_each_entry(field, &bucket->fields, node) {
		if (id && field->id != *id)
			continue;
		found = field;
		hlist_del_rcu(&field->node);
		break;
	}
	spin_unlock_irqrestore(&bucket->lock, flags);
	return found;
}

static unsigned long free_all(const u32 *id, ksplice_shadow_dtor dtor)
{
	unsigned long count = 0;
	struct field *field;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(buckets); i++) {
		while ((field = take_one(&buckets[i], id))) {
			free_field(field, dtor);
			count++;
		}
	}
	return count;
}

unsigned long ksplice_shadow_free_all(u32 id, ksplice_shadow_dtor dtor)
{
	return free_all(&id, dtor);
}
EXPORT_SYMBOL_GPL(ksplice_shadow_free_all);

void ksplice_shadow_init(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(buckets); i++)
		spin_lock_init(&buckets[i].lock);
}

/* Nobody uses them any more: every user of this module is gone. */
void ksplice_shadow_exit(void)
{
	unsigned long count = free_all(NULL, NULL);

	if (count)
		pr_info("%lu shadow fields were left\n", count);
}
