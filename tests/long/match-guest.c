// SPDX-License-Identifier: GPL-2.0
/*
 * The interpreter in the running kernel over one match data after the other,
 * in the surroundings that a helper has: this file is built into the core
 * module (tests/long/match-guest).
 *
 * Writing a file's name to the module's parameter match_file matches what is
 * in it, each behind its size in four bytes, and writes a line for each to
 * NAME.out: the nanoseconds that it took, and the result as the program of
 * tests/Ksplice.Build.Tests/Matching/interpreter.c prints it.
 *
 * DOC: context and locking
 *
 * Process context, from a writer to sysfs.  Locks as target.c takes them.
 */
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "core.h"

#define MAX_DATA	SZ_16M
#define LINE_SIZE	SZ_1M

struct line {
	char *text;
	size_t n;
};

static __printf(2, 3) void add(struct line *line, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	line->n += vscnprintf(line->text + line->n, LINE_SIZE - line->n, format, arguments);
	va_end(arguments);
}

static void show_failure(struct line *line, const struct ksp_failure *failure)
{
	u32 i;

	add(line, " %s %s %s %llx %x %u", failure->unit ?: "", failure->object ?: "", failure->symbol ?: "-",
	    failure->address, failure->offset, failure->candidates);
	for (i = 0; i < failure->n_expected; i++)
		add(line, " %02x", failure->expected[i]);
	add(line, " /");
	for (i = 0; i < failure->n_found; i++)
		add(line, " %02x", failure->found[i]);
}

static void show(struct line *line, u64 ns, enum ksp_reason reason, const struct ksp_match *match)
{
	u32 i;

	line->n = 0;
	add(line, "%llu %d", ns, reason);
	if (reason != KSP_MATCHED && reason != KSP_BAD_DATA)
		show_failure(line, &match->failure);
	for (i = 0; i < match->n_exports; i++)
		add(line, " e%llx", match->exports[i]);
	for (i = 0; i < match->n_functions; i++)
		add(line, " f%llx-%llx %llx %llx", match->functions[i].start, match->functions[i].end,
		    match->functions[i].jump, match->functions[i].fentry);
	for (i = 0; i < match->n_ranges; i++)
		add(line, " r%s %llx-%llx%s", match->ranges[i].name, match->ranges[i].start, match->ranges[i].end,
		    match->ranges[i].ends_in_call ? " call" : "");
	add(line, "\n");
}

static void match_one(const void *data, size_t size, struct line *line)
{
	const struct ksplice_target target = { .name = KSPLICE_KERNEL_NAME };
	struct ksplice_memory memory;
	struct ksp_match match = {};
	enum ksp_reason reason;
	u64 from = ktime_get_ns();

	mutex_lock(&ksplice_operation);
	ksplice_memory_init(&memory, &target);
	mutex_lock(kernel.text_mutex);	/* K12 */
	reason = ksp_match(data, size, &memory.env, &match);
	mutex_unlock(kernel.text_mutex);
	mutex_unlock(&ksplice_operation);
	show(line, ktime_get_ns() - from, reason, &match);
	ksp_match_free(&memory.env, &match);
}

static int match_all(struct file *from, struct file *to, struct line *line)
{
	loff_t at = 0, end = 0;

	for (;;) {
		u32 size;
		void *data;
		ssize_t n = kernel_read(from, &size, sizeof(size), &at);

		if (n <= 0)
			return n;
		if (n != sizeof(size) || size > MAX_DATA)
			return -EINVAL;
		data = kvmalloc(size, GFP_KERNEL);
		if (!data)
			return -ENOMEM;
		n = kernel_read(from, data, size, &at);
		if (n == size)
			match_one(data, size, line);
		kvfree(data);
		if (n != size || line->n == LINE_SIZE - 1)
			return -EINVAL;
		n = kernel_write(to, line->text, line->n, &end);
		if (n != line->n)
			return n < 0 ? n : -EIO;
		cond_resched();
	}
}

static int set_match_file(const char *value, const struct kernel_param *parameter)
{
	struct line line = { .text = kvmalloc(LINE_SIZE, GFP_KERNEL) };
	char *name = kstrdup(value, GFP_KERNEL), *output = NULL;
	struct file *from, *to;
	int err = -ENOMEM;

	if (name)
		output = kasprintf(GFP_KERNEL, "%s.out", strim(name));
	if (!line.text || !output)
		goto free;
	from = filp_open(strim(name), O_RDONLY, 0);
	err = PTR_ERR_OR_ZERO(from);
	if (err)
		goto free;
	to = filp_open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	err = PTR_ERR_OR_ZERO(to);
	if (err)
		goto close;
	err = match_all(from, to, &line);
	filp_close(to, NULL);
close:
	filp_close(from, NULL);
free:
	kfree(output);
	kfree(name);
	kvfree(line.text);
	return err;
}

static const struct kernel_param_ops match_file_ops = {
	.set = set_match_file,
};
module_param_cb(match_file, &match_file_ops, NULL, 0200);
MODULE_PARM_DESC(match_file, "a file of match data to match; results go to NAME.out");
