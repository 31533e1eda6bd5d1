/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the core needs of the kernel and the kernel does not export.
 *
 * A function is called as static_call(name)(arguments), which is a direct call.
 * It must not be called through a pointer: a kernel with IBT takes the ENDBR
 * from each function whose own address it does not take, and on a processor
 * with IBT an indirect call there is a panic (K22).  static_call() gives the
 * prototype that the kernel's headers declare (K9).
 */
#ifndef KSPLICE_LOOKUP_H
#define KSPLICE_LOOKUP_H

#include <linux/bug.h>
#include <linux/extable.h>
#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/task_stack.h>
#include <linux/stacktrace.h>
#include <linux/static_call.h>
#include <linux/stop_machine.h>
#include <linux/task_work.h>
#include <asm/text-patching.h>

/* Declared in kernel/trace/trace.h, which modules do not see; the same in all that are supported (K9). */
int ftrace_is_dead(void);

/* The first finds the rest. */
#define KSPLICE_KERNEL_FUNCTIONS(DO)	\
	DO(kallsyms_on_each_match_symbol)	\
	DO(kallsyms_lookup_size_offset)	\
	DO(text_poke)			\
	DO(stop_machine_cpuslocked)	\
	DO(idle_task)			\
	DO(wake_up_state)		\
	DO(task_work_add)		\
	DO(task_work_cancel_match)	\
	DO(stack_trace_save_tsk_reliable)	\
	DO(put_task_stack)		\
	DO(get_kprobe)			\
	DO(__is_insn_slot_addr)		\
	DO(find_bug)			\
	DO(search_exception_tables)	\
	DO(ftrace_location)		\
	DO(ftrace_rec_iter_start)	\
	DO(ftrace_rec_iter_next)	\
	DO(ftrace_rec_iter_record)	\
	DO(ftrace_is_dead)		\
	DO(find_module)			\
	DO(__module_address)

#define KSPLICE_DECLARE(name) DECLARE_STATIC_CALL(name, name);
KSPLICE_KERNEL_FUNCTIONS(KSPLICE_DECLARE)
#undef KSPLICE_DECLARE

/* Objects, by address. */
struct ksplice_kernel {
	struct mutex *text_mutex;	/* who rewrites code */
	struct mutex *kprobe_mutex;	/* probes come and go */
	struct mutex *ftrace_lock;	/* handlers of the tracer come and go */
	struct kprobe_insn_cache *optinsn_slots;
	struct list_head *modules;
	char **command_line;
	struct jump_entry *start_jump_table;
	struct jump_entry *stop_jump_table;
	struct static_call_site *start_static_calls;
	struct static_call_site *stop_static_calls;
	struct exception_table_entry *start_exceptions;
	struct exception_table_entry *stop_exceptions;
	char *init_begin;
	char *init_end;
	char *per_cpu_start;
	char *per_cpu_end;
	char *stext;
	char *etext;
};

extern struct ksplice_kernel kernel;

int ksplice_lookup_init(void);
bool ksplice_is_freed(unsigned long address);

#endif
