// SPDX-License-Identifier: MIT
// Functions that an NMI runs (K33): an NMI sees all of an update or nothing of it, also one that is under way when the update takes over.
using System.Globalization;
using System.Text.RegularExpressions;

namespace Ksplice.Kernel.Tests.Updates;

public sealed class NmiTests(Guest guest)
{
    // An NMI that nobody takes calls nmi_cpu_backtrace_handler(), then the handler of this test's module, which lingers, and then
    // unknown_nmi_error(). The new code of the two kernel functions passes a mark on, in steps, and counts where a step was missing. The
    // last step is a call through a function's address, where a jump is.
    private static async Task<PatchProject> BuildAsync(string release)
    {
        PatchProject project = new(release);
        project.Write(
            "unknown.patch",
            await KernelTree.ChangeAsync(
                release,
                "arch/x86/kernel/nmi.c",
                (
                    "static void\nunknown_nmi_error(unsigned char reason, struct pt_regs *regs)\n{\n\tint handled;\n",
                    """
                    DEFINE_PER_CPU(int, ksplice_step);
                    extern atomic_t ksplice_mixed;
                    extern void ksplice_jump(void);
                    static atomic_t ksplice_seen;

                    static void ksplice_say(void)
                    {
                    	int cpu;

                    	for_each_possible_cpu(cpu) {
                    		if (per_cpu(ksplice_step, cpu))
                    			atomic_inc(&ksplice_mixed);
                    	}
                    	pr_info("test: %d seen, %d mixed\n", atomic_read(&ksplice_seen), atomic_read(&ksplice_mixed));
                    }
                    ksplice_post_reverse(ksplice_say);

                    static void ksplice_second(void)
                    {
                    	atomic_inc(&ksplice_seen);
                    	if (this_cpu_read(ksplice_step) != 1)
                    		atomic_inc(&ksplice_mixed);
                    	ksplice_jump();
                    	if (this_cpu_read(ksplice_step) != 2)
                    		atomic_inc(&ksplice_mixed);
                    	this_cpu_write(ksplice_step, 0);
                    }

                    static void
                    unknown_nmi_error(unsigned char reason, struct pt_regs *regs)
                    {
                    	int handled;

                    	ksplice_second();

                    """
                ),
                ("#include <linux/spinlock.h>\n", "#include <ksplice/hooks.h>\n#include <linux/spinlock.h>\n")
            )
        );
        // The check hooks run in the stop: every other processor is in an NMI when they return.
        project.Write(
            "backtrace.patch",
            await KernelTree.ChangeAsync(
                release,
                "arch/x86/kernel/apic/hw_nmi.c",
                (
                    "static void nmi_raise_cpu_backtrace(cpumask_t *mask)\n{\n",
                    """
                    #include <ksplice/hooks.h>
                    DECLARE_PER_CPU(int, ksplice_step);
                    atomic_t ksplice_mixed;
                    void ksplice_jump(void);
                    static cpumask_t ksplice_others, ksplice_nobody;

                    static void nmi_raise_cpu_backtrace(cpumask_t *mask)
                    {
                    	if (mask == &ksplice_nobody) {
                    		this_cpu_write(ksplice_step, 2);
                    		return;
                    	}

                    """
                ),
                (
                    "static int nmi_cpu_backtrace_handler(unsigned int cmd, struct pt_regs *regs)\n{\n",
                    """
                    void ksplice_jump(void)
                    {
                    	void (*volatile raise)(cpumask_t *) = nmi_raise_cpu_backtrace;

                    	raise(&ksplice_nobody);
                    }

                    static int ksplice_strike(void)
                    {
                    	unsigned int before[8];
                    	int cpu, i;

                    	cpumask_copy(&ksplice_others, cpu_online_mask);
                    	cpumask_clear_cpu(smp_processor_id(), &ksplice_others);
                    	for_each_cpu(cpu, &ksplice_others)
                    		before[cpu % 8] = per_cpu(irq_stat, cpu).__nmi_count;
                    	nmi_raise_cpu_backtrace(&ksplice_others);
                    	for_each_cpu(cpu, &ksplice_others) {
                    		for (i = 0; i < 5000 && READ_ONCE(per_cpu(irq_stat, cpu).__nmi_count) == before[cpu % 8]; i++)
                    			udelay(1000);
                    		if (i == 5000)
                    			return 1;
                    	}
                    	udelay(5000);
                    	return 0;
                    }
                    ksplice_check_apply(ksplice_strike);
                    ksplice_check_reverse(ksplice_strike);

                    static int nmi_cpu_backtrace_handler(unsigned int cmd, struct pt_regs *regs)
                    {
                    	if (this_cpu_read(ksplice_step))
                    		atomic_inc(&ksplice_mixed);
                    	this_cpu_write(ksplice_step, 1);

                    """
                )
            )
        );
        return await UpdateGuest.BuiltAsync(project);
    }

