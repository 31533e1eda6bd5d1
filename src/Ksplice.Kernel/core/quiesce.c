// SPDX-License-Identifier: GPL-2.0
/*
 * The stack check: is any thread in the code that is to be replaced?
 */

/**
 * DOC: what is read, and what was read before
 *
 * A thread that has not run since its stack was read without the stop is not
 * read again (scan.c, K31).  Read in the stop are: those that ran since or are
 * new, those whose stack could not be read while they rested or had something
 * in the way, idle tasks, the stoppers, the core's own thread, and the tasks
 * on their way out that have left the kernel's list.
 */

/**
 * DOC: context
 *
 * Runs inside stop_machine on one CPU while all others wait with interrupts
 * off in the stop function, so what is read stands still, and no lock or
 * reference is needed.  A stopper does not preempt the holder of a raw spinlock,
 * but with PREEMPT_RT it does preempt one of tasklist_lock (K28): the task list
 * may be half changed.  It is changed by RCU's list functions, each step of
 * which leaves a list that can be walked, and a task is added to it before it
 * runs first.  One that is being taken off is on the list of tasks on their way
 * out (K23, exiting.c), which a raw spinlock guards.
 *
 * Every word of every kernel stack from its stack pointer on, and all of an
 * offline CPU's, that could be a return address is taken for one: a false alarm
 * costs a retry, a miss would cost the machine.  A thread that is held has made a
 * list of the return addresses in a part of its stack, which is taken instead
 * (door.c).
 *
 * Return addresses are not all on stacks (K13): a kretprobe or the function
 * graph tracer parks them beside the task.  Nor do all that lead into a function
 * point into it (K27): an optimised probe runs copies of the instructions that
 * its jump has overwritten in a slot of its own, which ends with a jump back.  A
 * thread may be preempted in a slot, also in one whose probe is gone.  It is not
 * preempted in the slot of any other probe: interrupts are off there, or kernel
 * code is not preempted at all.
 */
#include <linux/cpumask.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/rethook.h>
#include <linux/sched/signal.h>
#include <linux/sched/task_stack.h>
#include <linux/string.h>
#include <linux/version.h>
#include <asm/text-patching.h>

#include "core.h"

struct check {
	struct ksplice_update *update;
	const struct ksplice_stopped *stopped;
	const struct ksplice_ranges *ranges;
	struct ksplice_scan *scan;
};

/*
 * K27: a slot's length is not known, but it lies within a page.  So from @address
 * on to the page's end each byte that may begin a jump is taken for one.  The
 * jump of a neighbour may be found, too, which costs a retry.
 */
static const struct ksplice_range *find_range_behind_slot(const struct check *check,
							  unsigned long address)
{
	unsigned long end = ALIGN(address + 1, PAGE_SIZE);

	if (address < MODULES_VADDR || address >= MODULES_END ||
	    !static_call(__is_insn_slot_addr)(kernel.optinsn_slots, address))
		return NULL;
	for (; address + JMP32_INSN_SIZE <= end; address++) {
		const struct ksplice_range *range;
		s32 displacement;

		if (*(const u8 *)address != JMP32_INSN_OPCODE)
			continue;
		memcpy(&displacement, (const void *)(address + 1), sizeof(displacement));
		range = ksplice_find_range(check->ranges, address + JMP32_INSN_SIZE + displacement);
		if (range)
			return range;
	}
	return NULL;
}

/* Returns 1 and records the thread if @address is in the way. */
static int check_address(const struct check *check, struct task_struct *task,
			 unsigned long address)
{
	const struct ksplice_range *range = ksplice_find_range(check->ranges, address);
	bool in_slot = false;

	if (!range) {
		range = find_range_behind_slot(check, address);
		in_slot = true;
	}
	if (!range)
		return 0;
	ksplice_conflict_add(check->update, task, in_slot ? "slot of a probe in " : "", range, address);
	return 1;
}

static int check_words(const struct check *check, struct task_struct *task,
		       const unsigned long *word, const unsigned long *end)
{
	for (; word < end; word++) {
		if (check_address(check, task, READ_ONCE_NOCHECK(*word)))
			return 1;
	}
	return 0;
}

