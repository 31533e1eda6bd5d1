// SPDX-License-Identifier: GPL-2.0
/*
 * Which point fails (fault.h).
 */

/**
 * DOC: context
 *
 * Any context, also inside stop_machine: nothing is locked and nothing logged.
 * fail_at is the number of the question that is answered with yes, 0 for none,
 * or the name of a point, the next question of which is; it reads as how many
 * are left, and the name of the point that failed.  Only where the core waits at
 * a point does it sleep, until fail_at is written again.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/module.h>
#include <linux/string.h>

#include "fault.h"

static atomic_t countdown = ATOMIC_INIT(0);
static char wanted[64];		/* written while nothing is asked */
static const char *failed = "";

bool ksplice_fails(const char *point)
{
	if (atomic_read(&countdown) <= 0 || (*wanted && strcmp(point, wanted)) ||
	    atomic_dec_return(&countdown))
		return false;
	WRITE_ONCE(failed, point);
	return true;
}

bool ksplice_fails_by_name(const char *point)
{
	return *wanted && ksplice_fails(point);
}

void ksplice_wait_by_name(const char *point)
{
	if (!ksplice_fails_by_name(point))
		return;
	while (READ_ONCE(failed) == point)
		msleep(20);
}

static int set_fail_at(const char *text, const struct kernel_param *parameter)
{
	int n;

	*wanted = 0;
	if (kstrtoint(text, 0, &n)) {
		strscpy(wanted, text, sizeof(wanted));
		strim(wanted);
		n = 1;
	}
	WRITE_ONCE(failed, "");
	atomic_set(&countdown, n);
	return 0;
}

static int get_fail_at(char *buffer, const struct kernel_param *parameter)
{
	return sysfs_emit(buffer, "%d %s\n", atomic_read(&countdown), READ_ONCE(failed));
}

static const struct kernel_param_ops fail_at_ops = { .set = set_fail_at, .get = get_fail_at };

module_param_cb(fail_at, &fail_at_ops, NULL, 0600);
MODULE_PARM_DESC(fail_at, "the number of the question, or the name of the point, that fails next; 0 for none");
