// SPDX-License-Identifier: MIT
using System.Security.Cryptography;
using System.Text;
using Ksplice.Build.Kernel;

namespace Ksplice.Matching;

/// <summary>Which units a run takes: of each part of the tree those whose path has the smallest SHA-256, so that nobody picks.</summary>
internal static class UnitChoice
{
    private static readonly string[] Parts = ["arch", "kernel", "mm", "fs", "net", "block", "drivers", "lib", "security"];

    /// <summary>Up to <paramref name="perPart"/> C units of each part, built into the kernel.</summary>
    public static List<CompilationUnit> Choose(PreparedKernel kernel, int perPart) =>
        [
            .. Parts.SelectMany(part =>
                kernel
                    .Units.Units.Where(unit =>
                        unit.Module is null && !unit.IsAssembly && unit.Source.StartsWith(part + "/", StringComparison.Ordinal)
                    )
                    .DistinctBy(unit => unit.Source)
                    .OrderBy(unit => Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(unit.Source))), StringComparer.Ordinal)
                    .Take(perPart)
                    .OrderBy(unit => unit.Source, StringComparer.Ordinal)
            ),
        ];
}
