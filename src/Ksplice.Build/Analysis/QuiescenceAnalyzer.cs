// SPDX-License-Identifier: MIT
// The rules about when new code can take over, KSP5011 to KSP5014. An update is applied while the machine is stopped and no
// thread has a replaced function on its stack. So there are functions whose replacement waits for ever: a thread's main
// function that loops, a loop that has no way out, the scheduler's own, which every sleeping thread is in. And there is code
// that the stop itself runs, or that an NMI may run in spite of it.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Analysis;

/// <summary>Judges whether changed functions can be taken over.</summary>
public sealed class QuiescenceAnalyzer : UpdateAnalyzer
{
    private const int LocalDepth = 2;

    // Deeper calls are those of errors and rare cases.
    private const int Depth = 3;

    // Calls that put the caller to sleep until something happens.
    private static readonly HashSet<string> Waits =
    [
        "schedule",
        "schedule_timeout",
        "schedule_timeout_interruptible",
        "schedule_timeout_killable",
        "schedule_timeout_uninterruptible",
        "schedule_timeout_idle",
        "schedule_hrtimeout",
        "schedule_hrtimeout_range",
        "schedule_hrtimeout_range_clock",
        "schedule_preempt_disabled",
        "io_schedule",
        "io_schedule_timeout",
        "wait_woken",
        "msleep",
        "msleep_interruptible",
        "wait_for_completion",
        "wait_for_completion_interruptible",
        "wait_for_completion_killable",
        "wait_for_completion_timeout",
        "do_wait_intr",
        "do_wait_intr_irq",
        "kthread_parkme",
        "rcu_torture_wait",
    ];

    private static readonly HashSet<string> ThreadMakers =
    [
        "kthread_create_on_node",
        "__kthread_create_on_node",
        "kthread_create_on_cpu",
        "kernel_thread",
        "user_mode_thread",
        "create_io_thread",
    ];

    // Where a thread that sleeps, or that has not run yet, returns to.
    private static readonly HashSet<string> Scheduler =
    [
        "__schedule",
        "schedule",
        "schedule_idle",
        "schedule_timeout",
        "__switch_to",
        "__switch_to_asm",
        "finish_task_switch",
        "ret_from_fork",
        "schedule_tail",
        "kthread",
        "kthreadd",
        "cpu_startup_entry",
        "do_idle",
        "start_secondary",
        "rest_init",
    ];

    // What the core calls, or what runs, between the first CPU's stop and the last one's release (core/stop.c).
    private static readonly string[] StopRoots =
    [
        "multi_cpu_stop",
        "copy_from_kernel_nofault",
        "ktime_get_mono_fast_ns",
        "idle_task",
        "get_kprobe",
        "memcmp",
        "memcpy",
        "_find_next_bit",
    ];

    // What is on the stacks of the threads that stop the machine, and of the one that asked for it.
    private static readonly string[] StopStacks =
    [
        "cpu_stopper_thread",
        "smpboot_thread_fn",
        "stop_machine_cpuslocked",
        "stop_cpus",
        "__stop_cpus",
        "wait_for_completion",
        "__wait_for_common",
    ];

    // Reached only after something has gone wrong, or used by everybody.
    private static readonly string[] NotFollowed =
    [
        "_printk",
        "vprintk",
        "__warn_printk",
        "panic",
        "dump_stack",
        "oops",
        "die",
        "__SC",
        "__x86_",
        "_raw_",
        "__stack_chk",
        "schedule",
        "preempt_",
        "__fentry__",
        "kgdb",
        "mutex_",
        "__warn",
        "snprintf",
        "vsnprintf",
        "vscnprintf",
    ];

