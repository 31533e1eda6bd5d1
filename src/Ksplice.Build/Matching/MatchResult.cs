// SPDX-License-Identifier: MIT
using System.Collections.Immutable;

namespace Ksplice.Build.Matching;

/// <summary>How a match ended; the values of <c>enum ksp_reason</c>.</summary>
public enum MatchReason
{
    /// <summary>Everything was found.</summary>
    Matched,

    /// <summary>The match data itself is malformed.</summary>
    BadData,

    /// <summary>No memory; only in the kernel.</summary>
    NoMemory,

    /// <summary>No symbol of that name.</summary>
    NoCandidate,

    /// <summary>Every candidate differs.</summary>
    Different,

    /// <summary>More than one candidate matches.</summary>
    Ambiguous,

    /// <summary>Memory could not be read.</summary>
    Unreadable,

    /// <summary>A kprobe stands in the code.</summary>
    Probed,

    /// <summary>Two uses of a symbol disagree on its value, or its value is none that its name has.</summary>
    Conflict,

    /// <summary>A symbol that the update needs got no value.</summary>
    Unresolved,

    /// <summary>The redirect does not fit: the function is too short, or the kernel may rewrite the bytes.</summary>
    NoRoom,

    /// <summary>The kernel has that name, but not where the unit's own would be.</summary>
    NotInSequence,

    /// <summary>New code takes the address of a function, and an indirect call of it faults (K22).</summary>
    Sealed,
}

/// <summary>Why a match failed and where.</summary>
/// <param name="Reason">The kind of failure.</param>
/// <param name="Unit">The source file of the object.</param>
/// <param name="Object">The function or data object that did not match.</param>
/// <param name="Symbol">The symbol at fault, or null.</param>
/// <param name="Address">Where in the run kernel.</param>
/// <param name="Offset">The same place, from the start of the pre object.</param>
/// <param name="Candidates">How many candidates were tried or survived.</param>
/// <param name="Expected">What the pre code has there; may be empty.</param>
/// <param name="Found">What the run kernel has there; may be empty.</param>
public sealed record MatchFailure(
    MatchReason Reason,
    string Unit,
    string Object,
    string? Symbol,
    ulong Address,
    uint Offset,
    int Candidates,
    ImmutableArray<byte> Expected,
    ImmutableArray<byte> Found
)
{
    /// <summary>The index of the export that got no value, or -1.</summary>
    public int Export { get; init; } = -1;

    private string What =>
        Reason switch
        {
            MatchReason.BadData => "the match data is malformed",
            MatchReason.NoMemory => "out of memory",
            MatchReason.NoCandidate => "no symbol of the name",
            MatchReason.Different => "other content",
            MatchReason.Ambiguous => "more than one place",
            MatchReason.Unreadable => "memory that cannot be read",
            MatchReason.Probed => "a kprobe in the code",
            MatchReason.Conflict => "two values of one symbol",
            MatchReason.Unresolved => "a symbol without a value",
            MatchReason.NoRoom => "no room for the redirect",
            MatchReason.NotInSequence => "not among the functions of its file",
            MatchReason.Sealed => "no ENDBR",
            _ => "found",
        };

    /// <inheritdoc/>
    public override string ToString()
    {
        string text =
            Object.Length != 0 ? $"{What}: {Object} ({Unit})"
            : Symbol is not null ? $"{What}: {Symbol}"
            : What;
        if (Symbol is not null && Object.Length != 0 && Symbol != Object)
            text += $", symbol {Symbol}";
        if (Address != 0)
            text += $", at 0x{Address:x}, {Object}+0x{Offset:x} in the pre object";
        if (!Expected.IsEmpty || !Found.IsEmpty)
            text += $": expected {Hex(Expected)}, found {Hex(Found)}";
        return text;
    }

    internal static string Hex(ImmutableArray<byte> bytes) =>
        bytes.IsEmpty
            ? "(nothing)"
            : string.Join(' ', bytes.Select(value => value.ToString("x2", System.Globalization.CultureInfo.InvariantCulture)));
}

/// <summary>A replaced function as it stands in the run kernel.</summary>
/// <param name="Name">Its symbol.</param>
/// <param name="Start">First byte.</param>
/// <param name="End">One past the last byte.</param>
/// <param name="Jump">Where the redirect is to be written; 0 if it has no room there, and a handler on the fentry site is the way.</param>
/// <param name="Fentry">The fentry site, or 0.</param>
/// <param name="Bytes">What stands at <paramref name="Jump"/> now.</param>
public sealed record RunFunction(string Name, ulong Start, ulong End, ulong Jump, ulong Fentry, ImmutableArray<byte> Bytes);

/// <summary>Text that no thread may be in.</summary>
/// <param name="Name">The function or piece.</param>
/// <param name="Start">First byte.</param>
/// <param name="End">One past the last byte.</param>
/// <param name="EndsInCall">True if <paramref name="End"/> may be a return address (K13).</param>
public sealed record RunRange(string Name, ulong Start, ulong End, bool EndsInCall);

/// <summary>What a match found out.</summary>
/// <param name="Failure">Null when everything was found.</param>
/// <param name="Exports">Values by export index; empty after a failure.</param>
/// <param name="Functions">By redirect index; empty after a failure.</param>
/// <param name="Ranges">All replaced text; empty after a failure.</param>
public sealed record MatchResult(
    MatchFailure? Failure,
    ImmutableArray<ulong> Exports,
    ImmutableArray<RunFunction> Functions,
    ImmutableArray<RunRange> Ranges
)
{
    /// <summary>True when everything was found.</summary>
    public bool IsMatch => Failure is null;
}

/// <summary>Something that a match found and compared.</summary>
internal readonly record struct ComparedRange(ulong Start, ulong End, bool IsCode);