    [Fact]
    public async Task An_NMI_sees_all_of_an_update_or_nothing_of_it()
    {
        using var project = await BuildAsync(guest.Release);
        var result = await guest.RunAsync(
            $$"""
            insmod /nmi.ko linger_ms=200 || exit 1
            for round in 1 2 3; do
                ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
                [ $round != 1 ] || awk '{ print "way", $1, $5 }' /sys/kernel/ksplice/{{project.Id}}/functions
                sleep 1
                ksplice undo {{project.Id}} >/dev/null || exit 1
            done
            dmesg | sed -n 's/.*test: \(.* mixed\)$/\1/p'
            """,
            ["--one-thread", "--timeout", "300"],
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("nmi", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(
            ["way nmi_cpu_backtrace_handler tracer", "way nmi_raise_cpu_backtrace jump", "way unknown_nmi_error tracer"],
            result.Lines.Where(line => line.StartsWith("way", StringComparison.Ordinal)).Order(StringComparer.Ordinal)
        );
        var said = result.Lines.Select(line => Regex.Match(line, @"^(\d+) seen, (\d+) mixed$")).Where(match => match.Success).ToList();
        Assert.Equal(3, said.Count);
        Assert.All(said, match => Assert.Equal("0", match.Groups[2].Value));
        Assert.True(said.Sum(match => int.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture)) > 300, result.Output);
    }

    // What the kernel's tracer passes over in silence: the handler would be registered and never called.
    [Fact]
    public async Task A_site_that_the_kernel_has_disabled_is_refused_by_name()
    {
        using var project = await TracerTests.BuildRandomAsync(guest.Release);
        var result = await guest.RunAsync(
            $$"""
            insmod /disabled.ko function=rng_is_initialized || exit 1
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null; echo "disabled $?"
            rmmod disabled
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null; echo "enabled $?"
            insmod /asker.ko 2>/dev/null; echo "asked $?"
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("disabled", guest.Release),
            await TestModule.BuildAsync("asker", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(["disabled 2", "enabled 0", "asked 11"], result.Lines);
        Assert.Matches(@"rng_is_initialized cannot be redirected: the kernel has disabled the\s+function\s+tracer\s+there", result.Errors);
    }

    [Fact]
    public async Task A_processor_that_was_away_is_led_as_the_others_are()
    {
        using var project = await TracerTests.BuildRandomAsync(guest.Release);
        var result = await guest.RunAsync(
            $$"""
            online() { echo $1 >/sys/devices/system/cpu/cpu1/online || exit 1; }
            ask() {
                for cpu in 1 2; do
                    taskset $cpu insmod /asker.ko 2>/dev/null; echo "$1 $cpu $?"; rmmod asker 2>/dev/null
                done
            }
            online 0
            ksplice apply {{UpdateGuest.Place(project)}} >/dev/null || exit 1
            online 1
            ask applied
            online 0
            ksplice undo {{project.Id}} >/dev/null || exit 1
            online 1
            ask undone
            """,
            UpdateGuest.Command,
            UpdateGuest.Package(project),
            await TestModule.BuildAsync("asker", guest.Release)
        );
        result.MustEndWith(0);
        Assert.Equal(["applied 1 11", "applied 2 11", "undone 1 0", "undone 2 0"], result.Lines);
    }
}
