// SPDX-License-Identifier: GPL-2.0
/*
 * Changes one byte of a kernel function, for tests: for as long as the module is
 * loaded, a kernel that is not the one an update was built for; or again and again
 * for some milliseconds under text_mutex, as who rewrites code does in several
 * steps, until it is told to end, and then the module does not stay.  It does not stay either where it is
 * to hold one of the kernel's mutexes for some milliseconds.
 */
#include <linux/delay.h>
#include <linux/kallsyms.h>
#include <linux/kprobes.h>
#include <linux/memory.h>
#include <linux/module.h>

static char *function;
module_param(function, charp, 0);
static int offset;
module_param(offset, int, 0);
static int rewrite_ms;
module_param(rewrite_ms, int, 0);
static bool end;
module_param(end, bool, 0600);
static char *hold;
module_param(hold, charp, 0);
static int hold_ms;
module_param(hold_ms, int, 0);

static u8 *place;
static u8 original;
static void *(*poke)(void *address, const void *opcode, size_t size);
static struct mutex *lock;

static void *look_up(const char *name)
{
	struct kprobe probe = { .symbol_name = "kallsyms_lookup_name" };
	unsigned long (*lookup)(const char *name);

	if (register_kprobe(&probe))
		return NULL;
	lookup = (void *)probe.addr;
	unregister_kprobe(&probe);
	return (void *)lookup(name);
}

static void write_byte(u8 value)
{
	mutex_lock(lock);
	poke(place, &value, 1);
	mutex_unlock(lock);
}

static void rewrite(void)
{
	u8 breakpoint = 0xcc;

	mutex_lock(lock);
	poke(place, &breakpoint, 1);
	pr_info_once("poke: %s is being rewritten\n", function);
	msleep(rewrite_ms);
	poke(place, &original, 1);
	mutex_unlock(lock);
}

static int hold_mutex(void)
{
	struct mutex *held = look_up(hold);

	if (!held)
		return -ENOENT;
	mutex_lock(held);
	pr_info("poke: %s is held\n", hold);
	msleep(hold_ms);
	mutex_unlock(held);
	return -EAGAIN;
}

static int __init poke_init(void)
{
	if (hold)
		return hold_mutex();
	place = look_up(function);
	poke = look_up("text_poke");
	lock = look_up("text_mutex");
	if (!place || !poke || !lock)
		return -ENOENT;
	place += offset;
	original = *place;
	if (rewrite_ms) {
		while (!READ_ONCE(end))
			rewrite();
		return -EAGAIN;
	}
	write_byte(original ^ 1);
	return 0;
}
module_init(poke_init);

static void __exit poke_exit(void)
{
	write_byte(original);
}
module_exit(poke_exit);

MODULE_DESCRIPTION("Changes one byte of the kernel's text");
MODULE_LICENSE("GPL");
