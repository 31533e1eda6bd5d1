// SPDX-License-Identifier: MIT
// Who calls whom in the shipped image, found function by function as it is asked for. Indirect calls lead to nobody.
using System.Collections.Concurrent;
using Iced.Intel;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Analysis;

/// <summary>The call graph of an image.</summary>
/// <param name="image">The image.</param>
internal sealed class ImageCalls(KernelImage image)
{
    private readonly ConcurrentDictionary<ulong, IReadOnlyList<ulong>> _calls = new();
    private readonly Lazy<ILookup<ulong, string>> _names = new(() =>
        image.Symbols.Symbols.ToLookup(symbol => symbol.Address, symbol => symbol.Name)
    );

    /// <summary>Every name of the function at <paramref name="address"/>.</summary>
    public IEnumerable<string> NamesOf(ulong address) => _names.Value[address];

    /// <summary>The functions that the one at <paramref name="function"/> calls or jumps to, by address.</summary>
    public IReadOnlyList<ulong> From(ulong function) => _calls.GetOrAdd(function, Decode);

    /// <summary>
    /// All that is called from <paramref name="roots"/>, they included, as far as <paramref name="follow"/> agrees and not deeper than
    /// <paramref name="depth"/> calls: the name by the address of each, and the one that it is called from.
    /// </summary>
    public IReadOnlyDictionary<ulong, (string Name, string? Caller)> Closure(
        IEnumerable<string> roots,
        Func<string, bool> follow,
        int depth
    )
    {
        Dictionary<ulong, (string, string?)> found = [];
        Dictionary<ulong, int> depths = [];
        Queue<ulong> work = new();
        foreach (var symbol in roots.SelectMany(image.Symbols.Find).Where(symbol => symbol.Type is 't' or 'T' or 'w' or 'W'))
        {
            if (found.TryAdd(symbol.Address, (symbol.Name, null)))
                work.Enqueue(symbol.Address);
        }
        while (work.TryDequeue(out ulong function))
        {
            string caller = found[function].Item1;
            int at = depths.GetValueOrDefault(function);
            if (at == depth)
                continue;
            foreach (ulong callee in From(function))
            {
                if (
                    !found.ContainsKey(callee)
                    && image.Symbols.Nearest(callee) is { } nearest
                    && nearest.Symbol.Address == callee
                    && follow(nearest.Symbol.Name)
                )
                {
                    found.Add(callee, (nearest.Symbol.Name, caller));
                    depths.Add(callee, at + 1);
                    work.Enqueue(callee);
                }
            }
        }
        return found;
    }

    /// <summary>The control flow of the function at <paramref name="function"/>; null if no symbol stands there.</summary>
    public CodeFlow? FlowOf(ulong function) =>
        image.Symbols.Nearest(function) is { } nearest
            ? CodeFlow.Of(image.Slice(function, (int)Math.Min(nearest.End - function, 1 << 20)).ToArray(), function, address =>
                image.Symbols.Nearest(address) is { } target && target.Symbol.Address == address ? target.Symbol.Name : null
            )
            : null;

    private IReadOnlyList<ulong> Decode(ulong function)
    {
        if (image.Symbols.Nearest(function) is not { } nearest)
            return [];
        ulong size = nearest.End - function;
        byte[] code = image.Slice(function, (int)Math.Min(size, 1 << 20)).ToArray();
        var decoder = Decoder.Create(64, code, function);
        HashSet<ulong> targets = [];
        while (decoder.IP < function + (ulong)code.Length)
        {
            decoder.Decode(out var instruction);
            if (instruction.IsInvalid)
                break;
            if (instruction.Op0Kind == OpKind.NearBranch64 && instruction.NearBranchTarget - function >= size)
                targets.Add(instruction.NearBranchTarget);
        }
        return [.. targets.Order()];
    }
}
