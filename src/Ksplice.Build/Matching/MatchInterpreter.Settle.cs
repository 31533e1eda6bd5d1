// SPDX-License-Identifier: MIT
// match/settle.c once more: rounds, until every object has one place.
namespace Ksplice.Build.Matching;

public sealed partial class MatchInterpreter
{
    private MatchFailure? TryCandidates(uint index, out int survivors)
    {
        ref readonly var entry = ref _run.Data.Object(index);
        var candidates = _run.CandidatesOf(entry.Symbol);
        survivors = 0;
        if (candidates.IsEmpty)
            return Failure(index, null, MatchReason.NoCandidate, 0, _run.NameOf(entry.Symbol));
        if (candidates.Length > 1)
            candidates = candidates.ToArray().Distinct().ToArray();
        if (entry.Kind == ObjectKind.Text && (candidates.Length > 1 || _run.IsOverridable(entry)))
        {
            List<ulong> inLine = [];
            foreach (ulong candidate in candidates)
            {
                if (_run.IsInLine(entry, candidate))
                    inLine.Add(candidate);
            }
            if (inLine.Count == 0)
                return Failure(index, null, MatchReason.NotInLine, candidates.Length, _run.NameOf(entry.Symbol));
            candidates = inLine.ToArray();
        }
        Mismatch farthest = new();
        ulong survivor = 0,
            best = 0;
        int mark = _run.Journal.Count;
        for (int i = 0; i < candidates.Length; i++)
        {
            ObjectWalk walk = new(_run, index);
            if (walk.Object(candidates[i]) == MatchReason.Matched)
            {
                survivor = candidates[i];
                survivors++;
                if (candidates.Length == 1)
                    break;
            }
            else if (i == 0 || walk.Failure.Address - candidates[i] >= best)
            {
                best = walk.Failure.Address - candidates[i];
                farthest = walk.Failure;
            }
            _run.Forget(mark);
        }
        if (survivors == 0)
            return Failure(index, farthest, farthest.Reason, candidates.Length);
        if (survivors == 1)
        {
            // What the only candidate told is still known.
            if (candidates.Length > 1)
                new ObjectWalk(_run, index).Object(survivor);
            _run.Done[index] = true;
        }
        return null;
    }

    private MatchFailure? Settle()
    {
        int pending,
            settled,
            survivorsOfFirst = 0;
        uint first = 0;
        do
        {
            pending = settled = 0;
            for (uint i = 0; i < _run.Data.Objects.Length; i++)
            {
                if (_run.Done[i])
                    continue;
                uint symbol = _run.Data.Object(i).Symbol;
                int survivors = 0;
                if (_run.Known[symbol])
                {
                    ObjectWalk walk = new(_run, i);
                    if (walk.Object(_run.Values[symbol]) != MatchReason.Matched)
                        return Failure(i, walk.Failure, walk.Failure.Reason, 1);
                    _run.Done[i] = true;
                }
                else if (_run.Data.Object(i).Kind == ObjectKind.Text && TryCandidates(i, out survivors) is { } failure)
                {
                    return failure;
                }
                if (_run.Done[i])
                {
                    settled++;
                }
                else if ((_run.Data.Object(i).Flags & ObjectFlags.Optional) == 0 && pending++ == 0)
                {
                    first = i;
                    survivorsOfFirst = survivors;
                }
            }
        } while (pending != 0 && settled != 0);
        return pending == 0
            ? null
            : Failure(
                first,
                null,
                survivorsOfFirst != 0 ? MatchReason.Ambiguous : MatchReason.Unresolved,
                survivorsOfFirst,
                _run.NameOf(_run.Data.Object(first).Symbol)
            );
    }
}
