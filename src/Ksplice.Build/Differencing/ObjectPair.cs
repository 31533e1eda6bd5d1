// SPDX-License-Identifier: MIT
using Ksplice.Build.Elf;

namespace Ksplice.Build.Differencing;

/// <summary>
/// The two objects of a unit. What they consist of and which part of the one is which of the other is found once, when it is first asked
/// for; the difference and <see cref="ObjectChanges"/> both rest on it.
/// </summary>
/// <param name="pre">The object made from the unpatched source.</param>
/// <param name="post">The object made from the patched source.</param>
public sealed class ObjectPair(ElfObject pre, ElfObject post)
{
    private readonly Lazy<Correlation> _correlation = new(() => new Correlation(ObjectGraph.Of(pre), ObjectGraph.Of(post)));

    /// <summary>The object made from the unpatched source.</summary>
    public ElfObject Pre => pre;

    /// <summary>The object made from the patched source.</summary>
    public ElfObject Post => post;

    internal Correlation Correlation => _correlation.Value;
}
