// SPDX-License-Identifier: MIT
// match/symbols.c: what symbols may be, and what they turn out to be. Where C has a callback for each address of a name, the
// surroundings here return them all; those of a symbol are looked up once.
using System.Buffers.Binary;

namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Run
{
    public string? NameOf(uint symbol) => Data.Name(Data.Symbol(symbol).Name) is { Length: > 0 } name ? name : null;

    private ReadOnlySpan<ulong> CandidatesOf(uint symbol)
    {
        if (_candidates[symbol] is { } known)
            return known;
        var name = Data.NameBytes(Data.Symbol(symbol).Name);
        var found = name.IsEmpty ? [] : Memory.Candidates(name);
        return _candidates[symbol] = found as ulong[] ?? [.. found];
    }

    private bool IsNamed(ReadOnlySpan<byte> name, ulong address) => Memory.Candidates(name).Contains(address);

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

internal sealed partial class Walk
{
    private MatchReason Meet(uint index, ulong value)
    {
        ref readonly var symbol = ref run.Data.Symbol(index);
        if (symbol.Kind == SymbolKind.Content)
        {
            if (!run.Holds(symbol, value))
                return Differ(MatchReason.Different, _at, index, run.Data.Bytes.Slice((int)symbol.Content, (int)symbol.ContentSize));
            if (run.Known[index])
                return MatchReason.Matched;
        }
        if (run.Known[index])
        {
            if (run.Values[index] == value)
                return MatchReason.Matched;
            Span<byte> known = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(known, run.Values[index]);
            return Differ(MatchReason.Conflict, _at, index, known);
        }
        if (
            (symbol.Flags & SymbolFlags.Named) != SymbolFlags.None
            && !run.IsCandidate(index, value, out bool any)
            && (any || (symbol.Flags & SymbolFlags.Global) != SymbolFlags.None)
        )
            return Differ(MatchReason.Conflict, _at, index, []);
        run.Known[index] = true;
        run.Values[index] = value;
        run.Journal.Add(index);
        return MatchReason.Matched;
    }
}
