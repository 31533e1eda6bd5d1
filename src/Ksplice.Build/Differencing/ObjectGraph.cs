// SPDX-License-Identifier: MIT
using System.Collections.Immutable;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>
/// A relocatable object as a graph: functions, objects, strings and constants are nodes with content, relocations are edges.
/// Entries of special sections hang on the function that they point into. It never changes.
/// </summary>
/// <param name="elf">The object.</param>
/// <param name="nodes">Its nodes; the index of each is its <see cref="ObjectNode.Id"/>.</param>
internal sealed class ObjectGraph(ElfObject elf, ImmutableArray<ObjectNode> nodes)
{
    /// <summary>The object.</summary>
    public ElfObject Elf => elf;

    /// <summary>Its nodes; the index of each is its <see cref="ObjectNode.Id"/>.</summary>
    public IReadOnlyList<ObjectNode> Nodes { get; } = nodes;

    /// <summary>The graph of <paramref name="elf"/>.</summary>
    /// <exception cref="ElfFormatException">The object's tables do not have the shape that the kernel's have.</exception>
    public static ObjectGraph Of(ElfObject elf) => new ObjectGraphBuilder(elf).Build();
}
