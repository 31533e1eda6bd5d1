// match/symbols.c once more: what symbols may be.
namespace Ksplice.Build.Matching;

internal sealed partial class MatchRun
{
    private readonly IReadOnlyList<ulong>?[] _candidates = new IReadOnlyList<ulong>?[data.Symbols.Length];

    private IReadOnlyList<ulong> CandidatesOf(uint symbol) =>
        _candidates[symbol] ??= NameOf(symbol) is { } name ? Memory.Candidates(name) : [];

    public string? NameOf(uint symbol) => Data.Name(Data.Symbols[symbol].Name) is { Length: > 0 } name ? name : null;

    public bool IsCandidate(uint symbol, ulong address, out bool any)
    {
        var candidates = CandidatesOf(symbol);
        any = candidates.Count != 0;
        return candidates.Contains(address);
    }

    public int FindUnique(uint symbol, out ulong address)
    {
        var candidates = CandidatesOf(symbol);
        address = candidates.Count == 0 ? 0 : candidates[0];
        return candidates.Count <= 1 ? candidates.Count : Math.Min(candidates.Distinct().Count(), 2);
    }

    public bool Plays(SymbolRole role, ulong address)
    {
        for (uint i = 0; i < Data.Symbols.Length; i++)
        {
            if (Data.Symbols[i].Role == role && IsCandidate(i, address, out _))
                return true;
        }
        return false;
    }

    public bool Holds(in MatchSymbol symbol, ulong address)
    {
        var content = Data.Bytes.AsSpan((int)symbol.Content, (int)symbol.ContentSize);
        var found = new byte[content.Length];
        return Get(address, found) && content.SequenceEqual(found);
    }

    public void Forget(int mark)
    {
        while (Journal.Count > mark)
        {
            Known[Journal[^1]] = false;
            Journal.RemoveAt(Journal.Count - 1);
        }
    }
}
