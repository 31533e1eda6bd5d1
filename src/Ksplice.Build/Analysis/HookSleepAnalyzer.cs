// SPDX-License-Identifier: MIT
// Hooks that sleep where they must not, KSP5020 and KSP5021.
//
// Hooks of four kinds run while the machine is stopped, on a processor whose interrupts are off. One that sleeps there panics the machine
// ("scheduling while atomic"). So calls are followed out of these hooks: through the functions of the update's units, and on through the
// code of the kernel's image, until a function is met that is there to sleep, or one that is known not to. A step is unconditional if no
// path through the caller goes round the call. Where all steps to something that sleeps are, the hook sleeps whenever it runs. Else
// nobody can tell but the author, who is warned.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>Judges whether hooks that run in the stop sleep.</summary>
public sealed class HookSleepAnalyzer : UpdateAnalyzer
{
    // Functions that are there to sleep, as <linux/sched.h>, <linux/mutex.h> and their like document them. might_sleep() is a call of
    // one of the first, unless the kernel is preemptible everywhere.
    private static readonly HashSet<string> s_sleeping = new(StringComparer.Ordinal)
    {
        "__might_sleep",
        "__might_resched",
        "__cond_resched",
        "_cond_resched",
        "dynamic_cond_resched",
        "dynamic_might_resched",
        "__SCT__cond_resched",
        "__SCT__might_resched",
        "schedule",
        "schedule_preempt_disabled",
        "schedule_timeout",
        "schedule_timeout_interruptible",
        "schedule_timeout_killable",
        "schedule_timeout_uninterruptible",
        "schedule_timeout_idle",
        "schedule_hrtimeout",
        "schedule_hrtimeout_range",
        "io_schedule",
        "io_schedule_timeout",
        "mutex_lock",
        "mutex_lock_interruptible",
        "mutex_lock_killable",
        "mutex_lock_io",
        "ww_mutex_lock",
        "ww_mutex_lock_interruptible",
        "rt_mutex_lock",
        "down",
        "down_interruptible",
        "down_killable",
        "down_timeout",
        "down_read",
        "down_read_interruptible",
        "down_read_killable",
        "down_write",
        "down_write_killable",
        "percpu_down_write",
        "wait_for_completion",
        "wait_for_completion_io",
        "wait_for_completion_interruptible",
        "wait_for_completion_killable",
        "wait_for_completion_timeout",
        "wait_woken",
        "msleep",
        "msleep_interruptible",
        "usleep_range",
        "usleep_range_state",
        "synchronize_rcu",
        "synchronize_rcu_expedited",
        "synchronize_rcu_tasks",
        "synchronize_srcu",
        "synchronize_net",
        "synchronize_irq",
        "rcu_barrier",
        "flush_work",
        "flush_delayed_work",
        "flush_workqueue",
        "__flush_workqueue",
        "drain_workqueue",
        "destroy_workqueue",
        "cancel_work_sync",
        "cancel_delayed_work_sync",
        "kthread_stop",
        "kthread_park",
        "stop_machine",
        "cpus_read_lock",
        "cpus_write_lock",
        "vmalloc",
        "vzalloc",
        "filp_open",
        "kernel_read",
        "kernel_write",
    };

    // Which argument of an allocator says whether it may sleep, from 0.
    private static readonly Dictionary<string, int> s_allocators = new(StringComparer.Ordinal)
    {
        ["__kmalloc"] = 1,
        ["__kmalloc_noprof"] = 1,
        ["__kmalloc_node"] = 1,
        ["__kmalloc_cache_noprof"] = 1,
        ["kmalloc_trace"] = 1,
        ["kmalloc_large"] = 1,
        ["kmem_cache_alloc"] = 1,
        ["kmem_cache_alloc_noprof"] = 1,
        ["kmem_cache_alloc_trace"] = 1,
        ["kvmalloc_node"] = 1,
        ["kstrdup"] = 1,
        ["kmemdup"] = 2,
        ["kmemdup_noprof"] = 2,
        ["krealloc"] = 2,
        ["krealloc_noprof"] = 2,
        ["__alloc_pages"] = 0,
        ["__alloc_pages_noprof"] = 0,
        ["__get_free_pages"] = 0,
        ["get_free_pages_noprof"] = 0,
        ["get_zeroed_page"] = 0,
        ["get_zeroed_page_noprof"] = 0,
        ["ksplice_shadow_attach"] = 3,
        ["ksplice_shadow_get_or_attach"] = 3,
    };

    // ___GFP_DIRECT_RECLAIM: the allocation may wait for memory (include/linux/gfp_types.h).
    private const uint DirectReclaim = 0x400;

    // What hooks call and what does not sleep, though in rare cases, which are not those of a hook, code below it might; and what looks
    // whether it may before it does.
    private static readonly HashSet<string> s_awake = new(StringComparer.Ordinal)
    {
        "_printk",
        "printk",
        "vprintk",
        "_printk_deferred",
        "_dev_printk",
        "__warn_printk",
        "warn_slowpath_fmt",
        "dump_stack",
        "panic",
        "__fentry__",
        "__stack_chk_fail",
        "preempt_schedule",
        "preempt_schedule_notrace",
        "__SCT__preempt_schedule",
        "__SCT__preempt_schedule_notrace",
        "kfree",
        "kmem_cache_free",
        "call_rcu",
        "queue_work_on",
        "queue_delayed_work_on",
        "mod_timer",
        "add_timer",
        "complete",
        "complete_all",
        "wake_up_process",
        "__wake_up",
        "up",
        "up_read",
        "up_write",
        "send_sig",
        "get_random_bytes",
        "refcount_warn_saturate",
        "__put_task_struct",
        "__mmdrop",
    };

