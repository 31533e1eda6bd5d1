// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Targets;

namespace Ksplice.Corpus;

/// <summary>The rules over the objects that a run of the corpus left: what they say, and how long it takes.</summary>
internal static class RuleRun
{
    /// <summary>Judges each pair under <paramref name="patches"/> and prints what is said and, as the last lines, the times.</summary>
    public static void Run(PreparedKernel kernel, KernelImage image, KernelExports exports, string patches, CancellationToken cancellation)
    {
        RunningKernel running = new(image, exports.ModuleOf, KernelConfiguration.Read(kernel.Release.Config));
        List<(long Bytes, double Compare, double Judge)> times = [];
        SortedDictionary<string, (int Rows, int Reports)> rules = new(StringComparer.Ordinal);
        foreach (string post in Directory.EnumerateFiles(patches, "post.o", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            string folder = Path.GetDirectoryName(post)!,
                source = Path.GetRelativePath(patches, folder),
                pre = Path.Combine(folder, "pre.o");
            if (!File.Exists(pre) || SourcePatch.Read(Path.Combine(folder, "fix.patch"), []) is not { } patch)
                continue;
            var (before, after) = (PatchBuild.Read(pre), PatchBuild.Read(post));
            var clock = Stopwatch.StartNew();
            UpdateJudgement.Compare(new AnalyzedUnit(source, null, before, after), []);
            double compare = clock.Elapsed.TotalMilliseconds;
            clock.Restart();
            DiagnosticBag bag = [];
            UpdateJudgement.Judge(
                new AnalyzedUpdate([patch], [new AnalyzedUnit(source, null, before, after)], running, kernel.SourceDirectory),
                AnalyzerDriver.BuiltIn,
                [],
                bag,
                cancellation
            );
            times.Add((new FileInfo(pre).Length + new FileInfo(post).Length, compare, clock.Elapsed.TotalMilliseconds));
            foreach (var diagnostic in bag)
                Console.WriteLine($"{source}: {diagnostic}");
            foreach (var group in bag.GroupBy(diagnostic => $"{diagnostic.Id} {diagnostic.Severity}"))
                rules[group.Key] = (
                    rules.GetValueOrDefault(group.Key).Rows + 1,
                    rules.GetValueOrDefault(group.Key).Reports + group.Count()
                );
        }
        foreach (var (rule, (rows, reports)) in rules)
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{rule, -20} {rows, 5} patches {reports, 5} reports"));
        times.Sort((a, b) => a.Bytes.CompareTo(b.Bytes));
        Console.WriteLine("pairs by size: pairs, MB each, differencing ms each, analysis ms each, ms per MB");
        foreach (var part in times.Chunk(Math.Max(1, (times.Count + 5) / 6)))
            Console.WriteLine(
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{part.Length, 5} {part.Average(one => one.Bytes) / 1e6, 8:f2} {part.Average(one => one.Compare), 8:f1} "
                        + $"{part.Average(one => one.Judge), 8:f1} "
                        + $"{part.Sum(one => one.Judge) / (part.Sum(one => one.Bytes) / 1e6), 8:f0}"
                )
            );
        Console.WriteLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"all: {times.Count} pairs, differencing {times.Sum(one => one.Compare) / 1e3:f1} s, "
                    + $"analysis {times.Sum(one => one.Judge) / 1e3:f1} s"
            )
        );
    }
}
