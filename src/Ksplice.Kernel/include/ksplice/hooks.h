/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Hooks: code that a patch runs while its update is applied or reversed.
 * A patch includes <ksplice/hooks.h> and writes, at file level,
 *
 *	static void fix_up(void) { ... }
 *	ksplice_apply(fix_up);
 *
 *   pre_*    process context, before the machine stops; may sleep; nonzero refuses
 *   check_*  machine stopped, after the stack check; nonzero refuses
 *   (none)   machine stopped; apply: redirects are in place, reverse: still in place
 *   post_*   process context, after success; may sleep
 *   fail_*   process context, after any failure once pre_* ran; drops what pre_* took
 *
 * When an update takes the place of others (ksplice apply --replace), the hooks for
 * the reverse of those are called at each of these steps before the hooks for its
 * apply, and the fail_* hooks the other way round.
 *
 * Nothing may sleep with the machine stopped: it would panic.  The build refuses
 * a check_*, apply or reverse hook that sleeps whenever it runs (KSP5020) and
 * warns of one that may (KSP5021).
 *
 * A hook must not load or unload a module, nor wait for who does, nor touch the
 * chain of module notifiers: nobody could end the request while it waits, and
 * the module may be one that the update changes.  The build refuses a hook that
 * calls what does so (KSP5019 has the list), as far as direct calls in the
 * update's files tell.
 *
 * On a kernel with PREEMPT_RT a spinlock's holder may be preempted, so data may
 * be half updated in the stop.  Only pre_*, post_* and fail_* are allowed there
 * (KSP5018).
 */
#ifndef KSPLICE_HOOKS_H
#define KSPLICE_HOOKS_H

#define __ksplice_hook(kind, type, fn)					\
	static type (*const __ksplice_##kind##_##fn)(void)		\
	__attribute__((__used__, __section__(".ksplice.hooks." #kind))) = (fn)

#define ksplice_pre_apply(fn)		__ksplice_hook(pre_apply, int, fn)
#define ksplice_check_apply(fn)		__ksplice_hook(check_apply, int, fn)
#define ksplice_apply(fn)		__ksplice_hook(apply, void, fn)
#define ksplice_post_apply(fn)		__ksplice_hook(post_apply, void, fn)
#define ksplice_fail_apply(fn)		__ksplice_hook(fail_apply, void, fn)
#define ksplice_pre_reverse(fn)		__ksplice_hook(pre_reverse, int, fn)
#define ksplice_check_reverse(fn)	__ksplice_hook(check_reverse, int, fn)
#define ksplice_reverse(fn)		__ksplice_hook(reverse, void, fn)
#define ksplice_post_reverse(fn)	__ksplice_hook(post_reverse, void, fn)
#define ksplice_fail_reverse(fn)	__ksplice_hook(fail_reverse, void, fn)

/*
 * ksplice_acknowledge(KSP5002, "struct foo", "the hook resets each foo") lets
 * a build go on in spite of one error about one object; the reason stands in
 * the update's manifest. The texts hold no quotes.
 */
#define ksplice_acknowledge(rule, object, reason)			\
	__asm__(".pushsection .ksplice.acknowledge, \"\", @progbits\n"	\
		".asciz \"" #rule "\"\n"					\
		".asciz \"" object "\"\n"				\
		".asciz \"" reason "\"\n"				\
		".popsection")

#endif
