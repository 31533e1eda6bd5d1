// SPDX-License-Identifier: GPL-2.0
/*
 * What every helper module is built from.
 *
 * DOC: A helper exists for its export table.  The table is empty in the file;
 * the core fills it while the helper loads, with addresses that run-pre
 * matching found, and the primary that is loaded next binds to it like to any
 * other module's exports.  All of this happens in process context under the
 * loader; the helper has no locks and no state of its own.  The match data is
 * init memory, unless the target may come later: the loader frees it when the
 * init function has returned.
 */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <ksplice/update.h>
#include "update_config.h"

extern const char ksplice_match_data[];
extern const char ksplice_match_data_end[];

static const char *const bases[] = { KSPLICE_BASES };

static bool replace;
module_param(replace, bool, 0);
MODULE_PARM_DESC(replace, "match the kernel as it is without updates, to take the place of all of them");

static struct ksplice_helper helper = {
	.abi = KSPLICE_ABI,
	.n_targets = KSPLICE_N_TARGETS,
	.id = KSPLICE_ID,
	.target = KSPLICE_TARGET,
	.owner = THIS_MODULE,
	.n_exports = KSPLICE_N_EXPORTS,
	.late = KSPLICE_LATE,
	.digest = KSPLICE_DIGEST,
	.bases = bases,
	.n_bases = ARRAY_SIZE(bases),
};

static int __init ksplice_helper_init(void)
{
	int err;

	helper.replace = replace;
	helper.match_data = ksplice_match_data;
	helper.match_size = ksplice_match_data_end - ksplice_match_data;
	err = ksplice_helper_register(&helper);
	if (!helper.late) {
		helper.match_data = NULL;
		helper.match_size = 0;
	}
	return err;
}
module_init(ksplice_helper_init);

static void __exit ksplice_helper_exit(void)
{
	ksplice_helper_unregister(&helper);
}
module_exit(ksplice_helper_exit);

MODULE_DESCRIPTION("Ksplice update " KSPLICE_ID ": run-pre matching");
MODULE_LICENSE("GPL");
