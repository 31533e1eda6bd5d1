// SPDX-License-Identifier: MIT
using Ksplice.Build.Updates;

namespace Ksplice.Build.Reporting;

/// <summary>A build that ended with an error: no update came of it.</summary>
/// <param name="Name">What it was to be called.</param>
/// <param name="Release">The kernel that it was for.</param>
/// <param name="Patches">The patches by name, in the order of their application, with their texts.</param>
/// <param name="Diagnostics">Why it was refused, and what else there is to say.</param>
public sealed record RefusedBuild(
    string Name,
    string Release,
    IReadOnlyList<(string Name, string Text)> Patches,
    IReadOnlyList<ReportedDiagnostic> Diagnostics
);
