// SPDX-License-Identifier: GPL-2.0
/*
 * The core module: applies and reverses updates of the running kernel.
 *
 * DOC: context and lifetime
 *
 * Updates come as two modules, helper and primary, that depend on this one by
 * the functions that update.c exports, so it cannot go while one of them is
 * loaded.  All work that stops the machine runs on one thread of our own
 * (K17): a writer to sysfs that waited would stand with its own stack in the
 * way of an update of vfs_write or kernfs.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/err.h>
#include <linux/module.h>

#include "core.h"

DEFINE_MUTEX(ksplice_operation);
struct kthread_worker *ksplice_worker;

static int __init ksplice_init(void)
{
	int err;

	err = ksplice_lookup_init();
	if (err)
		return err;
	ksplice_shadow_init();
	err = ksplice_exiting_init();
	if (err)
		return err;

	ksplice_worker = kthread_create_worker(0, "ksplice");
	if (IS_ERR(ksplice_worker)) {
		pr_err("cannot start a thread: %ld\n", PTR_ERR(ksplice_worker));
		err = PTR_ERR(ksplice_worker);
		goto forget_exiting;
	}

	err = ksplice_sysfs_init();
	if (err)
		goto stop_worker;
	err = ksplice_late_init();
	if (err)
		goto remove_sysfs;
	return 0;

remove_sysfs:
	ksplice_sysfs_exit();
stop_worker:
	kthread_destroy_worker(ksplice_worker);
forget_exiting:
	ksplice_exiting_exit();
	return err;
}

static void __exit ksplice_exit(void)
{
	ksplice_late_exit();
	ksplice_updates_exit();
	ksplice_sysfs_exit();
	kthread_destroy_worker(ksplice_worker);
	ksplice_exiting_exit();
	ksplice_shadow_exit();
}

module_init(ksplice_init);
module_exit(ksplice_exit);
MODULE_DESCRIPTION("Applies updates to the running kernel");
MODULE_LICENSE("GPL");
