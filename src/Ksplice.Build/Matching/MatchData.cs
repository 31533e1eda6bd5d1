// SPDX-License-Identifier: MIT
using System.Collections.Immutable;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Matching;

/// <summary>A function that the update replaces; its place in <see cref="MatchData.Functions"/> is its redirect index.</summary>
/// <param name="Unit">The unit's source path.</param>
/// <param name="Name">The function's symbol.</param>
public sealed record MatchedFunction(string Unit, string Name);

/// <summary>
/// The match data of one update (paper, section 4): the bytes that ksplice/format.h describes, and what their indexes mean.
/// </summary>
/// <param name="Bytes">The data for the interpreters.</param>
/// <param name="Exports">What new code needs; the place in the list is the export index.</param>
/// <param name="Functions">The replaced functions (without .cold pieces); the place in the list is the redirect index.</param>
public sealed record MatchData(byte[] Bytes, ImmutableArray<RunSymbol> Exports, ImmutableArray<MatchedFunction> Functions)
{
    /// <summary>Where new code takes the address of something of the running kernel, of what the kernel exports too.</summary>
    public ImmutableArray<AddressUse> AddressUses { get; init; } = [];
}