    /// <inheritdoc/>
    public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics { get; } =
    [CodeDiagnostics.UsedWhilePatching, CodeDiagnostics.RunsInNmi, CodeDiagnostics.NeverLeft, CodeDiagnostics.LongWait];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        context.RegisterUpdateAction(CheckStop);
        context.RegisterUnitAction(CheckThreads);
    }

    /// <summary>What runs while redirects are written, by name, with its caller.</summary>
    internal static IReadOnlyDictionary<string, string?> WhilePatching(RunningKernel kernel)
    {
        Dictionary<string, string?> byName = new(StringComparer.Ordinal);
        foreach (var (address, (_, caller)) in kernel.Calls.Closure(StopRoots, IsFollowed, Depth))
        {
            foreach (string name in kernel.Calls.NamesOf(address))
                byName.TryAdd(name, caller);
        }
        foreach (string name in StopStacks)
            byName.TryAdd(name, null);
        return byName;
    }

    /// <summary>False for what is called only after something has gone wrong, or by everybody.</summary>
    internal static bool IsFollowed(string name) =>
        !name.Contains(".cold", StringComparison.Ordinal) && !NotFollowed.Any(prefix => name.StartsWith(prefix, StringComparison.Ordinal));

    private static void CheckStop(ActionContext<AnalyzedUpdate> context)
    {
        if (context.Update.Kernel is not { } kernel || context.Update.NmiReach is not { } nmi || !Replaced(context.Update).Any())
            return;
        var stop = WhilePatching(kernel);
        foreach (var (unit, function) in Replaced(context.Update))
        {
            // Modules' functions are called by none of the kernel's own. Where several functions have the name, it may be this one.
            if (unit.Module is null && stop.TryGetValue(function.Name, out string? caller))
                Report(CodeDiagnostics.UsedWhilePatching, caller);
            else if (nmi.IsNear(function.Name) && !NmiReach.HasSite(function.Pre!))
                Report(CodeDiagnostics.RunsInNmi, nmi.PathTo(function.Name)!.Value.Caller);

            void Report(DiagnosticDescriptor rule, string? caller) =>
                context.Report(Diagnostic.Create(rule, unit.Locate(function), function.Name, By(caller)) with { Object = function.Name });
        }
    }

    private static string By(string? caller) => caller is null ? "the stop is made of it, or an NMI begins with it" : $"called by {caller}";

    private static IEnumerable<(AnalyzedUnit Unit, ChangedFunction Function)> Replaced(AnalyzedUpdate update) =>
        from unit in update.Units
        from function in unit.Changes.Functions
        where function.Pre is not null && function.Post is not null
        select (unit, function);

    private static void CheckThreads(ActionContext<AnalyzedUnit> context)
    {
        var unit = context.Subject;
        var changed = unit
            .Changes.Functions.Where(function => function is { Pre: not null, Post: not null } && !IsInit(function.Pre))
            .ToList();
        if (changed.Count == 0)
            return;
        ThreadsOf threads = new(unit.Changes.PreFunctions);
        foreach (var function in changed)
        {
            context.Cancellation.ThrowIfCancellationRequested();
            if (threads.Judge(function.Pre!) is not { } verdict)
                continue;
            var diagnostic = Diagnostic.Create(verdict.Rule, unit.Locate(function), function.Name, verdict.Why);
            context.Report(verdict.Rule.CanBeAcknowledged ? diagnostic with { Object = function.Name } : diagnostic);
        }
    }

    /// <summary>Which functions of a unit threads stay in.</summary>
    internal sealed class ThreadsOf(IReadOnlyList<ObjectFunction> functions)
    {
        private readonly Dictionary<string, ObjectFunction> _byName = functions
            .GroupBy(function => function.Name, StringComparer.Ordinal)
            .ToDictionary(group => group.Key, group => group.First(), StringComparer.Ordinal);
        private readonly Lazy<HashSet<string>> _mains = new(() =>
            [
                .. functions
                    .Where(function => function.Calls.Any(ThreadMakers.Contains))
                    .SelectMany(function => CodeFlow.Of(function).Handed)
                    .Where(handed => ThreadMakers.Contains(handed.To))
                    .Select(handed => handed.Function),
            ]
        );

        /// <summary>The rule that speaks against replacing <paramref name="function"/>, and why; or null.</summary>
        public (DiagnosticDescriptor Rule, string Why)? Judge(ObjectFunction function)
        {
            if (Scheduler.Contains(function.Name))
                return (CodeDiagnostics.NeverLeft, "every thread that sleeps, or has not run yet, is in it");
            if (WaitIn(function) is not { } wait)
                return _mains.Value.Contains(function.Name) && function.Calls.FirstOrDefault(IsEndless) is { } loop
                    ? (CodeDiagnostics.NeverLeft, $"a kernel thread's main function, which calls {loop} and does not come back")
                    : null;
            if (_mains.Value.Contains(function.Name))
                return (CodeDiagnostics.NeverLeft, $"a kernel thread's main function, which waits in {wait}");
            if (!CodeFlow.Of(function).Returns)
                return (CodeDiagnostics.NeverLeft, $"it loops around {wait} and does not return");
            return function.Calls.Contains(wait, StringComparer.Ordinal) ? (CodeDiagnostics.LongWait, wait) : null;
        }

        private bool IsEndless(string call) =>
            _byName.TryGetValue(call, out var callee) && WaitIn(callee) is not null && !CodeFlow.Of(callee).Returns;

        // A call in a loop that waits, by itself or in a function of the unit that it calls.
        private string? WaitIn(ObjectFunction function) =>
            !function.Calls.Any(call => Wait(call, LocalDepth) is not null)
                ? null
                : CodeFlow
                    .Of(function)
                    .InLoops()
                    .SelectMany(block => block.Calls)
                    .Select(call => Wait(call.Name, LocalDepth))
                    .OfType<string>()
                    .OrderBy(wait => !function.Calls.Contains(wait, StringComparer.Ordinal))
                    .FirstOrDefault();

        private string? Wait(string call, int depth) =>
            Waits.Contains(call) ? call
            : depth > 0 && _byName.TryGetValue(call, out var callee)
                ? callee.Calls.Select(inner => Wait(inner, depth - 1)).OfType<string>().FirstOrDefault()
            : null;
    }

    private static bool IsInit(ObjectFunction function) =>
        function.Section.StartsWith(".init", StringComparison.Ordinal) || function.Section.StartsWith(".exit", StringComparison.Ordinal);
}
