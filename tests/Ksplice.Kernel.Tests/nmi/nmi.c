// SPDX-License-Identifier: GPL-2.0
/*
 * NMIs, for tests: sends one to every processor again and again, and takes them
 * as the kernel takes one that it does not know.  Among the handlers of an NMI
 * its own is the last.  There an NMI lingers that has interrupted the core in a
 * thread that stops the machine, so that it lasts longer than what the other
 * processors do meanwhile.
 */
#include <linux/cpu.h>
#include <linux/delay.h>
#include <linux/err.h>
#include <linux/kallsyms.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/string.h>
#include <linux/version.h>
#include <asm/apic.h>
#include <asm/nmi.h>

static int linger_ms;
module_param(linger_ms, int, 0);

static struct task_struct *sender;

static int linger(unsigned int type, struct pt_regs *regs)
{
	char where[KSYM_SYMBOL_LEN];
	int i;

	if (strncmp(current->comm, "migration/", 10))
		return NMI_DONE;
	sprint_symbol(where, regs->ip);
	if (strstr(where, "[ksplice]")) {
		for (i = 0; i < linger_ms; i++)
			udelay(1000);
	}
	return NMI_DONE;
}

static int take(unsigned int type, struct pt_regs *regs)
{
	return NMI_HANDLED;
}

static void send_to(const struct cpumask *cpus)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	__apic_send_IPI_mask(cpus, NMI_VECTOR);
#else
	apic->send_IPI_mask(cpus, NMI_VECTOR);
#endif
}

static int send(void *unused)
{
	while (!kthread_should_stop()) {
		cpus_read_lock();
		send_to(cpu_online_mask);
		cpus_read_unlock();
		usleep_range(2000, 4000);
	}
	return 0;
}

static int __init nmi_init(void)
{
	int err = register_nmi_handler(NMI_UNKNOWN, take, 0, "ksplice_test");

	if (err)
		return err;
	err = register_nmi_handler(NMI_LOCAL, linger, 0, "ksplice_test");
	if (err)
		goto take_off;
	sender = kthread_run(send, NULL, "nmi_sender");
	if (!IS_ERR(sender))
		return 0;
	err = PTR_ERR(sender);
	unregister_nmi_handler(NMI_LOCAL, "ksplice_test");
take_off:
	unregister_nmi_handler(NMI_UNKNOWN, "ksplice_test");
	return err;
}
module_init(nmi_init);

static void __exit nmi_exit(void)
{
	kthread_stop(sender);
	unregister_nmi_handler(NMI_LOCAL, "ksplice_test");
	unregister_nmi_handler(NMI_UNKNOWN, "ksplice_test");
}
module_exit(nmi_exit);

MODULE_DESCRIPTION("Sends and takes NMIs");
MODULE_LICENSE("GPL");
