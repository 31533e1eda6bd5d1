// SPDX-License-Identifier: MIT
// match/symbols.c once more: what symbols may be.
namespace Ksplice.Build.Matching;

internal sealed partial class MatchRun
{
    private readonly ulong[]?[] _candidates = new ulong[]?[data.Symbols.Length];

    public ReadOnlySpan<ulong> CandidatesOf(uint symbol) => _candidates[symbol] ??= Find(Data.NameBytes(Data.Symbol(symbol).Name));

    private ulong[] Find(ReadOnlySpan<byte> name)
    {
        if (name.IsEmpty)
            return [];
        var found = Memory.Candidates(name);
        return found as ulong[] ?? [.. found];
    }

    public string? NameOf(uint symbol) => Data.Name(Data.Symbol(symbol).Name) is { Length: > 0 } name ? name : null;

    public bool IsCandidate(uint symbol, ulong address, out bool any)
    {
        var candidates = CandidatesOf(symbol);
        any = candidates.Length != 0;
        return candidates.Contains(address);
    }

    public int FindUnique(uint symbol, out ulong address)
    {
        var candidates = CandidatesOf(symbol);
        address = candidates.IsEmpty ? 0 : candidates[0];
        return candidates.IsEmpty ? 0
            : candidates.ContainsAnyExcept(address) ? 2
            : 1;
    }

    public bool Plays(SymbolRole role, ulong address)
    {
        var symbols = Data.Symbols;
        for (int i = 0; i < symbols.Length; i++)
        {
            if (symbols[i].Role == role && IsCandidate((uint)i, address, out _))
                return true;
        }
        return false;
    }

    public bool Holds(in MatchSymbol symbol, ulong address)
    {
        var content = Data.Bytes.Slice((int)symbol.Content, (int)symbol.ContentSize);
        for (int done = 0; done < content.Length; )
        {
            var found = Look(address + (ulong)done);
            int part = Math.Min(found.Length, content.Length - done);
            if (part == 0 || !found[..part].SequenceEqual(content.Slice(done, part)))
                return false;
            done += part;
        }
        return true;
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
