// SPDX-License-Identifier: MIT
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Targets;

/// <summary>A new global that the primary of one target brings and new code of other targets uses.</summary>
/// <param name="Name">Its name in the source.</param>
/// <param name="Lender">The target whose primary brings it.</param>
/// <param name="Diff">The difference of the unit that has it.</param>
/// <param name="Piece">Index in <see cref="ObjectDiff.Carried"/>.</param>
/// <param name="User">The first unit that uses it.</param>
/// <param name="ExportName">The name that the primary exports it by; no other update's code has this name.</param>
public sealed record SharedSymbol(string Name, string Lender, ObjectDiff Diff, int Piece, string User, string ExportName)
{
    /// <summary>True if it is in the update's data module, which all primaries bind to.</summary>
    public bool IsKept => Diff.Carried[Piece].IsKept;
}
