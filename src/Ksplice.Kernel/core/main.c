// SPDX-License-Identifier: GPL-2.0
/*
 * The core module: applies and reverses updates of the running kernel.
 */

/**
 * DOC: context and lifetime
 *
 * Updates come as two modules, helper and primary, that depend on this one by
 * the functions that register.c exports, so it cannot go while one of them is
 * loaded.  All work that stops the machine runs on one thread of our own
 * (K17): a writer to sysfs that waited would stand with its own stack in the
 * way of an update of vfs_write or kernfs.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/module.h>

#include "core.h"

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
	err = ksplice_worker_init();
	if (err)
		goto forget_exiting;
	err = ksplice_sysfs_init();
	if (err)
		goto stop_worker;
	err = ksplice_notifier_init();
	if (err)
		goto remove_sysfs;
	return 0;

remove_sysfs:
	ksplice_sysfs_exit();
stop_worker:
	ksplice_worker_exit();
forget_exiting:
	ksplice_exiting_exit();
	return err;
}

static void __exit ksplice_exit(void)
{
	ksplice_notifier_exit();
	ksplice_updates_exit();
	ksplice_sysfs_exit();
	ksplice_worker_exit();
	ksplice_exiting_exit();
	ksplice_shadow_exit();
}

module_init(ksplice_init);
module_exit(ksplice_exit);
MODULE_DESCRIPTION("Applies updates to the running kernel");
MODULE_LICENSE("GPL");
