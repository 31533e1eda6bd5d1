/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of the core share.
 */

/**
 * DOC: locking
 *
 * ksplice_operation serialises everything that changes what an update is:
 * registering and unregistering of helpers and primaries, applying, undoing,
 * modules that come and go.  It is held for a match or for one look at all threads and
 * the stop after it, and it is given up between looks, while hooks run that may sleep, and while
 * an undo waits for grace periods: a module that comes meanwhile takes it from
 * the loader's notifier.  update->busy, and the references on the primaries,
 * keep an update whole over these gaps; one thread does all requests, so no
 * other update is applied or undone in them.
 *
 * update->report guards what sysfs shows and is held only to show and to change
 * it.  Order: ksplice_operation, kprobe_mutex, ftrace_lock, cpus_read_lock,
 * text_mutex, update->report; not_loaded.c's lock is taken inside of
 * ksplice_operation or alone.  Inside stop_machine no lock is taken.
 */
#ifndef KSPLICE_CORE_H
#define KSPLICE_CORE_H

#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/kobject.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/types.h>

#include <ksplice/match.h>
#include <ksplice/update.h>

#include "fault.h"
#include "lookup.h"

#define KSPLICE_MAX_CONFLICTS	32
#define KSPLICE_REASON_SIZE	512
#define KSPLICE_MAX_TARGETS	64
#define KSPLICE_MOST_TRIES	1000
#define KSPLICE_MOST_RETRY_MS	60000
#define KSPLICE_MOST_SCAN_MS	1000
#define KSPLICE_MAX_ENTRIES	65536	/* of a table in a primary */
#define KSPLICE_KERNEL_NAME	"vmlinux"

enum ksplice_stage {
	KSPLICE_PREPARING,
	KSPLICE_APPLIED,
	KSPLICE_REVERSED,
};

/* Why the last request failed; the names stand in sysfs.c. */
enum ksplice_cause {
	KSPLICE_OK,
	KSPLICE_NO_MATCH,
	KSPLICE_CODE_BUSY,
	KSPLICE_MODULE_BUSY,
	KSPLICE_OUT_OF_MEMORY,
	KSPLICE_FAILED_TO_FIND,
	KSPLICE_TARGET_NOT_LOADED,
	KSPLICE_CALL_FAILED,
	KSPLICE_BAD_DATA,
	KSPLICE_ALREADY_APPLIED,
	KSPLICE_PROBED,
	KSPLICE_INCOMPLETE,
	KSPLICE_REDIRECTED,
	KSPLICE_IN_USE,
	KSPLICE_RUNNING_TASK,
	KSPLICE_BASE_MISSING,
	KSPLICE_OTHER_BUILD,
	KSPLICE_UNEXPECTED,
};

/* A replaced function: where it stands, what stood there, where it leads. */
struct ksplice_function {
	char *name;
	unsigned long start;
	unsigned long end;
	unsigned long fentry;		/* or 0 */
	unsigned long jump;		/* or 0: a handler on fentry leads on instead */
	struct ksplice_handler *handler;	/* registered */
	u8 *alias;			/* the bytes at @jump, writable, during a request (alias.c) */
	struct ksplice_function *before;	/* whose place it takes, during a look (change.c) */
	struct ksplice_function *after;	/* what takes its place: the opposite */
	u8 original[KSP_JUMP_SIZE];
	u8 redirect[KSP_JUMP_SIZE];
	unsigned long code;
};

/* A patched range: code in which no thread may be when it is replaced. */
struct ksplice_range {
	char *name;
	unsigned long start;
	unsigned long end;
	bool ends_in_call;		/* @end may be a return address (K13) */
};

/* All of an update, sorted by address. */
struct ksplice_ranges {
	u32 n;
	struct ksplice_range *items;
	unsigned long lowest;
	unsigned long highest;
};

/* A thread that was in the way. */
struct ksplice_conflict {
	char comm[TASK_COMM_LEN];
	pid_t pid;
	char name[64];
	unsigned long address;
};

/*
 * What an update changes: the kernel itself or a loadable module.  It stands
 * in the update's list from when its helper matched until that is unloaded.
 */
struct ksplice_target {
	struct list_head list;
	struct list_head not_loaded;	/* of those whose object need not be loaded (not_loaded.c) */
	char *name;			/* KSPLICE_KERNEL_NAME or the module's */
	const struct ksplice_helper *helper;

