// SPDX-License-Identifier: MIT
// What the C interpreter said inside a guest (tests/long/match-guest), beside what the C# one says of the same data over the guest's
// memory: result, failure and every value must be the same.
using System.Globalization;
using System.Text;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Matching;

namespace Ksplice.Matching;

/// <summary>Compares; the first of <paramref name="lines"/> belong to <paramref name="vectors"/>, in their order.</summary>
internal sealed class GuestRun
{
    private readonly string _release;
    private readonly List<(Vector Vector, MatchResult Here, bool Same, double Microseconds)> _rows = [];

    public GuestRun(string release, IMatchMemory memory, IReadOnlyList<Vector> vectors, IReadOnlyList<string> lines)
    {
        if (lines.Count < vectors.Count)
            throw new InvalidDataException($"the guest said {lines.Count} lines of {vectors.Count}");
        _release = release;
        foreach (var (vector, line) in vectors.Zip(lines))
        {
            int blank = line.IndexOf(' ', StringComparison.Ordinal);
            var here = MatchInterpreter.Match(vector.Data, memory);
            string mine = DumpedKernel.Show(here);
            bool same = mine == line[(blank + 1)..];
            if (!same)
                Console.WriteLine($"{vector.Function} ({vector.Unit}):\n  here  {mine}\n  guest {line[(blank + 1)..]}");
            _rows.Add((vector, here, same, long.Parse(line[..blank], CultureInfo.InvariantCulture) / 1000.0));
        }
    }

    /// <summary>How many have another result.</summary>
    public int Differing => _rows.Count(row => !row.Same);

    /// <summary>A line a unit: how many matched, how many have the same result here, and the middle of their times.</summary>
    public string ToCsv()
    {
        StringBuilder csv = new("kernel,unit,functions,matched,the same outside,median us,not matched\n");
        foreach (var unit in _rows.GroupBy(row => row.Vector.Unit))
        {
            string rest = string.Join(
                "; ",
                unit.Where(row => !row.Here.IsMatch).Select(row => $"{row.Vector.Function}: {row.Here.Failure!.Reason}")
            );
            csv.Append(
                CultureInfo.InvariantCulture,
                $"{_release},{unit.Key},{unit.Count()},{unit.Count(row => row.Here.IsMatch)},{unit.Count(row => row.Same)},"
                    + $"{Quantile(unit.Select(row => row.Microseconds), 0.5):f0},{rest}\n"
            );
        }
        return csv.ToString();
    }

    /// <summary>The figures over all units.</summary>
    public string Summary()
    {
        var times = _rows.Select(row => row.Microseconds).ToList();
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{_rows.Count} functions, {_rows.Count(row => row.Here.IsMatch)} matched, {Differing} with another result than outside; "
                + $"us a function: median {Quantile(times, 0.5):f0}, 90 % below {Quantile(times, 0.9):f0}, most {times.Max():f0}, "
                + $"all {times.Sum() / 1e6:f1} s\n"
        );
    }

    private static double Quantile(IEnumerable<double> values, double share)
    {
        var sorted = values.Order().ToList();
        return sorted[(int)(share * (sorted.Count - 1))];
    }
}