    /// <inheritdoc/>
    public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics { get; } =
    [CodeDiagnostics.HookSleeps, CodeDiagnostics.HookMaySleep];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        context.RegisterUpdateAction(Check);
    }

    private static void Check(ActionContext<AnalyzedUpdate> context)
    {
        var hooks = UpdateHook.Of(context.Update).Where(hook => hook.RunsInStop && hook.Function is not null).ToList();
        if (hooks.Count == 0)
            return;
        CallGraph graph = new(context.Update);
        foreach (var hook in hooks)
        {
            context.Cancellation.ThrowIfCancellationRequested();
            var place = hook.Unit.PostSource.Function(hook.Name) ?? new SourceLocation(hook.Unit.Source);
            Node start = new(hook.Unit, hook.Function, 0, hook.Name);
            if (graph.Find(start, unconditional: true) is { } always)
                context.Report(CodeDiagnostics.HookSleeps, place, hook.Name, hook.Kind, always);
            else if (graph.Find(start, unconditional: false) is { } sometimes)
                context.Report(CodeDiagnostics.HookMaySleep, place, hook.Name, hook.Kind, sometimes);
        }
    }

    /// <summary>A function of a unit, or one of the image.</summary>
    private sealed record Node(AnalyzedUnit? Unit, ObjectFunction? Function, ulong Address, string Name)
    {
        public object Key => Function ?? (object)Address;
    }

    /// <param name="Call">What is called.</param>
    /// <param name="Always">True if no path through the caller goes round it.</param>
    private readonly record struct Edge(FlowCall Call, bool Always);

    private sealed class CallGraph(AnalyzedUpdate update)
    {
        // A chain of more conditional calls than this out of a hook is no finding: nearly everything in a kernel reaches everything.
        private const int Depth = 3;

        private readonly UpdateFunctions _functions = new(update);
        private readonly Dictionary<object, IReadOnlyList<Edge>> _edges = [];

        /// <summary>The shortest chain of calls from <paramref name="start"/> to something that sleeps, in words; or null.</summary>
        public string? Find(Node start, bool unconditional)
        {
            HashSet<object> seen = [start.Key];
            Queue<(Node Node, string Path, int Depth)> work = new([(start, start.Name, 0)]);
            while (work.TryDequeue(out var at))
            {
                foreach (var (call, always) in EdgesOf(at.Node))
                {
                    if (unconditional && !always)
                        continue;
                    if (SleepsIn(call) is { } words)
                        return $"{at.Path} → {words}";
                    if (!unconditional && call.Name == CodeFlow.Pointer && at.Node.Function is not null)
                        return $"{at.Path} → a function that a pointer names";
                    if (s_awake.Contains(call.Name) || (!unconditional && at.Depth == Depth))
                        continue;
                    foreach (var callee in Callees(at.Node, call.Name).Where(callee => seen.Add(callee.Key)))
                        work.Enqueue((callee, $"{at.Path} → {callee.Name}", at.Depth + 1));
                }
            }
            return null;
        }

        private static string? SleepsIn(FlowCall call) =>
            s_sleeping.Contains(call.Name) ? call.Name
            : s_allocators.TryGetValue(call.Name, out int argument) && call.Arguments[argument] is { } flags && (flags & DirectReclaim) != 0
                ? $"{call.Name} with flags 0x{flags:x}, which may wait for memory (GFP_ATOMIC does not)"
            : null;

        private IReadOnlyList<Edge> EdgesOf(Node node)
        {
            if (_edges.TryGetValue(node.Key, out var known))
                return known;
            var flow = node.Function is { } function ? CodeFlow.Of(function) : update.Kernel!.Calls.FlowOf(node.Address);
            List<Edge> edges = [];
            foreach (int block in flow?.Forward ?? [])
            {
                if (flow!.Blocks[block].Calls.Count == 0)
                    continue;
                bool always = flow.IsOnEveryPath(block);
                edges.AddRange(flow.Blocks[block].Calls.Select(call => new Edge(call, always && !call.IsConditional)));
            }
            _edges.Add(node.Key, edges);
            return edges;
        }

        // An allocator is judged by its flags and not by what it might do.
        private IEnumerable<Node> Callees(Node caller, string name)
        {
            if (s_allocators.ContainsKey(name))
                return [];
            if (caller.Unit is { } unit && _functions.Find(unit, name).ToList() is { Count: > 0 } own)
                return own.Select(callee => new Node(callee.Unit, callee.Function, 0, callee.Function.Name));
            return
                update.Kernel is { } kernel
                && kernel.Image.Symbols.Find(name).Where(symbol => symbol.Type is 't' or 'T' or 'w' or 'W').ToList() is [var only]
                ? [new Node(null, null, only.Address, name)]
                : [];
        }
    }
}
