// SPDX-License-Identifier: MIT
// Which lines of two listings belong beside each other: a shortest edit script (Myers, "An O(ND) difference algorithm and its
// variations", 1986), found greedily. The furthest reach of every number of edits is kept, to walk back along; so the cost is
// the lines times the edits, and where there are very many edits what is between equal ends counts as replaced.
namespace Ksplice.Build.Reporting;

/// <summary>Puts two listings side by side.</summary>
internal static class Alignment
{
    private const int MostEdits = 2000;

    /// <summary>Pairs of indexes into both lists, in order; -1 where only the other one has a line.</summary>
    public static IReadOnlyList<(int Before, int After)> Of(IReadOnlyList<string> before, IReadOnlyList<string> after)
    {
        int head = 0,
            tail = 0;
        while (head < before.Count && head < after.Count && before[head] == after[head])
            head++;
        while (tail < before.Count - head && tail < after.Count - head && before[^(tail + 1)] == after[^(tail + 1)])
            tail++;
        List<(int, int)> pairs = [.. Enumerable.Range(0, head).Select(at => (at, at))];
        pairs.AddRange(Middle(before, after, head, before.Count - tail, after.Count - tail));
        pairs.AddRange(Enumerable.Range(0, tail).Select(at => (before.Count - tail + at, after.Count - tail + at)));
        return pairs;
    }

    private static IEnumerable<(int, int)> Middle(
        IReadOnlyList<string> before,
        IReadOnlyList<string> after,
        int start,
        int endBefore,
        int endAfter
    )
    {
        int n = endBefore - start,
            m = endAfter - start,
            most = Math.Min(n + m, MostEdits);
        List<int[]> reached = [];
        int[] furthest = new int[(2 * most) + 3];
        for (int edits = 0; edits <= most; edits++)
        {
            reached.Add([.. furthest]);
            for (int k = -edits; k <= edits; k += 2)
            {
                int x =
                    k == -edits || (k != edits && furthest[most + k] < furthest[most + k + 2])
                        ? furthest[most + k + 2]
                        : furthest[most + k] + 1;
                int y = x - k;
                while (x < n && y < m && before[start + x] == after[start + y])
                    (x, y) = (x + 1, y + 1);
                furthest[most + k + 1] = x;
                if (x >= n && y >= m)
                    return Back(reached, most, n, m)
                        .Select(pair => (pair.Item1 < 0 ? -1 : start + pair.Item1, pair.Item2 < 0 ? -1 : start + pair.Item2));
            }
        }
        return Enumerable.Range(start, n).Select(at => (at, -1)).Concat(Enumerable.Range(start, m).Select(at => (-1, at)));
    }

    private static List<(int, int)> Back(List<int[]> reached, int most, int x, int y)
    {
        List<(int, int)> pairs = [];
        for (int edits = reached.Count - 1; edits >= 0; edits--)
        {
            int[] furthest = reached[edits];
            int k = x - y;
            int from = k == -edits || (k != edits && furthest[most + k] < furthest[most + k + 2]) ? k + 1 : k - 1;
            int fromX = edits == 0 ? 0 : furthest[most + from + 1],
                fromY = edits == 0 ? 0 : fromX - from;
            while (x > fromX && y > fromY)
                pairs.Add((--x, --y));
            if (edits == 0)
                break;
            pairs.Add(from == k + 1 ? (-1, --y) : (--x, -1));
        }
        pairs.Reverse();
        return pairs;
    }
}
