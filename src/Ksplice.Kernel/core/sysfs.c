// SPDX-License-Identifier: GPL-2.0
/*
 * /sys/kernel/ksplice/ID: what an update is, and the file to ask for a change.
 */

/**
 * DOC: locking
 *
 * Readers take update->report, and one of them the tracer's lock before it.
 * Writing "stage" takes nothing: it hands
 * the request to the core's thread and returns (K17).
 */
#define pr_fmt(fmt) "ksplice: " fmt

#include <linux/module.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

#include "core.h"

struct kset *ksplice_kset;

static const char * const stages[] = {
	[KSPLICE_PREPARING] = "preparing",
	[KSPLICE_APPLIED] = "applied",
	[KSPLICE_REVERSED] = "reversed",
};

static const char * const causes[] = {
	[KSPLICE_OK] = "ok",
	[KSPLICE_NO_MATCH] = "no_match",
	[KSPLICE_CODE_BUSY] = "code_busy",
	[KSPLICE_MODULE_BUSY] = "module_busy",
	[KSPLICE_OUT_OF_MEMORY] = "out_of_memory",
	[KSPLICE_FAILED_TO_FIND] = "failed_to_find",
	[KSPLICE_TARGET_NOT_LOADED] = "target_not_loaded",
	[KSPLICE_CALL_FAILED] = "call_failed",
	[KSPLICE_BAD_DATA] = "bad_data",
	[KSPLICE_ALREADY_APPLIED] = "already_applied",
	[KSPLICE_PROBED] = "probed",
	[KSPLICE_INCOMPLETE] = "incomplete",
	[KSPLICE_REDIRECTED] = "redirected",
	[KSPLICE_IN_USE] = "in_use",
	[KSPLICE_RUNNING_TASK] = "running_task",
	[KSPLICE_BASE_MISSING] = "base_missing",
	[KSPLICE_OTHER_BUILD] = "other_build",
	[KSPLICE_UNEXPECTED] = "unexpected",
};

static ssize_t stage_show(struct ksplice_update *update, char *page)
{
	return sysfs_emit(page, "%s\n", stages[update->stage]);
}

static ssize_t stage_store(struct ksplice_update *update, const char *text, size_t size)
{
	bool replaces = sysfs_streq(text, "replacing");
	enum ksplice_stage wanted;

	if (replaces || sysfs_streq(text, "applied"))
		wanted = KSPLICE_APPLIED;
	else if (sysfs_streq(text, "reversed"))
		wanted = KSPLICE_REVERSED;
	else
		return -EINVAL;
	if (atomic_cmpxchg(&update->busy, 0, 1))
		return -EBUSY;
	update->wanted = wanted;
	update->wants_to_replace = replaces;
	kthread_queue_work(ksplice_worker, &update->work);
	return size;
}

static ssize_t busy_show(struct ksplice_update *update, char *page)
{
	return sysfs_emit(page, "%d\n", atomic_read_acquire(&update->busy));
}

static ssize_t abort_cause_show(struct ksplice_update *update, char *page)
{
	return sysfs_emit(page, "%s\n", causes[update->cause]);
}

static ssize_t reason_show(struct ksplice_update *update, char *page)
{
	return sysfs_emit(page, "%s\n", update->reason);
}

static ssize_t conflicts_show(struct ksplice_update *update, char *page)
{
	u32 n = min_t(u32, update->n_conflicts, KSPLICE_MAX_CONFLICTS);
	ssize_t size = 0;
	u32 i;

	for (i = 0; i < n; i++)
		size += sysfs_emit_at(page, size, "%s %d %s %lx\n",
				      update->conflicts[i].comm, update->conflicts[i].pid,
				      update->conflicts[i].name, update->conflicts[i].address);
	if (update->n_conflicts > n)
		size += sysfs_emit_at(page, size, "... and %u more\n", update->n_conflicts - n);
	return size;
}

#define SHOW(name, format) \
	static ssize_t name##_show(struct ksplice_update *update, char *page) \
	{ \
		return sysfs_emit(page, format "\n", update->name); \
	}

SHOW(tries, "%u")
SHOW(stops, "%u")
SHOW(pause_ns, "%llu")
SHOW(held, "%u")
SHOW(held_ns, "%llu")
SHOW(max_tries, "%u")
SHOW(retry_ms, "%u")
SHOW(scan_ms, "%u")

