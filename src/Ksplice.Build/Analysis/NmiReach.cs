// SPDX-License-Identifier: MIT
// What an NMI may run (K33): direct calls are followed from the NMI's entry, from each handler that is registered for one, and from
// what perf calls through pointers; in the image, and in the units that the update changes. A machine check comes in spite of the stop as
// an NMI does, so it counts as one.
using System.Text.RegularExpressions;
using Ksplice.Build.Differencing;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Analysis;

/// <summary>How far a function is from what an NMI begins with.</summary>
/// <param name="Depth">How many calls.</param>
/// <param name="Caller">One that calls it; null for what an NMI begins with.</param>
internal readonly record struct NmiPath(int Depth, string? Caller);

/// <summary>The functions that an NMI may run.</summary>
internal sealed partial class NmiReach
{
    // Deeper calls are those of errors and rare cases. What goes through the function tracer without need is only called more slowly,
    // so as many as lead perf from an overflow to the tables of the stack's unwinder count there.
    private const int Depth = 6,
        SureDepth = 3;

    private static readonly string[] Roots =
    [
        "asm_exc_nmi",
        "exc_nmi",
        "default_do_nmi",
        "nmi_handle",
        "mce_raise_notify",
        "crash_nmi_callback",
        "kgdb_nmi_handler",
        "intel_pmu_handle_irq",
        "x86_pmu_handle_irq",
        "amd_pmu_handle_irq",
        "amd_pmu_v2_handle_irq",
        "perf_event_output",
        "perf_event_output_forward",
        "perf_event_output_backward",
        "bpf_overflow_handler",
        "watchdog_overflow_callback",
        "exc_machine_check",
        "do_machine_check",
    ];

    private readonly Dictionary<string, NmiPath> _found = new(StringComparer.Ordinal);

    /// <summary>Follows the calls of <paramref name="kernel"/> and of <paramref name="units"/> before the patch.</summary>
    public NmiReach(RunningKernel kernel, IReadOnlyList<AnalyzedUnit> units)
    {
        var functions = units.SelectMany(unit => unit.Changes.PreFunctions).ToLookup(function => function.Name, StringComparer.Ordinal);
        var variables = units.SelectMany(unit =>
            unit.PreGraph.Nodes.Where(node => node.Kind == NodeKind.Data && !node.IsAnonymous).Select(node => node.Name)
        );
        var handlers = kernel
            .Image.Symbols.Symbols.Select(symbol => symbol.Name)
            .Concat(variables)
            .Select(name => Action().Match(name))
            .Where(match => match.Success)
            .Select(match => match.Groups[1].Value);
        Queue<string> work = new();
        foreach (string root in Roots.Concat(handlers))
        {
            if ((functions.Contains(root) || IsCode(kernel, root)) && _found.TryAdd(root, new(0, null)))
                work.Enqueue(root);
        }
        while (work.TryDequeue(out string? caller))
        {
            int depth = _found[caller].Depth + 1;
            if (depth > Depth)
                continue;
            foreach (string callee in CalledBy(kernel, caller).Concat(functions[caller].SelectMany(function => function.Calls)))
            {
                if (QuiescenceAnalyzer.IsFollowed(callee) && _found.TryAdd(callee, new(depth, caller)))
                    work.Enqueue(callee);
            }
        }
    }

    /// <summary>How an NMI comes to a function of that name; null if it does not, as far as is known.</summary>
    public NmiPath? PathTo(string function) => _found.TryGetValue(function, out var path) ? path : null;

    /// <summary>True if an NMI comes to a function of that name on a short path, not only where it meets an error or a rare case.</summary>
    public bool IsNear(string function) => PathTo(function)?.Depth <= SureDepth;

    /// <summary>The difference of a unit, its functions marked that an NMI may run and that can be replaced without a jump.</summary>
    public ObjectDiff Mark(AnalyzedUnit unit, ObjectDiff diff)
    {
        var marked = unit
            .Changes.PreFunctions.Where(function => _found.ContainsKey(function.Name) && HasSite(function))
            .Select(function => function.Name)
            .ToHashSet(StringComparer.Ordinal);
        return diff.Replaced.Any(function => marked.Contains(function.Name))
            ? diff with
            {
                Replaced = [.. diff.Replaced.Select(function => function with { MayRunInNmi = marked.Contains(function.Name) })],
            }
            : diff;
    }

    /// <summary>True if <paramref name="function"/> has a site of the function tracer, through which it can be replaced.</summary>
    public static bool HasSite(ObjectFunction function) => function.Calls.Contains("__fentry__", StringComparer.Ordinal);

    // The variable in which register_nmi_handler() keeps a handler is called after it.
    [GeneratedRegex(@"^(\w+)_na(\.\d+)?$")]
    private static partial Regex Action();

    private static bool IsCode(RunningKernel kernel, string name) => CodeOf(kernel, name).Any();

    // Where several functions have the name, it may be any of them.
    private static IEnumerable<ulong> CodeOf(RunningKernel kernel, string name) =>
        kernel.Image.Symbols.Find(name).Where(symbol => symbol.Type is 't' or 'T' or 'w' or 'W').Select(symbol => symbol.Address);

    private static IEnumerable<string> CalledBy(RunningKernel kernel, string name) =>
        CodeOf(kernel, name).SelectMany(kernel.Calls.From).SelectMany(kernel.Calls.NamesOf);
}
