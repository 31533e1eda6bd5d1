// SPDX-License-Identifier: GPL-2.0
/*
 * Many threads give a few objects the same shadow fields, look at them and take
 * them away, for tests.  Every field must hold what its object asked for, and
 * every one that was made must be taken away once.
 */
#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include "shadow.h"

#define THREADS	8
#define OBJECTS	16
#define ID	0x5eed

static int milliseconds = 1500;
module_param(milliseconds, int, 0);

static char objects[OBJECTS];
static atomic_long_t made, taken, got, wrong;
static atomic_t running;
static DECLARE_COMPLETION(ended);
static unsigned long stop_at;

static typeof(ksplice_shadow_get) *get;
static typeof(ksplice_shadow_attach) *attach;
static typeof(ksplice_shadow_get_or_attach) *get_or_attach;
static typeof(ksplice_shadow_detach) *detach;
static typeof(ksplice_shadow_free_all) *free_all;

struct content {
	const void *object;
	unsigned long words[8];
};

static void check(const void *object, const struct content *content)
{
	int i;

	atomic_long_inc(&got);
	if (READ_ONCE(content->object) != object)
		atomic_long_inc(&wrong);
	for (i = 0; i < ARRAY_SIZE(content->words); i++) {
		if (READ_ONCE(content->words[i]) != (unsigned long)object + i)
			atomic_long_inc(&wrong);
	}
}

static int fill(const void *object, void *field, void *arg)
{
	struct content *content = field;
	int i;

	if (content->object || arg != &made)
		atomic_long_inc(&wrong);
	content->object = object;
	for (i = 0; i < ARRAY_SIZE(content->words); i++)
		content->words[i] = (unsigned long)object + i;
	atomic_long_inc(&made);
	return 0;
}

static int refuse(const void *object, void *field, void *arg)
{
	return -EPERM;
}

static void look(const void *object, void *field)
{
	check(object, field);
	atomic_long_inc(&taken);
}

static int run(void *unused)
{
	while (time_before(jiffies, stop_at)) {
		const char *object = &objects[get_random_u32() % OBJECTS];
		struct content *content;

		rcu_read_lock();
		switch (get_random_u32() % 8) {
		case 0:
			content = attach(object, ID, sizeof(*content), GFP_ATOMIC, fill, &made);
			break;
		case 1:
		case 2:
			content = get_or_attach(object, ID, sizeof(*content), GFP_ATOMIC, fill, &made);
			if (!content)
				atomic_long_inc(&wrong);
			break;
		case 3:
			detach(object, ID, look);
			content = NULL;
			break;
		case 4:
			content = attach(object, ID + 1, sizeof(*content), GFP_ATOMIC, refuse, NULL);
			if (content)
				atomic_long_inc(&wrong);
			content = NULL;
			break;
		default:
			content = get(object, ID);
		}
		if (content)
			check(object, content);
		rcu_read_unlock();
		cond_resched();
	}
	if (atomic_dec_and_test(&running))
		complete(&ended);
	return 0;
}

static int __init shadow_init(void)
{
	int i;

	get = symbol_get(ksplice_shadow_get);
	attach = symbol_get(ksplice_shadow_attach);
	get_or_attach = symbol_get(ksplice_shadow_get_or_attach);
	detach = symbol_get(ksplice_shadow_detach);
	free_all = symbol_get(ksplice_shadow_free_all);
	if (!get || !attach || !get_or_attach || !detach || !free_all)
		return -ENOENT;
	stop_at = jiffies + msecs_to_jiffies(milliseconds);
	atomic_set(&running, THREADS);
	for (i = 0; i < THREADS; i++)
		kthread_run(run, NULL, "shadow/%d", i);
	wait_for_completion(&ended);
	msleep(50);

	pr_info("shadow: left %d\n", free_all(ID, look) <= OBJECTS);
	pr_info("shadow: again %lu\n", free_all(ID, look));
	for (i = 0; i < OBJECTS; i++) {
		if (get(&objects[i], ID) || detach(&objects[i], ID, look))
			atomic_long_inc(&wrong);
	}
	pr_info("shadow: each made and taken %d\n", atomic_long_read(&made) == atomic_long_read(&taken));
	pr_info("shadow: wrong %ld\n", atomic_long_read(&wrong));
	pr_info("shadow: many %d\n", atomic_long_read(&made) > 100 && atomic_long_read(&got) > 1000);
	symbol_put(ksplice_shadow_get);
	symbol_put(ksplice_shadow_attach);
	symbol_put(ksplice_shadow_get_or_attach);
	symbol_put(ksplice_shadow_detach);
	symbol_put(ksplice_shadow_free_all);
	return 0;
}
module_init(shadow_init);

static void __exit shadow_exit(void)
{
}
module_exit(shadow_exit);

MODULE_DESCRIPTION("Uses shadow fields from many threads");
MODULE_LICENSE("GPL");
