// SPDX-License-Identifier: GPL-2.0
/*
 * Why a request failed, or that it did not.
 */

/**
 * DOC: context and locking
 *
 * Process context.  update->report guards what sysfs shows; nothing else is taken inside of it.
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/kernel.h>
#include <linux/mutex.h>

#include "core.h"

/**
 * ksplice_report - record why a request failed, and log it
 * @update: the update
 * @cause: the abort cause, or KSPLICE_OK
 * @format: the reason in a sentence, as for printk
 *
 * Context: process context; takes update->report.
 */
void ksplice_report(struct ksplice_update *update, enum ksplice_cause cause,
		    const char *format, ...)
{
	va_list arguments;

	mutex_lock(&update->report);
	update->cause = cause;
	va_start(arguments, format);
	vscnprintf(update->reason, sizeof(update->reason), format, arguments);
	va_end(arguments);
	pr_info("%s: %s\n", update->id, update->reason);
	mutex_unlock(&update->report);
}