	/* What references.c holds (K21). */
	struct module *module;		/* the module to change, if it is there; NULL for the kernel */
	struct module **dependencies;	/* modules that it uses symbols of or has redirects in */
	u32 n_dependencies;

	/* What was matched. */
	u32 n_functions;
	struct ksplice_function *functions;
	u32 n_ranges;
	struct ksplice_range *ranges;
	u32 n_values;
	u64 *values;			/* for relocate.c */

	/* Set while the primary is loaded. */
	struct module *primary;
	const struct ksplice_code *code;
	struct ksplice_data *data;
	bool pinned;
	bool holds_primary;
	struct list_head leftovers;	/* jumps in it that could not be taken out (leftovers.c) */
};

struct ksplice_update {
	struct kobject kobj;
	struct list_head list;
	char *id;
	struct kthread_work work;

	/* Under ksplice_operation. */
	u32 n_targets;		/* that it has when it is whole */
	bool attached;		/* its targets' handlers are registered (tracer.c) */
	bool plain;		/* it is matched as if no update were in place, unless it is itself */
	bool replaces;		/* during a request: all updates in place go when it comes */

	/* Changed under ksplice_operation and report, read under either. */
	struct list_head targets;

	/* Filled inside the stop, copied under report after it. */
	u32 n_found;
	struct ksplice_conflict found[KSPLICE_MAX_CONFLICTS];

	/* Set by the writer of "stage", cleared by the worker. */
	atomic_t busy;
	enum ksplice_stage wanted;
	bool wants_to_replace;

	/* Under report. */
	struct mutex report;
	enum ksplice_stage stage;
	enum ksplice_cause cause;
	char reason[KSPLICE_REASON_SIZE];
	u32 n_conflicts;
	struct ksplice_conflict conflicts[KSPLICE_MAX_CONFLICTS];
	unsigned int tries;
	unsigned int stops;
	unsigned int max_tries;
	unsigned int retry_ms;
	unsigned int scan_ms;
	u64 pause_ns;
	unsigned int held;	/* how many times a thread was held */
	u64 held_ns;		/* the longest time */
};

#define for_each_target(target, update) \
	list_for_each_entry(target, &(update)->targets, list)

/* Where the hooks of an update stand. */
struct ksplice_hooks {
	u32 n;
	const struct ksplice_code *codes[KSPLICE_MAX_TARGETS];	/* by target */
};

/* One update in a change: what it brings to that. */
struct ksplice_part {
	struct ksplice_update *update;
	struct ksplice_hooks hooks;
	u32 reached;		/* of how many targets pre hooks were called */
	bool broken;		/* a handler of it did not go */
};

/* What one stop does (change.c). */
struct ksplice_change {
	struct ksplice_update *update;	/* that was asked for: takes the reason of a failure */
	const struct ksplice_update *refused;	/* whose hook refused */
	u32 refused_by;		/* 1 + index of the hook */
	u32 n_go;		/* the first parts, the newest update first; behind them the one that comes */
	u32 n;
	struct ksplice_part parts[];
};

#define for_each_part(part, change) \
	for ((part) = (change)->parts; (part) < &(change)->parts[(change)->n]; (part)++)

/* What a CPU records when it enters the stop function. */
struct ksplice_stopped {
	const struct task_struct *task;
	const unsigned long *stack;
};

/*
 * An entry of an export table, each field relative to itself: the kernel's
 * struct kernel_symbol, which newer headers do not show.
 */
struct ksplice_export {
	int value_offset;
	int name_offset;
	int namespace_offset;
};

static_assert(IS_ENABLED(CONFIG_HAVE_ARCH_PREL32_RELOCATIONS));

/*
 * Layer by layer: a file calls those that stand before it here, and none behind
 * (build/core-layers).  lookup.h and fault.h come first.
 */

/* report.c */
__printf(3, 4)
void ksplice_report(struct ksplice_update *update, enum ksplice_cause cause,
		    const char *format, ...);

/* module.c */
const struct kernel_symbol *ksplice_gpl_exports(const struct module *module, unsigned int *n);
void ksplice_module_text(const struct module *module, unsigned long *start,
			 unsigned long *end);

/* used_stack.c */
void ksplice_clear_used_stack(void);

/* shadow.c */
void ksplice_shadow_init(void);
void ksplice_shadow_exit(void);

/* alias.c */
u8 *ksplice_alias_map(unsigned long address);
void ksplice_alias_unmap(u8 *alias);
void ksplice_sync_cpus(void);

/* exiting.c */
struct ksplice_exiting {
	struct hlist_node node;
	struct list_head list;
	struct task_struct *task;
};

