// SPDX-License-Identifier: GPL-2.0
/*
 * What every data module is built from, together with the strings and constants
 * themselves (exports.S).
 *
 * DOC: The kernel may keep the address of a string that new code hands out.  So
 * these strings are in a module of their own (K20): the primaries bind to its
 * exports, and can be unloaded after an undo while it stays.  It has no code.
 * As long as its update has never been applied, an ordinary rmmod unloads it;
 * the first apply takes a reference that nobody gives back.  Its version is the
 * digest of its content, by which ksplice tells whose it is.
 */
#include <linux/module.h>
#include <ksplice/update.h>
#include "update_config.h"

struct ksplice_data KSPLICE_DATA = {
	.owner = THIS_MODULE,
};

MODULE_DESCRIPTION("Ksplice update " KSPLICE_ID ": strings and constants");
MODULE_VERSION(KSPLICE_DATA_DIGEST);
MODULE_LICENSE("GPL");
