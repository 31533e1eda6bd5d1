// The state of one match (struct run of match/internal.h): what is looked for, where, and what is known so far.
namespace Ksplice.Build.Matching;

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

    /// <summary>By object: one past its last run byte.</summary>
    public ulong[] Ends { get; } = new ulong[data.Objects.Length];

    /// <summary>Where returns were found to go, or 0.</summary>
    public ulong ReturnThunk { get; set; }
}