/* A request ends: what root can set keeps it from going on for hours. */
static ssize_t store_number(const char *text, size_t size, unsigned int least, unsigned int most,
			    unsigned int *to)
{
	unsigned int number;
	int err = kstrtouint(text, 0, &number);

	if (err)
		return err;
	if (number < least || number > most)
		return -ERANGE;
	WRITE_ONCE(*to, number);
	return size;
}

static ssize_t max_tries_store(struct ksplice_update *update, const char *text, size_t size)
{
	return store_number(text, size, 1, KSPLICE_MOST_TRIES, &update->max_tries);
}

static ssize_t retry_ms_store(struct ksplice_update *update, const char *text, size_t size)
{
	return store_number(text, size, 0, KSPLICE_MOST_RETRY_MS, &update->retry_ms);
}

static ssize_t scan_ms_store(struct ksplice_update *update, const char *text, size_t size)
{
	return store_number(text, size, 1, KSPLICE_MOST_SCAN_MS, &update->scan_ms);
}

struct update_attribute {
	struct attribute attr;
	ssize_t (*show)(struct ksplice_update *update, char *page);
	ssize_t (*store)(struct ksplice_update *update, const char *text, size_t size);
};

#define ATTRIBUTE(name, mode, store) \
	static struct update_attribute name##_attribute = \
		{ { __stringify(name), mode }, name##_show, store }

/* For everybody: no address, and no name of a process or a function. */
ATTRIBUTE(stage, 0644, stage_store);
ATTRIBUTE(busy, 0444, NULL);
ATTRIBUTE(abort_cause, 0444, NULL);
ATTRIBUTE(tries, 0444, NULL);
ATTRIBUTE(pause_ns, 0444, NULL);
ATTRIBUTE(held, 0444, NULL);
ATTRIBUTE(held_ns, 0444, NULL);
/* For root. */
ATTRIBUTE(reason, 0400, NULL);
ATTRIBUTE(conflicts, 0400, NULL);
ATTRIBUTE(stops, 0400, NULL);
ATTRIBUTE(max_tries, 0600, max_tries_store);
ATTRIBUTE(retry_ms, 0600, retry_ms_store);
ATTRIBUTE(scan_ms, 0600, scan_ms_store);

static struct attribute *update_attrs[] = {
	&stage_attribute.attr,
	&busy_attribute.attr,
	&abort_cause_attribute.attr,
	&reason_attribute.attr,
	&conflicts_attribute.attr,
	&tries_attribute.attr,
	&stops_attribute.attr,
	&max_tries_attribute.attr,
	&retry_ms_attribute.attr,
	&scan_ms_attribute.attr,
	&pause_ns_attribute.attr,
	&held_attribute.attr,
	&held_ns_attribute.attr,
	NULL,
};

/*
 * Tables of any length: a piece of a file that need not be a page.  Lines are
 * made one after the other and what the reader asked for is copied; an update
 * that changes between two pieces shows in the second.
 */
struct piece {
	char *to;
	loff_t from;		/* of the file */
	size_t size;
	size_t copied;
	loff_t at;		/* where the next line stands in the file */
};

/* Returns 1 when the piece is full, or a negative errno. */
__printf(2, 3)
static int add_line(struct piece *piece, const char *format, ...)
{
	va_list arguments;
	size_t length, skip = 0;
	char *line;

	va_start(arguments, format);
	line = kvasprintf(GFP_KERNEL, format, arguments);
	va_end(arguments);
	if (!line)
		return -ENOMEM;
	length = strlen(line);
	if (piece->at + length > piece->from) {
		if (piece->from > piece->at)
			skip = piece->from - piece->at;
		length = min(length - skip, piece->size - piece->copied);
		memcpy(piece->to + piece->copied, line + skip, length);
		piece->copied += length;
	}
	piece->at += strlen(line);
	kfree(line);
	return piece->copied == piece->size;
}

static int list_functions(const struct ksplice_update *update, struct piece *piece)
{
	struct ksplice_target *target;
	int full;
	u32 i;

	for_each_target(target, update) {
		for (i = 0; i < target->n_functions; i++) {
			const struct ksplice_function *function = &target->functions[i];

			full = add_line(piece, "%s %016lx %016lx %s %s\n", function->name,
					function->start, function->code, target->name,
					function->jump ? "jump" : "tracer");
			if (full)
				return full;
		}
	}
	return 0;
}

static int list_targets(const struct ksplice_update *update, struct piece *piece)
{
	struct ksplice_target *target;
	int full;

	for_each_target(target, update) {
		bool waiting = target->helper->late && !target->module;

		full = add_line(piece, "%s %s\n", target->name,
				waiting ? "waiting" : target->primary ? "ready" : "matched");
		if (full)
			return full;
	}
	return 0;
}

/* As the headers declare what is handed to a reader. */
typedef typeof(*_Generic(((struct bin_attribute *)NULL)->read,
			 ssize_t (*)(struct file *, struct kobject *, struct bin_attribute *, char *, loff_t, size_t):
				(struct bin_attribute *)NULL,
			 default: (const struct bin_attribute *)NULL)) ksplice_bin_attribute;

static ssize_t read_table(struct kobject *kobj, char *to, loff_t from, size_t size,
			  int (*list)(const struct ksplice_update *update, struct piece *piece))
{
	struct ksplice_update *update = container_of(kobj, struct ksplice_update, kobj);
	struct piece piece = { .to = to, .from = from, .size = size };
	int err;

	mutex_lock(&update->report);
	err = list(update, &piece);
	mutex_unlock(&update->report);
	return err < 0 ? err : piece.copied;
}

static ssize_t functions_read(struct file *file, struct kobject *kobj,
			      ksplice_bin_attribute *attribute, char *to, loff_t from, size_t size)
{
	return read_table(kobj, to, from, size, list_functions);
}

static ssize_t targets_read(struct file *file, struct kobject *kobj,
			    ksplice_bin_attribute *attribute, char *to, loff_t from, size_t size)
{
	return read_table(kobj, to, from, size, list_targets);
}

static int list_overridden(void *arg, const struct ksplice_function *function)
{
	return add_line(arg, "%s\n", function->name);
}

/* Asks the tracer, so its lock is taken before update->report. */
static ssize_t overridden_read(struct file *file, struct kobject *kobj,
			       ksplice_bin_attribute *attribute, char *to, loff_t from, size_t size)
{
	struct ksplice_update *update = container_of(kobj, struct ksplice_update, kobj);
	struct piece piece = { .to = to, .from = from, .size = size };
	int err = ksplice_find_overridden(update, list_overridden, &piece);

	return err < 0 ? err : piece.copied;
}

static BIN_ATTR(functions, 0400, functions_read, NULL, 0);
static BIN_ATTR(targets, 0400, targets_read, NULL, 0);
static BIN_ATTR(overridden, 0400, overridden_read, NULL, 0);

static ksplice_bin_attribute *update_tables[] = {
	&bin_attr_functions,
	&bin_attr_targets,
	&bin_attr_overridden,
	NULL,
};

static const struct attribute_group update_group = {
	.attrs = update_attrs,
	.bin_attrs = update_tables,
};
__ATTRIBUTE_GROUPS(update);

static ssize_t update_show(struct kobject *kobj, struct attribute *attr, char *page)
{
	struct ksplice_update *update = container_of(kobj, struct ksplice_update, kobj);
	ssize_t size;

	mutex_lock(&update->report);
	size = container_of(attr, struct update_attribute, attr)->show(update, page);
	mutex_unlock(&update->report);
	return size;
}

static ssize_t update_store(struct kobject *kobj, struct attribute *attr,
			    const char *text, size_t size)
{
	struct ksplice_update *update = container_of(kobj, struct ksplice_update, kobj);
	struct update_attribute *attribute = container_of(attr, struct update_attribute, attr);

	return attribute->store ? attribute->store(update, text, size) : -EACCES;
}

static const struct sysfs_ops update_sysfs_ops = {
	.show = update_show,
	.store = update_store,
};

static void update_release(struct kobject *kobj)
{
	ksplice_update_free(container_of(kobj, struct ksplice_update, kobj));
}

const struct kobj_type ksplice_update_type = {
	.release = update_release,
	.sysfs_ops = &update_sysfs_ops,
	.default_groups = update_groups,
};

static ssize_t ftrace_show(struct kobject *kobj, struct kobj_attribute *attribute, char *page)
{
	return sysfs_emit(page, "%s\n", ksplice_tracer_is_dead() ? "dead" : "alive");
}

static const struct kobj_attribute ftrace_attribute = __ATTR(ftrace, 0400, ftrace_show, NULL);

int ksplice_sysfs_init(void)
{
	int err;

	ksplice_kset = kset_create_and_add("ksplice", NULL, kernel_kobj);
	if (!ksplice_kset)
		return -ENOMEM;
	err = sysfs_create_file(&ksplice_kset->kobj, &ftrace_attribute.attr);
	if (err)
		kset_unregister(ksplice_kset);
	return err;
}

void ksplice_sysfs_exit(void)
{
	kset_unregister(ksplice_kset);
}
