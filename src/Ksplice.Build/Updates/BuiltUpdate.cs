// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Updates;

/// <summary>What a stage found.</summary>
/// <param name="Value">The product; null after an error, of this stage or of one that it rests on.</param>
/// <param name="Diagnostics">What there is to say; where an earlier stage failed, what that said.</param>
public sealed record StageResult<T>(T? Value, IReadOnlyList<Diagnostic> Diagnostics)
    where T : class;

/// <summary>What the judgement took into account.</summary>
/// <param name="Acknowledged">The acknowledgements that an error met.</param>
public sealed record Judgement(IReadOnlyList<Acknowledgement> Acknowledged);

/// <summary>What matching looks for in one target.</summary>
/// <param name="Diffs">What changes in the target.</param>
/// <param name="Module">The module's file; null for the kernel itself.</param>
/// <param name="Exported">What its new code may use without being told where it is.</param>
/// <param name="Data">The match data.</param>
public sealed record TargetProgram(TargetDiffs Diffs, ModuleFile? Module, ExportedSymbols Exported, MatchData Data);

/// <summary>What matching found of one target.</summary>
/// <param name="Program">What was looked for.</param>
/// <param name="Path">The file that it was looked for in.</param>
/// <param name="Result">Where everything is; no match where the update goes on top of others, whose code the file has not.</param>
public sealed record TargetMatch(TargetProgram Program, string Path, MatchResult Result);

/// <summary>What helper and primary of one target are made from.</summary>
/// <param name="Helper">The helper.</param>
/// <param name="Primary">The primary.</param>
public sealed record TargetModules(HelperSource Helper, PrimaryObject Primary);

/// <summary>What the modules of an update are made from.</summary>
/// <param name="Targets">Helper and primary of each target, in the targets' order.</param>
/// <param name="Data">The data module; null if the update has none.</param>
public sealed record UpdateModuleSources(IReadOnlyList<TargetModules> Targets, DataSource? Data);

/// <summary>What a stage took.</summary>
/// <param name="Stage">Its name.</param>
/// <param name="Time">The time.</param>
public sealed record StageTime(string Stage, TimeSpan Time);