/* K13: return addresses that tracers took off the stack. */
static int check_parked(const struct check *check, struct task_struct *task)
{
#ifdef CONFIG_RETHOOK
	struct llist_node *node;

	for (node = task->rethooks.first; node; node = node->next) {
		struct rethook_node *hook = llist_entry(node, struct rethook_node, llist);

		if (check_address(check, task, hook->ret_addr))
			return 1;
	}
#elif defined(CONFIG_KRETPROBES)
	struct llist_node *node;

	for (node = task->kretprobe_instances.first; node; node = node->next) {
		struct kretprobe_instance *instance =
			llist_entry(node, struct kretprobe_instance, llist);

		if (check_address(check, task, (unsigned long)instance->ret_addr))
			return 1;
	}
#endif
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	if (task->ret_stack && task->curr_ret_stack >= 0) {
		const unsigned long *words = (const unsigned long *)task->ret_stack;
		/* An index of frames, since 6.11 one of words. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
		size_t n = task->curr_ret_stack + 1;
#else
		size_t n = (task->curr_ret_stack + 1) *
			   sizeof(struct ftrace_ret_stack) / sizeof(long);
#endif

		if (check_words(check, task, words, words + n))
			return 1;
	}
#endif
	return 0;
}

/* The stack pointer that a stopper recorded on its way in, or NULL. */
static const unsigned long *stopper_stack(const struct check *check,
					  const struct task_struct *task)
{
	int cpu;

	for_each_online_cpu(cpu) {
		if (check->stopped[cpu].task == task)
			return check->stopped[cpu].stack;
	}
	return NULL;
}

static int check_task(const struct check *check, struct task_struct *task, bool undo)
{
	const unsigned long *stack, *end;
	const struct ksplice_frames *frames;

	if (ksplice_has_rested(check->scan, task))
		goto check_restart;
	stack = stopper_stack(check, task);
	/* A task that is gone but for its structure has no stack (K14). */
	if (!stack && (!task->stack || !refcount_read(&task->stack_refcount)))
		return 0;
	if (!stack) {
		if (task->on_cpu)
			return -EINPROGRESS;
		stack = (const unsigned long *)READ_ONCE(task->thread.sp);
	}
	end = (const unsigned long *)(task_stack_page(task) + THREAD_SIZE);
	if ((void *)stack < task_stack_page(task) || stack > end || !IS_ALIGNED((unsigned long)stack, sizeof(long)))
		return -EINVAL;
	frames = ksplice_door_frames(task);
	if (frames) {
		end = frames->below;
		if (check_words(check, task, frames->entries, frames->entries + frames->n))
			return 0;
	}
	if (check_words(check, task, stack, end) || check_parked(check, task))
		return 0;
check_restart:
	/* K19: an interrupted system call may be restarted through a function. */
	if (undo)
		check_address(check, task, (unsigned long)task->restart_block.fn);
	return 0;
}

/*
 * A CPU that is offline rests in its idle task, and an NMI or a kexec lets it go
 * on for a moment from where it rests (K14).  Nobody has switched away from that
 * task, so nothing tells how much of its stack is in use: all of it counts.
 */
static void check_resting(const struct check *check, struct task_struct *task)
{
	const unsigned long *stack = task_stack_page(task);

	check_words(check, task, stack, stack + THREAD_SIZE / sizeof(*stack));
}

/**
 * ksplice_check_threads - check every thread against the code of an update
 * @update: the update; what is found is left in update->found
 * @ranges: where no thread may be
 * @scan: what was seen of the threads before the stop
 * @stopped: what each CPU's stopper recorded
 * @undo: there is new code among @ranges
 *
 * Context: inside stop_machine.
 * Return: 0, -EBUSY with conflicts recorded, -EAGAIN while there are tasks on
 * their way out that are on no list (K23), -EINPROGRESS for a thread that
 * runs though the machine is stopped, or -EINVAL for one that cannot be
 * understood (both recorded as a conflict without a name).
 */
int ksplice_check_threads(struct ksplice_update *update, const struct ksplice_ranges *ranges,
			  struct ksplice_scan *scan, const struct ksplice_stopped *stopped, bool undo)
{
	struct check check = {
		.update = update,
		.stopped = stopped,
		.ranges = ranges,
		.scan = scan,
	};
	struct task_struct *process, *task;
	const struct ksplice_exiting *exiting;
	int cpu, err = 0;

	update->n_found = 0;
	if (ksplice_exiting_missed())
		return -EAGAIN;
	for_each_process_thread(process, task) {
		err = check_task(&check, task, undo);
		if (err)
			goto unknown;
	}
	/* K23: one that has no pid any more has left the list. */
	list_for_each_entry(exiting, &ksplice_exiting, list) {
		task = exiting->task;
		if (pid_alive(task))
			continue;
		err = check_task(&check, task, undo);
		if (err)
			goto unknown;
	}
	/* K14: idle tasks are not on the list. */
	for_each_possible_cpu(cpu) {
		task = static_call(idle_task)(cpu);
		if (!cpu_online(cpu)) {
			if (task)
				check_resting(&check, task);
			continue;
		}
		err = check_task(&check, task, undo);
		if (err)
			goto unknown;
	}
	return update->n_found ? -EBUSY : 0;

unknown:
	update->n_found = 1;
	memcpy(update->found[0].comm, task->comm, TASK_COMM_LEN);
	update->found[0].pid = task->pid;
	strscpy(update->found[0].name, "?", sizeof(update->found[0].name));
	update->found[0].address = 0;
	return err;
}
