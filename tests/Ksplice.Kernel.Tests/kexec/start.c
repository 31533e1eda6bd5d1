// SPDX-License-Identifier: GPL-2.0
/*
 * Loads a kernel beside the one that runs, and starts it; or has it started
 * when the one that runs crashes.
 *
 * usage: start now|crash KERNEL INITRD COMMAND-LINE
 */
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int crash, kernel, initrd;

	if (argc != 5)
		return 2;
	crash = !strcmp(argv[1], "crash");
	kernel = open(argv[2], O_RDONLY);
	initrd = open(argv[3], O_RDONLY);
	if (kernel < 0 || initrd < 0 ||
	    syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[4]) + 1, argv[4], crash ? KEXEC_FILE_ON_CRASH : 0UL)) {
		perror("start");
		return 1;
	}
	if (crash)
		return 0;
	sync();
	syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, NULL);
	perror("start");
	return 1;
}
