// SPDX-License-Identifier: GPL-2.0
/*
 * The stack of the core's own thread, below the frames that are alive.
 */

/**
 * DOC: context
 *
 * Any context.
 */
#include <linux/compiler.h>
#include <linux/string.h>

#include "core.h"

/**
 * ksplice_clear_used_stack - clear what earlier calls left below this frame
 *
 * Our own code deals with addresses of the code to be replaced, and calls the
 * hooks, which are new code.  Their frames are dead, but a later one of the same
 * thread need not fill all of its own, and would show them to the check: so this
 * is called by each function that is still running then, before it calls the
 * next.  Frames that KASAN watches are several times as large.
 */
noinline void __no_sanitize_address ksplice_clear_used_stack(void)
{
	u64 frame[IS_ENABLED(CONFIG_KASAN) ? 1000 : 200];

	memset(frame, 0, sizeof(frame));
	barrier_data(frame);
}
