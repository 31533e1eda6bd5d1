// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Analysis;

/// <summary>When new code can take over: real functions of the kernel, and small ones for each condition by itself.</summary>
public class QuiescenceTests
{
    private static string[] Objects(IReadOnlyList<Diagnostic> found, string id) =>
        [.. found.Where(diagnostic => diagnostic.Id == id).Select(diagnostic => diagnostic.Object!).Order(StringComparer.Ordinal)];

    [Fact]
    public async Task A_kernel_threads_main_function_is_refused_and_what_it_calls_is_not()
    {
        const string file = "mm/vmscan.c";
        var update = await PatchedKernel.ChangeAsync(
            [file],
            (file, "\ttsk->flags |= PF_MEMALLOC | PF_KSWAPD;\n", "\ttsk->flags |= PF_MEMALLOC | PF_KSWAPD;\n\tpr_info(\"kswapd\\n\");\n"),
            (
                file,
                "static bool skip_throttle_noprogress(pg_data_t *pgdat)\n{\n",
                "static bool skip_throttle_noprogress(pg_data_t *pgdat)\n{\n\tbarrier();\n"
                    + "\tWRITE_ONCE(pgdat->kswapd_failures, READ_ONCE(pgdat->kswapd_failures));\n"
            )
        );
        var replaced = update.Units[0].Changes.Functions.Select(function => function.Name).ToList();
        Assert.Contains("kswapd", replaced);
        Assert.True(replaced.Count > 1, string.Join(' ', replaced));
        Assert.Equal(["kswapd"], Objects(update.Analyze(), "KSP5013"));
    }

    // What /proc/*/stack shows of an idle guest of this kernel: threads that were there from boot on. In a second list, functions
    // that wait for one round of such a thread's work, or for a child.
    [Theory]
    [InlineData("kernel/kthread.c", "kthread kthreadd")]
    [InlineData("kernel/workqueue.c", "rescuer_thread worker_thread")]
    [InlineData("kernel/smpboot.c", "smpboot_thread_fn")]
    [InlineData("kernel/rcu/update.c", "rcu_tasks_kthread", "rcu_tasks_one_gp")]
    [InlineData("drivers/base/devtmpfs.c", "devtmpfsd devtmpfs_work_loop")]
    [InlineData("kernel/exit.c", "", "do_wait do_exit")]
    public async Task Functions_on_the_stacks_of_an_idle_machine_are_found_in_the_objects(string file, string never, string wait = "")
    {
        var changes = ObjectChanges.Find(new(await KernelObjects.CompileAsync(file), await KernelObjects.CompileAsync(file)));
        QuiescenceAnalyzer.ThreadsOf threads = new(changes.PreFunctions);
        string[] Named(string id) =>
            [.. changes.PreFunctions.Where(function => threads.Judge(function)?.Rule.Id == id).Select(function => function.Name)];
        Assert.Empty(never.Split(' ', StringSplitOptions.RemoveEmptyEntries).Except(Named("KSP5013")));
        Assert.Empty(wait.Split(' ', StringSplitOptions.RemoveEmptyEntries).Except(Named("KSP5014")));
        // And few others: most functions of a unit can be replaced.
        Assert.InRange(Named("KSP5013").Length, 0, 4);
    }

    [Theory]
    [InlineData(
        "mm/maccess.c",
        "long copy_from_kernel_nofault(void *dst, const void *src, size_t size)\n{\n",
        "KSP5011",
        "copy_from_kernel_nofault"
    )]
    [InlineData(
        "lib/nmi_backtrace.c",
        "bool nmi_cpu_backtrace(struct pt_regs *regs)\n{\n\tint cpu = smp_processor_id();\n\tunsigned long flags;\n",
        "KSP5012",
        "nmi_cpu_backtrace"
    )]
    [InlineData(
        "fs/eventpoll.c",
        "static int ep_poll(struct eventpoll *ep, struct epoll_event __user *events,\n"
            + "\t\t   int maxevents, struct timespec64 *timeout)\n{\n\tint res, eavail, timed_out = 0;\n",
        "KSP5014",
        null
    )]
    [InlineData(
        "arch/x86/mm/tlb.c",
        "void switch_mm_irqs_off(struct mm_struct *prev, struct mm_struct *next,\n\t\t\tstruct task_struct *tsk)\n{\n",
        null,
        null
    )]
    [InlineData("fs/proc/version.c", "static int version_proc_show(struct seq_file *m, void *v)\n{\n", null, null)]
    public async Task Code_that_runs_while_the_machine_is_stopped_or_waits_long_is_named(
        string file,
        string start,
        string? rule,
        string? name
    )
    {
        var update = await PatchedKernel.ChangeAsync([file], (file, start, start + "\tpr_info(\"changed\\n\");\n"));
        Assert.NotEmpty(update.Units[0].Changes.Functions);
        var found = update.Analyze().Where(diagnostic => diagnostic.Id is "KSP5011" or "KSP5012" or "KSP5013" or "KSP5014").ToList();
        if (rule is null)
            Assert.Empty(found);
        else
            Assert.Contains(found, diagnostic => diagnostic.Id == rule && diagnostic.Object == name && diagnostic.Location!.Line > 0);
    }

