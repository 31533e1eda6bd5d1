// SPDX-License-Identifier: MIT
// Locks, references and memory come and go in pairs of calls. For each kind of pair this finds what a function may be left
// with when it returns: on each path the calls that acquire less those that release, counted between -4 and 4. With nine counts a
// kind's state is nine bits, a call shifts them, and where paths meet they are joined, until nothing changes any more. A call of another
// function of the unit has what that one is left with, so it makes no difference whether the compiler inlines it.
using System.Globalization;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>What a function is left with, of one kind.</summary>
/// <param name="Kind">The kind of pair, in words.</param>
/// <param name="Before">The counts before, in words.</param>
/// <param name="After">The counts after.</param>
internal sealed record PairChange(string Kind, string Before, string After);

/// <summary>Compares what functions acquire and release.</summary>
internal static class PairBalance
{
    private const int Most = 4;
    private const int All = (1 << ((2 * Most) + 1)) - 1;

    private static readonly (string Kind, string[] Acquire, string[] Release)[] Kinds =
    [
        (
            "spinlock",
            ["_raw_spin_lock", "_raw_spin_lock_irq", "_raw_spin_lock_irqsave", "_raw_spin_lock_bh"],
            ["_raw_spin_unlock", "_raw_spin_unlock_irq", "_raw_spin_unlock_irqrestore", "_raw_spin_unlock_bh"]
        ),
        (
            "read lock",
            ["_raw_read_lock", "_raw_read_lock_irq", "_raw_read_lock_irqsave", "_raw_read_lock_bh"],
            ["_raw_read_unlock", "_raw_read_unlock_irq", "_raw_read_unlock_irqrestore", "_raw_read_unlock_bh"]
        ),
        (
            "write lock",
            ["_raw_write_lock", "_raw_write_lock_irq", "_raw_write_lock_irqsave", "_raw_write_lock_bh"],
            ["_raw_write_unlock", "_raw_write_unlock_irq", "_raw_write_unlock_irqrestore", "_raw_write_unlock_bh"]
        ),
        ("mutex", ["mutex_lock", "mutex_lock_nested", "mutex_lock_interruptible", "mutex_lock_killable"], ["mutex_unlock"]),
        ("semaphore for reading", ["down_read", "down_read_interruptible", "down_read_killable"], ["up_read"]),
        ("semaphore for writing", ["down_write", "down_write_killable"], ["up_write"]),
        ("semaphore", ["down", "down_interruptible", "down_killable"], ["up"]),
        ("RCU section", ["__rcu_read_lock"], ["__rcu_read_unlock"]),
        ("file reference", ["fget", "fget_raw", "get_file"], ["fput"]),
        ("inode reference", ["igrab", "iget_locked", "ihold"], ["iput"]),
        ("dentry reference", ["dget", "dget_parent", "d_find_alias"], ["dput"]),
        ("path reference", ["path_get", "kern_path"], ["path_put"]),
        ("device reference", ["get_device"], ["put_device"]),
        ("object reference", ["kobject_get"], ["kobject_put"]),
        ("module reference", ["try_module_get", "__module_get"], ["module_put"]),
        (
            "memory",
            ["__kmalloc", "kmalloc_trace", "__kmalloc_node", "kmalloc_large", "kmemdup", "kstrdup", "kvmalloc_node", "vmalloc", "vzalloc"],
            ["kfree", "kvfree", "vfree", "kfree_sensitive"]
        ),
        ("slab object", ["kmem_cache_alloc", "kmem_cache_alloc_node", "kmem_cache_alloc_lru"], ["kmem_cache_free"]),
    ];

    private static readonly Dictionary<string, (int Kind, int Step)> ByName = Kinds
        .SelectMany((kind, index) => kind.Acquire.Select(name => (name, index, 1)).Concat(kind.Release.Select(name => (name, index, -1))))
        .ToDictionary(entry => entry.name, entry => (entry.index, entry.Item3), StringComparer.Ordinal);

