// SPDX-License-Identifier: MIT
// The state of one match (struct run of match/internal.h): what is looked for, where, and what is known so far.
namespace Ksplice.Build.Matching;

/// <summary>Where an object is in the run kernel: one past its last byte, and the places of <see cref="RunFunction"/>.</summary>
internal readonly record struct MatchedObject(ulong End, ulong Jump, ulong Fentry);

internal sealed partial class MatchRun(MatchProgram data, IMatchMemory memory)
{
    public MatchProgram Data { get; } = data;

    public IMatchMemory Memory { get; } = memory;

    /// <summary>By symbol.</summary>
    public ulong[] Values { get; } = new ulong[data.Symbols.Length];

    /// <summary>By symbol.</summary>
    public bool[] Known { get; } = new bool[data.Symbols.Length];

    /// <summary>Symbols in the order in which they became known.</summary>
    public List<uint> Journal { get; } = [];

    /// <summary>By object.</summary>
    public bool[] Done { get; } = new bool[data.Objects.Length];

    /// <summary>By object: what its last good walk found (struct matched).</summary>
    public MatchedObject[] Matched { get; } = new MatchedObject[data.Objects.Length];

    /// <summary>Where returns were found to go, or 0.</summary>
    public ulong ReturnThunk { get; set; }
}
