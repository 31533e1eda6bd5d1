// SPDX-License-Identifier: MIT
using Ksplice.Cli.Packages;

namespace Ksplice.Cli.Machines;

/// <summary>
/// What the core module shows of an update at one moment. Some of the core's files are for root alone: what this user may not read is null,
/// and so is what an older core does not tell.
/// </summary>
/// <param name="Id">The update's id, which everybody may see.</param>
public sealed record UpdateState(string Id)
{
    public string? Stage { get; init; }

    public bool? IsBusy { get; init; }

    public string? AbortCause { get; init; }

    public string? Reason { get; init; }

    public IReadOnlyList<string>? Conflicts { get; init; }

    public int? Tries { get; init; }

    public int? MaxTries { get; init; }

    public int? RetryMilliseconds { get; init; }

    public long? PauseNanoseconds { get; init; }

    public IReadOnlyList<TargetState>? Targets { get; init; }

    public IReadOnlyList<FunctionState>? Functions { get; init; }

    public IReadOnlyList<string>? Overridden { get; init; }

    /// <summary>The package that it came from, as this command keeps it; null if it was loaded by other means.</summary>
    public KnownPackage? Package { get; init; }

    /// <summary>False if there is more to see for root.</summary>
    public bool IsWhole => Stage is not null && Functions is not null && Targets is not null && AbortCause is not null;

    /// <summary>What keeps new code of an applied update from running, a sentence each.</summary>
    public IEnumerable<string> Troubles =>
        Stage != Update.Applied ? [] : (Overridden ?? []).Select(function => $"{function} is overridden by a livepatch that came later");

    /// <summary>The time that the last request stopped the machine, for people.</summary>
    public string Pause => PauseNanoseconds is { } pause ? FormattableString.Invariant($"{pause / 1e6:F3} ms") : "-";
}
