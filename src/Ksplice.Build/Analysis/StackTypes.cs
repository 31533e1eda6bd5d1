// SPDX-License-Identifier: MIT
// A struct may change its layout if no object of it outlives the change. That is so for a type that lives only on the stacks
// of functions that are all replaced: no update is applied while one of them is on a stack, so when it is, there is no
// such object (struct lb_env of kernel/sched/fair.c, which carries the state of one balancing pass, is one). It is taken for
// shown only if all of this holds, before and after the patch:
//   - the type is defined in the unit's own source, so no other unit knows it;
//   - no variable with a place in memory, no other type and no return value holds one or points to one, and no local
//     variable points to one: what is allocated or found elsewhere has to come in through one of these;
//   - functions that take a pointer to one are static, and their addresses go nowhere;
//   - each call of theirs passes an address in the caller's frame, and the caller is replaced, or passes on what was passed in;
//   - every function that has such a variable, also through what is inlined into it, is replaced.
// Types, variables and parameters are those of the debug data, and it says in which register a parameter comes; what a call passes
// is found in the code (PointerFlow). Debug data does not know of casts and of sizeof: code that reaches an object without a variable
// or a parameter of the type. What such code does depends on the layout in its numbers, so that it is not the same before and after:
//   - every function that is new or changes has such a variable or parameter;
//   - none of these has more accesses of any form through other pointers than before. Behind the end of the type nothing is counted.
using Ksplice.Build.Differencing;
using Ksplice.Build.Dwarf;

namespace Ksplice.Build.Analysis;

/// <summary>Tells whether a changed type lives only on stacks.</summary>
/// <param name="unit">The unit that defines it.</param>
/// <param name="type"><c>struct x</c> or <c>union x</c>.</param>
internal sealed class StackTypes(AnalyzedUnit unit, string type)
{
    /// <summary>Why the type may live elsewhere, once <see cref="Owners"/> said so; null for a type that other units know.</summary>
    public string? Reason { get; private set; }

    /// <summary>The functions on whose stacks the type lives, or null if it may live anywhere else.</summary>
    public IReadOnlyList<string>? Owners()
    {
        uint size = Math.Max(SizeIn(unit.PreTypes), SizeIn(unit.PostTypes));
        if (
            TypeUse.Find(unit.PreSource, unit.PreGraph, type, size) is not { } before
            || TypeUse.Find(unit.PostSource, unit.PostGraph, type, size) is not { } after
        )
            return null;
        var replaced = unit
            .Changes.Functions.Where(function => function is { Pre: not null, Post: not null })
            .Select(function => TypeUse.SourceName(function.Name))
            .ToHashSet(StringComparer.Ordinal);
        Reason = before.Objection(replaced)
            ?? after.Objection(replaced.Union(NewFunctions(), StringComparer.Ordinal).ToHashSet(StringComparer.Ordinal))
            ?? Unexplained(before, after);
        return Reason is null ? before.Owners : null;
    }

    private IEnumerable<string> NewFunctions() =>
        unit.Changes.Functions.Where(function => function.Pre is null).Select(function => TypeUse.SourceName(function.Name));

    private uint SizeIn(BtfTypes? types) =>
        types is null
            ? 0
            : Enumerable
                .Range(1, types.Count - 1)
                .Where(id =>
                    types.KindOf(id) is BtfKind.Struct or BtfKind.Union && type.EndsWith(" " + types.NameOf(id), StringComparison.Ordinal)
                )
                .Select(types.SizeOf)
                .DefaultIfEmpty()
                .Max();

    // What changes and is not explained by a variable or parameter of the type.
    private string? Unexplained(TypeUse before, TypeUse after)
    {
        foreach (var change in unit.Changes.Functions.Where(function => function.Post is not null))
        {
            if (!before.Involves(change.Name) && !after.Involves(change.Name))
                return $"{change.Name} changes, and debug data does not say whether it uses one";
            var olds = change.Pre is { } pre ? before.UnknownAccesses(pre) : new Dictionary<string, int>(StringComparer.Ordinal);
            if (
                after.UnknownAccesses(change.Post!).FirstOrDefault(form => form.Value > olds.GetValueOrDefault(form.Key)) is
                { Key: { } form }
            )
                return $"{change.Name} has another access through a pointer that may lead to one: {form}";
        }
        return null;
    }
}
