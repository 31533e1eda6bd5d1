// SPDX-License-Identifier: MIT
/*
 * What the process of ksplice is while it waits for the kernel (K30).
 *
 * An update is applied while no thread is in a function that it replaces, and
 * the command that asks for the update is a process too.  The threads of its
 * .NET runtime sleep in pipe_read(), futex_wait(), do_epoll_wait() and so on.
 * So the command becomes this program by execve, which ends its threads, and
 * this program becomes the command again when the wait is over.  The process
 * id, the descriptors, the lock on /run/ksplice.lock, the environment and the
 * working directory stay what they are.
 *
 * DOC: where it is in the kernel
 *
 * It never sleeps.  It spins in user space, and asks the kernel in between by
 * calls that return at once.  When the machine stops, its kernel stack is
 * empty, or has the way back to user space from an interrupt.  Were it just
 * in a call, in vfs_read() say, then the core's next try finds it elsewhere:
 * the pauses grow to some hundred times what the calls take.
 *
 * There is no libc, because what a libc calls is not seen here.
 *
 * usage: ksplice-waiter WHAT DIRECTORY UNTIL PROGRAM LOCK MASK ARGUMENT...
 *   WHAT       applied, reversed: ask for that stage, and wait for its end
 *              idle: wait until the core is at work on nothing; lock: wait for LOCK
 *   DIRECTORY  of the update in sysfs
 *   UNTIL      when to give up: CLOCK_MONOTONIC, in nanoseconds
 *   PROGRAM    the descriptor of the program to become
 *   LOCK       the descriptor of the lock's file
 *   MASK       the signals that are blocked in the program, hexadecimal
 *   ARGUMENT   its arguments; how the wait ended takes the last one's place:
 *              done, late, interrupted, or the error number of a failed call
 */
#include <asm/poll.h>
#include <asm/signal.h>
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/time_types.h>

#define CLOCK_MONOTONIC	1
#define STDERR		2
#define CANNOT_RETURN	9	/* ExitCode.Unexpected */
#define SIGNAL_BIT(n)	(1UL << ((n) - 1))

/* Cycles: a tenth of a millisecond or less, and some ten milliseconds. */
#define SHORTEST_PAUSE	(1UL << 17)
#define LONGEST_PAUSE	(1UL << 25)

struct arguments {
	char *name, *what, *directory, *until, *program, *lock, *mask;
	char *resumed[];
};

asm(".globl _start\n"
	"_start:\n"
	"	xor	%ebp, %ebp\n"
	"	mov	%rsp, %rdi\n"
	"	and	$-16, %rsp\n"
	"	call	run\n");

static long call5(long number, long a, long b, long c, long d, long e)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	long result;

	asm volatile("syscall" : "=a"(result)
		     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
		     : "rcx", "r11", "memory");
	return result;
}

static long call(long number, long a, long b, long c)
{
	return call5(number, a, b, c, 0, 0);
}

static unsigned long length_of(const char *text)
{
	unsigned long n = 0;

	while (text[n])
		n++;
	return n;
}

static int same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

/* Ends at the first character that is no digit of that base. */
static unsigned long number(const char *text, unsigned int base)
{
	unsigned long value = 0;

	for (;; text++) {
		unsigned int digit = *text >= 'a' ? *text - 'a' + 10 : *text - '0';

		if (*text < '0' || digit >= base)
			return value;
		value = value * base + digit;
	}
}

static const char *decimal(unsigned long value)
{
	static char text[24];
	char *at = text + sizeof(text) - 1;

	do {
		*--at = '0' + value % 10;
		value /= 10;
	} while (value);
	return at;
}

/* Does not wait for who reads it: a full pipe or a stopped terminal gets nothing. */
static void say(const char *a, const char *b, const char *c, const char *d, const char *e)
{
	const char *parts[] = { a, b, c, d, e };
	struct pollfd output = { .fd = STDERR, .events = POLLOUT };
	unsigned long n = 0, i, k;
	char line[256];

	for (i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		for (k = 0; parts[i][k] && n < sizeof(line); k++)
			line[n++] = parts[i][k];
	}
	if (call(__NR_poll, (long)&output, 1, 0) == 1 && (output.revents & POLLOUT))
		call(__NR_write, STDERR, (long)line, n);
}

/* The first line of a file, cut to fit; empty if it cannot be read. */
static void read_file(int directory, const char *name, char *text, unsigned long size)
{
	long fd = call5(__NR_openat, directory, (long)name, O_RDONLY | O_CLOEXEC, 0, 0);
	unsigned long i;
	long n = 0;

	if (fd >= 0) {
		n = call(__NR_read, fd, (long)text, size - 1);
		call(__NR_close, fd, 0, 0);
	}
	text[n > 0 ? n : 0] = '\0';
	for (i = 0; text[i] && text[i] != '\n'; i++)
		;
	text[i] = '\0';
}

static unsigned long now(void)
{
	struct __kernel_timespec time;

	call(__NR_clock_gettime, CLOCK_MONOTONIC, (long)&time, 0);
	return time.tv_sec * 1000000000UL + time.tv_nsec;
}

