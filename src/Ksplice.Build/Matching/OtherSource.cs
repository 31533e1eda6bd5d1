// SPDX-License-Identifier: MIT
// Are source and kernel one? A single function that does not match may have a cause of its own. If many functions that no patch touches do
// not match either, then the source is not what the kernel was compiled from (a patch of the distribution is missing), or the compiler or
// the configuration is another. That is one cause, and is told as one.
//
// The functions asked are those of the update's own units before the patch, which are compiled already. Of stock kernels, above 99.9 %
// match (docs/results/matching.md); of a kernel with PREEMPT_RT and a source without its patches, about half.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Matching;

/// <summary>Tells that a kernel was not made from a source.</summary>
public static class OtherSource
{
    private const int FewestFunctions = 20;
    private const int PercentOfOne = 90;

    /// <summary>The diagnostic, if too few functions match; null if they match, or are too few to tell.</summary>
    /// <param name="objects">The units, with their objects compiled from the unpatched source.</param>
    /// <param name="memory">The kernel.</param>
    /// <param name="path">The file that it is in.</param>
    /// <param name="release">Its release.</param>
    public static Diagnostic? Find(IReadOnlyList<(string Unit, ElfObject Pre)> objects, IMatchMemory memory, string path, string release)
    {
        ArgumentNullException.ThrowIfNull(objects);
        int all = 0,
            matched = 0;
        foreach (var (unit, pre) in objects)
        {
            foreach (var function in ObjectMatch.Run(pre, unit, memory).Where(function => !function.IsWeak && function.Result is not null))
            {
                all++;
                matched += function.Result!.Failure is null ? 1 : 0;
            }
        }
        return all < FewestFunctions || matched * 100 >= all * PercentOfOne
            ? null
            : Diagnostic.Create(MatchDiagnostics.OtherSource, new SourceLocation(path), release, path, all, objects.Count, matched);
    }
}
