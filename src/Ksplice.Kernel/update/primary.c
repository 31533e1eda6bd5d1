// SPDX-License-Identifier: GPL-2.0
/*
 * What every primary module is built from, together with the object that holds
 * the new code.
 *
 * DOC: Loading a primary changes nothing; it makes the update known to the
 * core, which applies it when it is asked to.  The core holds a reference on
 * the module while the update is applied.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <ksplice/update.h>
#include "update_config.h"

extern const struct ksplice_code ksplice_code;

#if KSPLICE_HAS_DATA
extern struct ksplice_data KSPLICE_DATA;
#endif

static const struct ksplice_primary primary = {
	.abi = KSPLICE_ABI,
	.id = KSPLICE_ID,
	.target = KSPLICE_TARGET,
	.owner = THIS_MODULE,
	.code = &ksplice_code,
	.pinned = KSPLICE_PINNED,
#if KSPLICE_HAS_DATA
	.data = &KSPLICE_DATA,
#endif
	.digest = KSPLICE_DIGEST,
};

static int __init ksplice_primary_init(void)
{
	return ksplice_primary_register(&primary);
}
module_init(ksplice_primary_init);

static void __exit ksplice_primary_exit(void)
{
	ksplice_primary_unregister(&primary);
}
module_exit(ksplice_primary_exit);

MODULE_DESCRIPTION("Ksplice update " KSPLICE_ID ": new code");
MODULE_LICENSE("GPL");
KSPLICE_NAMESPACES