    // K33: those that the function tracer reaches are marked, so that no jump is written into them.
    [Fact]
    public async Task What_an_NMI_may_run_and_the_tracer_reaches_is_marked_and_nothing_else()
    {
        const string file = "arch/x86/events/core.c";
        var update = await PatchedKernel.ChangeAsync(
            [file],
            (
                file,
                "\tperf_sample_event_took(finish_clock - start_clock);\n",
                "\tperf_sample_event_took(finish_clock - start_clock + 1);\n"
            ),
            (
                file,
                "ssize_t x86_event_sysfs_show(char *page, u64 config, u64 event)\n{\n",
                "ssize_t x86_event_sysfs_show(char *page, u64 config, u64 event)\n{\n\tbarrier();\n\tif (config == 0x5eed)\n\t\treturn 0;\n"
            )
        );
        Assert.DoesNotContain(update.Analyze(), diagnostic => diagnostic.Id == "KSP5012");
        var unit = update.Units[0];
        var diff = update.NmiReach!.Mark(unit, unit.Comparison.Carried.Diff!);
        Assert.Equal(["perf_event_nmi_handler"], diff.Replaced.Where(function => function.MayRunInNmi).Select(function => function.Name));
        Assert.Contains(diff.Replaced, function => function is { Name: "x86_event_sysfs_show", MayRunInNmi: false });
    }

    // A handler is found by the variable that register_nmi_handler() makes for it, in modules too.
    [Fact]
    public async Task A_handler_of_a_file_of_the_update_is_found_and_what_it_calls()
    {
        const string source = """
            struct nmiaction { int (*handler)(unsigned int, void *); };
            noinline int deep(void) { return probe(1); }
            noinline int other(void) { return probe(2); }
            int take(unsigned int type, void *regs) { return deep(); }
            static struct nmiaction take_na = { take };
            struct nmiaction *use_it(void) { return &take_na; }
            """;
        var kernel = (await PatchedKernel.ChangeAsync([], ("fs/proc/version.c", "static int", "static  int"))).Kernel!;
        NmiReach reach = new(kernel, PatchedKernel.OfC(source, source).Units);
        Assert.Equal((new NmiPath(0, null), new NmiPath(1, "take")), (reach.PathTo("take"), reach.PathTo("deep")));
        Assert.Null(reach.PathTo("other"));
        Assert.True(reach.IsNear("nmi_cpu_backtrace"));
    }

    private const string Thread = """
        extern void schedule(void); extern int kthread_should_stop(void);
        extern void *kthread_create_on_node(int (*)(void *), void *, int, const char *);
        noinline void once(void) { schedule(); }

        """;

