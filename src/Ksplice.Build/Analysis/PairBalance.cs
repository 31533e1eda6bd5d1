// SPDX-License-Identifier: MIT
// Locks, references and memory come and go in pairs of calls. For each kind of pair this finds what a function may be left
// with when it returns: on each path the calls that acquire less those that release, counted between -4 and 4. With nine counts a
// kind's state is nine bits, a call shifts them, and where paths meet they are joined. A loop's body is taken once: which of
// its turns acquires, and which releases, only the conditions tell, and they are not looked at.
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
    public static IEnumerable<PairChange> Find(ChangedFunction change)
    {
        if (change is not { Pre: { } pre, Post: { } post })
            yield break;
        var (before, after) = (CodeFlow.Of(pre), CodeFlow.Of(post));
        foreach (int kind in Used(before).Union(Used(after)).Order())
        {
            int was = AtReturn(before, kind),
                now = AtReturn(after, kind);
            if (was != now && was != 0 && now != 0)
                yield return new(Kinds[kind].Kind, Words(was), Words(now));
        }
    }

    private static IEnumerable<int> Used(CodeFlow flow) =>
        flow
            .Blocks.SelectMany(block => block.Calls)
            .Select(call => call.Name)
            .Where(ByName.ContainsKey)
            .Select(name => ByName[name].Kind)
            .Distinct();

    private static int AtReturn(CodeFlow flow, int kind)
    {
        if (flow.Blocks.Count == 0)
            return 0;
        int[] states = new int[flow.Blocks.Count];
        states[0] = 1 << Most;
        int atReturn = 0;
        foreach (int index in flow.Forward)
        {
            int state = states[index];
            foreach (string call in flow.Blocks[index].Calls.Select(call => call.Name))
            {
                if (ByName.TryGetValue(call, out var pair) && pair.Kind == kind)
                    state = Shift(state, pair.Step);
            }
            if (flow.Blocks[index].Returns)
                atReturn |= state;
            // What leads back in the order is a loop's way to its next turn.
            foreach (int next in flow.Blocks[index].Next)
                states[next] |= state;
        }
        return atReturn;
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