extern struct list_head ksplice_exiting;	/* read inside stop_machine */

int ksplice_exiting_init(void);
void ksplice_exiting_exit(void);
void ksplice_exiting_settle(void);
unsigned int ksplice_exiting_missed(void);

/* update.c */
extern struct mutex ksplice_operation;
extern struct list_head ksplice_updates;
struct ksplice_update *ksplice_find_update(const char *id);
void ksplice_update_free(struct ksplice_update *update);

/* hooks.c */
bool ksplice_runs_in_stop(enum ksplice_hook kind);
void ksplice_hooks_collect(const struct ksplice_update *update, struct ksplice_hooks *hooks);
u32 ksplice_call_checks(const struct ksplice_hooks *hooks, enum ksplice_hook kind, u32 *reached);
void ksplice_call_hooks(const struct ksplice_hooks *hooks, enum ksplice_hook kind, u32 n);

/* chain.c */
unsigned long ksplice_code_of(unsigned long address);
unsigned long ksplice_symbol_of(unsigned long address);
bool ksplice_any_in_place(void);
bool ksplice_has_handler(unsigned long start);
bool ksplice_is_primary(const struct module *module);
void ksplice_show_originals(unsigned long address, u8 *bytes, size_t n);
bool ksplice_is_left_behind(unsigned long address);
bool ksplice_is_new_code(const char *name, unsigned long start, unsigned long end);
void ksplice_new_symbols(const char *name, void (*look)(const struct module *primary, void *arg),
			 void *arg);
const char *ksplice_missing_base(const struct ksplice_helper *helper);
const struct ksplice_update *ksplice_find_upper(const struct ksplice_update *lower);
const struct ksplice_update *ksplice_find_lower(const struct ksplice_update *upper);
const struct ksplice_function *ksplice_find_covered(const struct ksplice_update *update);

/* others.c */
bool ksplice_is_probed(unsigned long address);
void ksplice_keep_others_out(void);
void ksplice_let_others_in(void);
int ksplice_check_others(struct ksplice_update *update, const struct ksplice_target *target,
			 bool undo);
int ksplice_find_overridden(struct ksplice_update *update,
			    int (*found)(void *arg, const struct ksplice_function *function),
			    void *arg);

/* memory.c */
struct ksplice_memory {
	struct ksp_env env;
	const struct ksplice_target *target;
	bool plain;
};

void ksplice_memory_init(struct ksplice_memory *memory, const struct ksplice_target *target,
			 bool plain);

/* tracer.c */
int ksplice_tracer_attach(struct ksplice_update *update, struct ksplice_target *target);
int ksplice_tracer_detach(struct ksplice_update *update, struct ksplice_target *target);
void ksplice_tracer_prepare(const struct ksplice_target *target, bool undo);
void ksplice_tracer_settle(const struct ksplice_target *target);
void ksplice_tracer_lead(const struct ksplice_target *target);
void ksplice_tracer_take_over(const struct ksplice_target *target);
void ksplice_tracer_flip(void);
void ksplice_tracer_flip_offline(void);
bool ksplice_tracer_is_dead(void);

/* redirect.c */
int ksplice_redirect_map(struct ksplice_update *update, struct ksplice_target *target);
void ksplice_redirect_unmap(struct ksplice_target *target);
int ksplice_code_check(struct ksplice_update *update, const struct ksplice_target *target);
int ksplice_redirect_prepare(struct ksplice_update *update, struct ksplice_target *target);
const struct ksplice_function *ksplice_redirect_check(const struct ksplice_target *target,
						      bool undo);
void ksplice_report_stale(struct ksplice_update *update, const struct ksplice_function *function);
void ksplice_redirect_write(struct ksplice_target *target, bool undo);

/* leftovers.c */
unsigned long ksplice_leftovers_clear(struct ksplice_target *target);
void ksplice_leftovers_drop(struct ksplice_target *target);
void ksplice_jumps_clear(struct ksplice_target *target);

/* relocate.c */
int ksplice_values_keep(struct ksplice_update *update, struct ksplice_target *target,
			const struct ksp_match *match);
int ksplice_relocate(struct ksplice_update *update, struct ksplice_target *target);

/* references.c */
int ksplice_find_module(struct ksplice_update *update, struct ksplice_target *target);
int ksplice_hold_dependencies(struct ksplice_update *update, struct ksplice_target *target,
			      const struct ksp_match *match);