    [Theory]
    [InlineData(
        "int f(void *p) { while (!kthread_should_stop()) { probe(1); schedule(); } return 0; } "
            + "void start(void) { kthread_create_on_node(f, 0, -1, \"f\"); }",
        "KSP5013"
    )]
    [InlineData(
        "int f(void *p) { while (!kthread_should_stop()) { probe(1); once(); } return 0; } "
            + "void start(void) { kthread_create_on_node(f, 0, -1, \"f\"); }",
        "KSP5013"
    )]
    [InlineData("int f(void *p) { for (;;) { probe(1); schedule(); } }", "KSP5013")]
    [InlineData("int f(void *p) { while (probe(1)) schedule(); return 0; }", "KSP5014")]
    [InlineData(
        "extern void do_exit(long) __attribute__((noreturn)); int f(void *p) { while (probe(1)) schedule(); do_exit(0); }",
        "KSP5014"
    )]
    [InlineData("int f(void *p) { probe(1); schedule(); return 0; }", null)]
    [InlineData("int f(void *p) { probe(1); schedule(); return 0; } void start(void) { kthread_create_on_node(f, 0, -1, \"f\"); }", null)]
    [InlineData("int f(void *p) { while (probe(1)) use(p); schedule(); return 0; }", null)]
    [InlineData(
        "int f(void *p) { while (probe(1)) use(p); return 0; } void start(void) { kthread_create_on_node(f, 0, -1, \"f\"); }",
        null
    )]
    [InlineData("__attribute__((noreturn)) extern void panic(void); void f(void *p) { probe(1); panic(); }", null)]
    public void A_wait_counts_by_its_loop_and_by_who_runs_it(string source, string? rule)
    {
        var found = PatchedKernel.OfC(Thread + source, Thread + source.Replace("probe(1)", "probe(2)", StringComparison.Ordinal)).Analyze();
        Assert.Equal(rule is null ? [] : [rule], found.Select(diagnostic => diagnostic.Id));
    }

    private const string Locks =
        "extern void mutex_lock(void *); extern void mutex_unlock(void *); extern void *__kmalloc(long, int); "
        + "extern void kfree(void *); extern int m;\n";

    [Theory]
    [InlineData(
        "int f(int a) { mutex_lock(&m); if (probe(a)) return -1; mutex_unlock(&m); return 0; }",
        "int f(int a) { mutex_lock(&m); if (probe(a)) { mutex_unlock(&m); return -1; } mutex_unlock(&m); return 0; }",
        "'mutex' than before: 0 or +1 before, 0 now"
    )]
    [InlineData("void f(int a) { use((void *)1); }", "void f(int a) { mutex_lock(&m); use((void *)1); }", "0 before, +1 now")]
    [InlineData(
        "int f(int a) { void *p = __kmalloc(8, 0); if (probe(a)) return -1; kfree(p); return 0; }",
        "int f(int a) { void *p = __kmalloc(8, 0); int r = probe(a); kfree(p); return r ? -1 : 0; }",
        "'memory'"
    )]
    [InlineData(
        "void f(int a) { mutex_lock(&m); use((void *)1); mutex_unlock(&m); }",
        "void f(int a) { mutex_lock(&m); use((void *)2); mutex_unlock(&m); }",
        null
    )]
    [InlineData("void f(int a) { use((void *)1); }", "void f(int a) { mutex_lock(&m); use((void *)1); mutex_unlock(&m); }", null)]
    [InlineData(
        "void f(int a) { while (probe(a)) { mutex_lock(&m); use(0); mutex_unlock(&m); } }",
        "void f(int a) { while (probe(a)) { mutex_lock(&m); if (probe(2)) { mutex_unlock(&m); continue; } use(0); mutex_unlock(&m); } }",
        null
    )]
    // A helper that the compiler inlines no longer.
    [InlineData(
        "void f(int a) { mutex_lock(&m); use((void *)1); mutex_unlock(&m); }",
        "noinline void drop(void) { mutex_unlock(&m); } void f(int a) { mutex_lock(&m); use((void *)1); drop(); }",
        null
    )]
    [InlineData(
        "noinline void drop(void) { mutex_unlock(&m); } void f(int a) { mutex_lock(&m); use((void *)1); drop(); }",
        "noinline void drop(void) { mutex_unlock(&m); } void f(int a) { mutex_lock(&m); use((void *)1); if (a) drop(); }",
        "'mutex'"
    )]
    // The same turns, the first of them before the loop.
    [InlineData(
        "void f(int a) { while (probe(a)) { if (probe(1)) mutex_lock(&m); else mutex_unlock(&m); } }",
        "static inline void turn(void) { if (probe(1)) mutex_lock(&m); else mutex_unlock(&m); }"
            + "void f(int a) { if (!probe(a)) return; turn(); while (probe(a)) turn(); }",
        null
    )]
    public void What_is_held_at_the_end_is_compared_over_all_paths(string pre, string post, string? expected)
    {
        var found = PatchedKernel.OfC(Locks + pre, Locks + post).Analyze();
        if (expected is null)
            Assert.Empty(found);
        else
            Assert.Contains(expected, found.Of("KSP5015").Message, StringComparison.Ordinal);
    }
}
