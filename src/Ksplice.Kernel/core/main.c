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

#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "core.h"

static bool off;
module_param(off, bool, 0400);
MODULE_PARM_DESC(off, "do not load, so that nothing is applied");

/*
 * Says the kernel's command line that nothing is to be applied?  The kernel
 * hands what stands there for a module to modprobe alone, so ksplice.off is
 * looked for too.
 */
static int __init look_at_command_line(void)
{
	char *copy, *rest, *word, *value;
	bool found = false;

	copy = ksplice_fails("memory for the command line") ? NULL :
		kstrdup(*kernel.command_line, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	for (rest = skip_spaces(copy); *rest && !found;) {
		bool is_set = true;

		rest = next_arg(rest, &word, &value);
		if (!strcmp(word, "noksplice"))
			found = true;
		else if (!strcmp(word, "ksplice.off"))
			found = !value || (!kstrtobool(value, &is_set) && is_set);
		if (found)
			pr_info("not loaded: %s is on the kernel's command line\n", word);
	}
	kfree(copy);
	return found ? -ECANCELED : 0;
}

static int __init ksplice_init(void)
{
	int err;

	if (off) {
		pr_info("not loaded: the parameter off is set\n");
		return -ECANCELED;
	}
	err = ksplice_lookup_init();
	if (err)
		return err;
	err = look_at_command_line();
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
	ksplice_door_exit();
	ksplice_exiting_exit();
	ksplice_shadow_exit();
}

module_init(ksplice_init);
module_exit(ksplice_exit);
MODULE_DESCRIPTION("Applies updates to the running kernel");
MODULE_VERSION(__stringify(KSPLICE_ABI));
MODULE_LICENSE("GPL");