    /// <summary>The kinds of which <paramref name="change"/> is left with another count than before.</summary>
    /// <param name="change">The function.</param>
    /// <param name="pre">All functions of its unit before.</param>
    /// <param name="post">All functions after.</param>
    public static IEnumerable<PairChange> Find(
        ChangedFunction change,
        IReadOnlyList<ObjectFunction> pre,
        IReadOnlyList<ObjectFunction> post
    )
    {
        if (change is not { Pre: { } old, Post: { } current })
            yield break;
        Side before = new(pre),
            after = new(post);
        foreach (int kind in before.Used(old).Union(after.Used(current)).Order())
        {
            int was = before.AtReturn(old, kind),
                now = after.AtReturn(current, kind);
            if (was != now && was != 0 && now != 0)
                yield return new(Kinds[kind].Kind, Words(was), Words(now));
        }
    }

    /// <summary>The functions of an object, each looked at once.</summary>
    private sealed class Side(IReadOnlyList<ObjectFunction> functions)
    {
        private readonly ILookup<string, ObjectFunction> _functions = functions.ToLookup(function => function.Name, StringComparer.Ordinal);
        private readonly Dictionary<ObjectFunction, CodeFlow> _flows = new(ReferenceEqualityComparer.Instance);
        private readonly Dictionary<(string Function, int Kind), int> _known = [];

        private CodeFlow FlowOf(ObjectFunction function) =>
            _flows.TryGetValue(function, out var flow) ? flow : _flows[function] = CodeFlow.Of(function);

        // Of several functions of a name none is known to be the one that is called.
        private ObjectFunction? Callee(string name) => _functions[name].Count() == 1 ? _functions[name].First() : null;

        public HashSet<int> Used(ObjectFunction function)
        {
            HashSet<int> kinds = [];
            HashSet<string> seen = [];
            Stack<ObjectFunction> work = new([function]);
            while (work.TryPop(out var at))
            {
                foreach (string name in FlowOf(at).Blocks.SelectMany(block => block.Calls).Select(call => call.Name).Where(seen.Add))
                {
                    if (ByName.TryGetValue(name, out var pair))
                        kinds.Add(pair.Kind);
                    else if (Callee(name) is { } callee)
                        work.Push(callee);
                }
            }
            return kinds;
        }

        public int AtReturn(ObjectFunction function, int kind)
        {
            var flow = FlowOf(function);
            if (flow.Blocks.Count == 0)
                return 0;
            int[] states = new int[flow.Blocks.Count];
            states[0] = 1 << Most;
            int atReturn = 0;
            for (bool changed = true; changed; )
            {
                changed = false;
                foreach (int index in flow.Forward)
                {
                    int state = flow.Blocks[index].Calls.Aggregate(states[index], (left, call) => Call(left, call.Name, kind));
                    if (flow.Blocks[index].Returns)
                        atReturn |= state;
                    foreach (int next in flow.Blocks[index].Next)
                    {
                        changed |= (states[next] | state) != states[next];
                        states[next] |= state;
                    }
                }
            }
            return atReturn;
        }

        private int Call(int state, string name, int kind)
        {
            if (ByName.TryGetValue(name, out var pair))
                return pair.Kind == kind ? Shift(state, pair.Step) : state;
            if (Callee(name) is not { } callee)
                return state;
            if (!_known.TryGetValue((name, kind), out int effect))
            {
                // One that comes back to itself is taken to leave all as it is there.
                _known[(name, kind)] = 1 << Most;
                _known[(name, kind)] = effect = AtReturn(callee, kind);
            }
            int joined = 0;
            for (int count = -Most; count <= Most; count++)
            {
                if ((effect & (1 << (count + Most))) == 0)
                    continue;
                int shifted = state;
                for (int step = 0; step < Math.Abs(count); step++)
                    shifted = Shift(shifted, Math.Sign(count));
                joined |= shifted;
            }
            // What never returns is taken to.
            return effect == 0 ? state : joined;
        }
    }

    // The counts at either end stay there: what is beyond is not told apart.
    private static int Shift(int state, int step)
    {
        const int top = 1 << (2 * Most);
        return step > 0 ? ((state << 1) & All) | (state & top) : (state >> 1) | (state & 1);
    }

    private static string Words(int state) =>
        string.Join(
            " or ",
            Enumerable
                .Range(-Most, (2 * Most) + 1)
                .Where(count => (state & (1 << (count + Most))) != 0)
                .Select(count => count.ToString("+0;-0;0", CultureInfo.InvariantCulture))
        );
}
