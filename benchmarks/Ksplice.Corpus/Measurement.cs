// SPDX-License-Identifier: MIT
using System.Diagnostics;
using CliWrap;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;

namespace Ksplice.Corpus;

/// <summary>
/// What differencing costs: all pairs that a run of the corpus left, in this one process, and units linked
/// together to larger and larger objects.
/// </summary>
internal static class Measurement
{
    /// <summary>Reads and compares every pair under <paramref name="patches"/> twice, and shows the second time.</summary>
    public static async Task RunAsync(string patches, string scratch, CancellationToken cancellation)
    {
        var pairs = Directory
            .EnumerateFiles(patches, "post.o", SearchOption.AllDirectories)
            .Order(StringComparer.Ordinal)
            .Select(post => (Pre: Path.Combine(Path.GetDirectoryName(post)!, "pre.o"), Post: post))
            .Where(pair => File.Exists(pair.Pre))
            .ToList();
        Console.WriteLine($"{"pairs", 8} {"MB", 8} {"s", 8} {"MB/s", 8} {"median", 10} {"slowest", 10}");
        for (int pass = 0; pass < 2; pass++)
        {
            List<(double Milliseconds, long Bytes)> each = [];
            foreach (var (pre, post) in pairs)
                each.Add(Compare(pre, post));
            var (time, bytes) = (each.Sum(one => one.Milliseconds), each.Sum(one => one.Bytes));
            var slowest = each.MaxBy(one => one.Milliseconds);
            if (pass == 1)
                Console.WriteLine(
                    $"{pairs.Count, 8} {bytes / 1e6, 8:f1} {time / 1e3, 8:f2} {bytes / 1e3 / time, 8:f0} "
                        + $"{each.Select(one => one.Milliseconds).Order().ElementAt(each.Count / 2), 7:f1} ms "
                        + $"{slowest.Milliseconds, 7:f1} ms ({slowest.Bytes / 1e6:f1} MB)"
                );
        }
        Console.WriteLine($"peak memory {Process.GetCurrentProcess().PeakWorkingSet64 / 1e6:f0} MB");

        Console.WriteLine($"{"units", 8} {"MB", 8} {"ms", 10} {"MB/s", 8}");
        Directory.CreateDirectory(scratch);
        for (int count = 1; count <= pairs.Count; count *= 2)
        {
            string pre = Path.Combine(scratch, "pre.o"),
                post = Path.Combine(scratch, "post.o");
            await LinkAsync(pairs.Take(count).Select(pair => pair.Pre), pre, cancellation);
            await LinkAsync(pairs.Take(count).Select(pair => pair.Post), post, cancellation);
            Compare(pre, post);
            var (time, bytes) = Compare(pre, post);
            Console.WriteLine($"{count, 8} {bytes / 1e6, 8:f2} {time, 10:f1} {bytes / 1e3 / time, 8:f0}");
        }
        Console.WriteLine($"peak memory {Process.GetCurrentProcess().PeakWorkingSet64 / 1e6:f0} MB");
    }

    private static async Task LinkAsync(IEnumerable<string> objects, string output, CancellationToken cancellation) =>
        await Cli.Wrap("ld").WithArguments(["-r", "--strip-debug", "-z", "muldefs", "-o", output, .. objects]).ExecuteAsync(cancellation);

    // What a process of the field's C tool does: read both, compare, know what to replace.
    private static (double Milliseconds, long Bytes) Compare(string pre, string post)
    {
        var clock = Stopwatch.StartNew();
        byte[] before = File.ReadAllBytes(pre),
            after = File.ReadAllBytes(post);
        _ = ObjectDiffer.Compare(pre, new(ElfObject.Read(before, pre), ElfObject.Read(after, post))).Carried;
        return (clock.Elapsed.TotalMilliseconds, before.Length + after.Length);
    }
}
