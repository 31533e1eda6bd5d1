// SPDX-License-Identifier: MIT
/*
 * Runs a command and kills it at its Nth step: at the start or at the end of a system call that changes something
 * (a module loaded or unloaded, a file written, made, renamed or removed, another program in its place).
 *
 * usage: kill-at N FILE COMMAND...      the step goes into FILE; 0: killed, 1: the command ended before, 2: an error
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_THREADS 256

/* Per thread: whether the next stop is the end of the call. */
static struct thread {
	pid_t tid;
	int in_call;
} threads[MAX_THREADS];

static struct thread *thread_of(pid_t tid)
{
	for (int i = 0; i < MAX_THREADS; i++) {
		if (threads[i].tid == 0)
			threads[i].tid = tid;
		if (threads[i].tid == tid)
			return &threads[i];
	}
	fprintf(stderr, "kill-at: too many threads\n");
	exit(2);
}

/* The process is another program, one thread under the process's id, and the next stop is the end of its execve. */
static void only_thread(pid_t tid)
{
	memset(threads, 0, sizeof(threads));
	threads[0].tid = tid;
	threads[0].in_call = 1;
}

static const char *step_of(const struct user_regs_struct *regs)
{
	switch (regs->orig_rax) {
	case SYS_init_module:
		return "init_module";
	case SYS_delete_module:
		return "delete_module";
	case SYS_write:
	case SYS_pwrite64:
		return regs->rdi > 2 ? "write" : NULL;
	case SYS_execve:
	case SYS_execveat:
		return "execve";
	case SYS_fsync:
		return "fsync";
	case SYS_mkdir:
		return "mkdir";
	case SYS_rename:
		return "rename";
	case SYS_symlink:
		return "symlink";
	case SYS_unlink:
		return "unlink";
	case SYS_rmdir:
		return "rmdir";
	}
	return NULL;
}

int main(int argc, char **argv)
{
	long wanted = argc > 3 ? atol(argv[1]) : 0, seen = 0;
	int status;
	pid_t child, tid;

	if (wanted <= 0) {
		fprintf(stderr, "usage: kill-at N FILE COMMAND...\n");
		return 2;
	}
	child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		execvp(argv[3], argv + 3);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0 ||
	    ptrace(PTRACE_SETOPTIONS, child, NULL, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL) ||
	    ptrace(PTRACE_SYSCALL, child, NULL, 0)) {
		perror("kill-at");
		return 2;
	}

	while ((tid = waitpid(-1, &status, __WALL)) > 0) {
		int signal = 0;

		if (WIFEXITED(status) || WIFSIGNALED(status)) {
			if (tid == child)
				return 1;
			continue;
		}
		if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			struct thread *thread = thread_of(tid);
			struct user_regs_struct regs;
			const char *step;

			thread->in_call = !thread->in_call;
			if (ptrace(PTRACE_GETREGS, tid, NULL, &regs) == 0 && (step = step_of(&regs)) && ++seen == wanted) {
				FILE *file = fopen(argv[2], "w");

				if (!file || fprintf(file, "%s %s\n", thread->in_call ? "before" : "after", step) < 0 || fclose(file)) {
					perror(argv[2]);
					return 2;
				}
				kill(child, SIGKILL);
				while (waitpid(-1, &status, __WALL) > 0 || errno == EINTR)
					;
				return 0;
			}
		} else if (status >> 8 == (SIGTRAP | (PTRACE_EVENT_EXEC << 8))) {
			only_thread(tid);
		} else if (WSTOPSIG(status) != SIGTRAP && WSTOPSIG(status) != SIGSTOP) {
			signal = WSTOPSIG(status);
		}
		ptrace(PTRACE_SYSCALL, tid, NULL, signal);
	}
	return 2;
}