void ksplice_drop_references(struct ksplice_target *target);

/* not_loaded.c */
void ksplice_not_loaded_add(struct ksplice_target *target);
void ksplice_not_loaded_remove(struct ksplice_target *target);
bool ksplice_is_waited_for(const char *name);
int ksplice_loaded_are_matched(struct ksplice_update *update);

/* target.c */
struct ksplice_target *ksplice_target_create(struct ksplice_update *update,
					     const struct ksplice_helper *helper,
					     struct module *coming);
int ksplice_target_join(struct ksplice_update *update, struct ksplice_target *target);
void ksplice_target_forget(struct ksplice_target *target);
void ksplice_target_destroy(struct ksplice_target *target);

/* change.c */
struct ksplice_change *ksplice_change_make(struct ksplice_update *update, bool undo);
bool ksplice_change_goes(const struct ksplice_change *change, const struct ksplice_part *part);
int ksplice_change_call_pre(struct ksplice_change *change);
int ksplice_change_call_checks(struct ksplice_change *change);
void ksplice_change_call(const struct ksplice_change *change, bool go);
void ksplice_change_call_last(const struct ksplice_change *change, bool failed);
void ksplice_change_report_refused(const struct ksplice_change *change, const char *step);
int ksplice_change_pair(const struct ksplice_change *change);
void ksplice_change_unpair(const struct ksplice_change *change);

/* ranges.c */
int ksplice_ranges_collect(const struct ksplice_change *change, struct ksplice_ranges *ranges);
const struct ksplice_range *ksplice_find_range(const struct ksplice_ranges *ranges,
					       unsigned long address);
void ksplice_conflict_add(struct ksplice_update *update, const struct task_struct *task,
			  const char *what, const struct ksplice_range *range,
			  unsigned long address);

/* door.c */
struct ksplice_frames {
	const unsigned long *below;	/* words below this one are read, those above are: */
	unsigned int n;			/* 0 if they are not known */
	unsigned long entries[32];	/* return addresses */
};

void ksplice_door_ask(struct task_struct *task, unsigned long wake_after, unsigned long limit);
const struct ksplice_frames *ksplice_door_frames(const struct task_struct *task);
unsigned int ksplice_door_open(u64 *longest);
void ksplice_door_exit(void);

/* scan.c */
struct ksplice_scan {
	u32 n;
	u32 room;
	struct ksplice_seen *seen;
	u32 *buckets;			/* 1 + index in seen, by task, or 0 */
	unsigned int bits;
	u32 next;			/* likely the next that is asked for */
};

int ksplice_scan_make(struct ksplice_scan *scan, struct ksplice_update *update,
		      const struct ksplice_ranges *ranges);
int ksplice_scan_refresh(struct ksplice_scan *scan, struct ksplice_update *update,
			 const struct ksplice_ranges *ranges);
void ksplice_scan_drop(struct ksplice_scan *scan);
bool ksplice_has_rested(struct ksplice_scan *scan, const struct task_struct *task);
void ksplice_scan_in_the_way(const struct ksplice_scan *scan,
			     void (*found)(struct task_struct *task, void *arg), void *arg);

/* hold.c */
struct ksplice_hold {
	bool is_due;			/* @due is set: threads were in the way */
	unsigned long due;		/* the next round */
	bool is_on;			/* a round is under way */
	unsigned long start;
	unsigned long end;
};

void ksplice_hold(struct ksplice_hold *hold, struct ksplice_update *update,
		  const struct ksplice_scan *scan);
bool ksplice_is_holding(const struct ksplice_hold *hold);
void ksplice_let_go(struct ksplice_hold *hold, struct ksplice_update *update);

/* quiesce.c */
int ksplice_check_threads(struct ksplice_update *update, const struct ksplice_ranges *ranges,
			  struct ksplice_scan *scan, const struct ksplice_stopped *stopped,
			  bool undo);

/* stop.c */
int ksplice_stop(struct ksplice_change *change);

/* notifier.c */
int ksplice_notifier_init(void);
void ksplice_notifier_exit(void);

/* apply.c */
extern struct kthread_worker *ksplice_worker;
void ksplice_work(struct kthread_work *work);
int ksplice_worker_init(void);
void ksplice_worker_exit(void);

/* sysfs.c */
extern const struct kobj_type ksplice_update_type;
extern struct kset *ksplice_kset;
int ksplice_sysfs_init(void);
void ksplice_sysfs_exit(void);

/* register.c */
void ksplice_updates_exit(void);

#endif
