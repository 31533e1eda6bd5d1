using System.Collections.Immutable;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Matching;

/// <summary>What matching needs of one compilation unit.</summary>
/// <param name="Unit">The unit's source path, <c>fs/proc/version.c</c>.</param>
/// <param name="Pre">The pre object, after objtool.</param>
/// <param name="ReplacedSections">Pre sections of the replaced functions and of their .cold and .part pieces.</param>
/// <param name="Needed">What the new code refers to in the running kernel.</param>
public sealed record MatchUnit(
    string Unit, ElfObject Pre, IReadOnlyList<int> ReplacedSections, IReadOnlyList<RunSymbol> Needed);

/// <summary>A function that the update replaces; its place in <see cref="MatchData.Functions"/> is its redirect index.</summary>
/// <param name="Unit">The unit's source path.</param>
/// <param name="Name">The function's symbol.</param>
/// <param name="PreSection">The section of the pre object that holds it.</param>
public sealed record MatchedFunction(string Unit, string Name, int PreSection);

/// <summary>The match data of one update (paper, section 4): the bytes that ksplice/format.h describes, and what their indexes mean.</summary>
/// <param name="Bytes">The data for the interpreters.</param>
/// <param name="Exports">What new code needs; the place in the list is the export index.</param>
/// <param name="Functions">The replaced functions (without .cold pieces); the place in the list is the redirect index.</param>
public sealed record MatchData(byte[] Bytes, ImmutableArray<RunSymbol> Exports, ImmutableArray<MatchedFunction> Functions);
