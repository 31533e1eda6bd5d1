// SPDX-License-Identifier: MIT
// match/settle.c: rounds, until every object has one place.
namespace Ksplice.Build.Matching.Interpreter;

internal sealed partial class Run
{
    // None where C leaves all and says so.
    private ulong[] KeepInSequence(in MatchObject entry, ReadOnlySpan<ulong> candidates)
    {
        List<ulong> kept = [];
        foreach (ulong candidate in candidates)
        {
            if (InSequence(entry, candidate))
                kept.Add(candidate);
        }
        return [.. kept];
    }

    private MatchFailure? TryCandidates(uint index, out int survivors)
    {
        ref readonly var entry = ref Data.Object(index);
        var candidates = CandidatesOf(entry.Symbol);
        survivors = 0;
        if (candidates.IsEmpty)
            return Fail(index, null, MatchReason.NoCandidate, 0, NameOf(entry.Symbol));
        if (candidates.Length > 1)
            candidates = candidates.ToArray().Distinct().ToArray();
        if (entry.Kind == ObjectKind.Text && (candidates.Length > 1 || IsOverridable(entry)))
        {
            ulong[] kept = KeepInSequence(entry, candidates);
            if (kept.Length == 0)
                return Fail(index, null, MatchReason.NotInSequence, candidates.Length, NameOf(entry.Symbol));
            candidates = kept;
        }
        Mismatch farthest = new();
        ulong survivor = 0,
            best = 0;
        int mark = Journal.Count;
        for (int i = 0; i < candidates.Length; i++)
        {
            Walk walk = new(this, index);
            if (walk.WalkObject(candidates[i]) == MatchReason.Matched)
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
            Forget(mark);
        }
        if (survivors == 0)
            return Fail(index, farthest, farthest.Reason, candidates.Length);
        if (survivors == 1)
        {
            // What the only candidate told is still known.
            if (candidates.Length > 1)
                new Walk(this, index).WalkObject(survivor);
            Done[index] = true;
        }
        return null;
    }

    private MatchFailure? Settle()
    {
        int pending,
            settled,
            pendingSurvivors = 0;
        uint first = 0;
        do
        {
            pending = settled = 0;
            for (uint i = 0; i < Data.Objects.Length; i++)
            {
                if (Done[i])
                    continue;
                ref readonly var entry = ref Data.Object(i);
                int survivors = 0;
                if (Known[entry.Symbol])
                {
                    Walk walk = new(this, i);
                    if (walk.WalkObject(Values[entry.Symbol]) != MatchReason.Matched)
                        return Fail(i, walk.Failure, walk.Failure.Reason, 1);
                    Done[i] = true;
                }
                else if (entry.Kind == ObjectKind.Text && TryCandidates(i, out survivors) is { } failure)
                {
                    return failure;
                }
                if (Done[i])
                {
                    settled++;
                }
                else if ((entry.Flags & ObjectFlags.Optional) == ObjectFlags.None && pending++ == 0)
                {
                    first = i;
                    pendingSurvivors = survivors;
                }
            }
        } while (pending != 0 && settled != 0);
        return pending == 0
            ? null
            : Fail(
                first,
                null,
                pendingSurvivors != 0 ? MatchReason.Ambiguous : MatchReason.Unresolved,
                pendingSurvivors,
                NameOf(Data.Object(first).Symbol)
            );
    }
}
