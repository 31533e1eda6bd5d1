// SPDX-License-Identifier: MIT
// What scripts can rely on; docs/cli.md lists the same. `diff` and `match` have codes of their own there.
namespace Ksplice.Cli;

/// <summary>How a command ended.</summary>
public enum ExitCode
{
    /// <summary>Done.</summary>
    Ok = 0,

    /// <summary>Wrong arguments, or no such package.</summary>
    Usage = 1,

    /// <summary>
    /// The kernel refused: its code does not match, a hook said no, a module would not load. From <c>status</c>: an enabled update is not
    /// applied, or a function of an applied one is not in force.
    /// </summary>
    Refused = 2,

    /// <summary>Threads were in the code to be replaced at every try.</summary>
    Busy = 3,

    /// <summary>Not root; from <c>status</c>: this user does not see all, and what is seen is as it should be.</summary>
    NotRoot = 4,

    /// <summary>The update is for another kernel release.</summary>
    WrongKernel = 5,

    /// <summary>The package is damaged or not one.</summary>
    Damaged = 6,

    /// <summary>
    /// The update is not applied, or the kernel is at work on it; from <c>apply --replace</c>: it is applied, and others are too.
    /// </summary>
    WrongStage = 7,

    /// <summary>No update of that id is loaded; from <c>disable</c>: none is stored.</summary>
    Unknown = 8,

    /// <summary>
    /// The kernel did not do what it should: no answer in time, a file missing in sysfs. Also the end by Ctrl+C or SIGTERM while the
    /// kernel is at work.
    /// </summary>
    Unexpected = 9,

    /// <summary>The package is not signed by anybody whom this machine trusts.</summary>
    Untrusted = 10,

    /// <summary>The core does not load, because an operator keeps it out.</summary>
    KeptOut = 11,
}

/// <summary>An end with an error that the operator is told, details a line each.</summary>
public sealed class CommandException(ExitCode code, string message, params IReadOnlyList<string> details) : Exception(message)
{
    public ExitCode Code { get; } = code;

    public IReadOnlyList<string> Details { get; } = details;
}