static void spin(unsigned long cycles)
{
	unsigned long start = __builtin_ia32_rdtsc();

	while (__builtin_ia32_rdtsc() - start < cycles)
		__builtin_ia32_pause();
}

static int is_ignored(int signal)
{
	struct sigaction action;

	return call5(__NR_rt_sigaction, signal, 0, (long)&action, 8, 0) == 0 && action.sa_handler == SIG_IGN;
}

/* Takes a signal that is blocked and has come; 0 if there is none. */
static int take_signal(unsigned long signals)
{
	static const struct __kernel_timespec at_once;
	unsigned long pending;

	if (call(__NR_rt_sigpending, (long)&pending, 8, 0) || !(pending & signals))
		return 0;
	return call5(__NR_rt_sigtimedwait, (long)&signals, 0, (long)&at_once, 8, 0) > 0;
}

/* What stops the wait is taken as a message; the rest does what it does to the program, and its runtime's own is forgotten. */
static unsigned long set_signals(unsigned long blocked)
{
	unsigned long stops = SIGNAL_BIT(SIGINT) | SIGNAL_BIT(SIGTERM);

	while (take_signal(~(SIGNAL_BIT(SIGRTMIN) - 1)))
		;
	if (is_ignored(SIGINT))
		stops &= ~SIGNAL_BIT(SIGINT);
	if (is_ignored(SIGTERM))
		stops &= ~SIGNAL_BIT(SIGTERM);
	blocked |= stops;
	call5(__NR_rt_sigprocmask, SIG_SETMASK, (long)&blocked, 0, 8, 0);
	return stops;
}

/* 0 or a negative error number. */
static long ask(int directory, const char *stage)
{
	long fd = call5(__NR_openat, directory, (long)"stage", O_WRONLY | O_CLOEXEC, 0, 0);
	long result;

	if (fd < 0)
		return fd;
	result = call(__NR_write, fd, (long)stage, length_of(stage));
	call(__NR_close, fd, 0, 0);
	return result < 0 ? result : 0;
}

static int is_busy(int directory)
{
	char text[16];

	read_file(directory, "busy", text, sizeof(text));
	return text[0] == '1';
}

static unsigned long tell_tries(int directory, unsigned long told)
{
	char tries[16], most[16];

	read_file(directory, "tries", tries, sizeof(tries));
	if (number(tries, 10) <= told)
		return told;
	read_file(directory, "max_tries", most, sizeof(most));
	say("try ", tries, " of ", most, ": the code was in use\n");
	return number(tries, 10);
}

static const char *wait_for(const struct arguments *arguments, unsigned long stops)
{
	int is_lock = same(arguments->what, "lock"), is_idle = same(arguments->what, "idle");
	unsigned long until = number(arguments->until, 10), pause = SHORTEST_PAUSE, tries = 1;
	long lock = number(arguments->lock, 10), directory = 0, err;

	if (!is_lock) {
		directory = call(__NR_open, (long)arguments->directory, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
		if (directory < 0)
			return decimal(-directory);
		err = is_idle ? 0 : ask(directory, arguments->what);
		if (err)
			return decimal(-err);
	}
	for (;;) {
		if (is_lock) {
			err = call(__NR_flock, lock, LOCK_EX | LOCK_NB, 0);
			if (err != -EWOULDBLOCK)
				return err ? decimal(-err) : "done";
		} else if (!is_busy(directory)) {
			return "done";
		}
		if (take_signal(stops))
			return "interrupted";
		if (now() > until)
			return "late";
		if (!is_lock && !is_idle)
			tries = tell_tries(directory, tries);
		spin(pause);
		if (pause < LONGEST_PAUSE)
			pause *= 2;
	}
}

static void leave(int code)
{
	for (;;)
		call(__NR_exit_group, code, 0, 0);
}

__attribute__((used)) static void run(long *stack)
{
	long n = stack[0], last = n - 1;
	struct arguments *arguments = (struct arguments *)(stack + 1);
	char **values = (char **)(stack + 1), **environment = values + n + 1;
	unsigned long mask;
	long program, err;

	if (n < 9)
		leave(1);
	call(__NR_prctl, PR_SET_NAME, (long)"ksplice-waiter", 0);
	program = number(arguments->program, 10);
	mask = number(arguments->mask, 16);
	values[last] = (char *)wait_for(arguments, set_signals(mask));
	call(__NR_fcntl, program, F_SETFD, FD_CLOEXEC);
	call5(__NR_rt_sigprocmask, SIG_SETMASK, (long)&mask, 0, 8, 0);
	err = call5(__NR_execveat, program, (long)"", (long)arguments->resumed, (long)environment, AT_EMPTY_PATH);
	say("ksplice: error: cannot become the command again (errno ", decimal(-err),
	    "); what the kernel was asked for goes on, see 'ksplice view'\n", "", "");
	leave(CANNOT_RETURN);
}
