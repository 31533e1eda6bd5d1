// SPDX-License-Identifier: MIT
// Where a command goes on after its process was the waiter (K30). The command starts again with the same arguments, and takes up what is
// here instead of doing it again: the lock that it has, the modules that it loaded, how long it may go on trying.
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Ksplice.Cli.Commands;

/// <summary>What a command may wait for.</summary>
public enum WaitPoint
{
    /// <summary>The lock: nothing is done yet.</summary>
    Lock,

    /// <summary>The core, which is at work on a request of somebody else's.</summary>
    Idle,

    /// <summary>The core, which is at work on the command's own request.</summary>
    Request,
}

/// <summary>How far a command is.</summary>
/// <param name="Point">What it waits for.</param>
/// <param name="Lock">The lock file's descriptor.</param>
/// <param name="Id">The update; null while it waits for the lock.</param>
/// <param name="Until">When it tries no more, as <see cref="Machines.Wait.Until"/>.</param>
/// <param name="Loaded">The modules that it loaded, in that order.</param>
/// <param name="Restoring">Where <c>restore</c> is.</param>
/// <param name="Undoing">Where <c>undo --all</c> is.</param>
/// <param name="Replacing">Where <c>apply --replace</c> is.</param>
public sealed record Resumption(
    WaitPoint Point,
    int Lock,
    string? Id,
    long Until,
    string[] Loaded,
    RestorePosition? Restoring,
    UndoPosition? Undoing,
    ReplacePosition? Replacing
)
{
    /// <summary>How the wait ended: the waiter's word.</summary>
    [JsonIgnore]
    public string End { get; init; } = "";

    public string ToJson() => JsonSerializer.Serialize(this, ResumptionContext.Default.Resumption);

    /// <summary>Null if it is not such a text.</summary>
    public static Resumption? FromJson(string state, string end)
    {
        try
        {
            return JsonSerializer.Deserialize(state, ResumptionContext.Default.Resumption) is { } found ? found with { End = end } : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }
}

/// <summary>Where <c>restore</c> is.</summary>
/// <param name="Entry">The stored update that it is at.</param>
/// <param name="Worst">What it will end with.</param>
public sealed record RestorePosition(string Entry, ExitCode Worst);

/// <summary>Where <c>undo --all</c> is.</summary>
/// <param name="Refused">The updates that could not be undone since the last one that could.</param>
public sealed record UndoPosition(string[] Refused);

/// <summary>Where <c>apply --replace</c> is.</summary>
/// <param name="Ids">The updates whose place the one that is asked for takes.</param>
public sealed record ReplacePosition(string[] Ids);

[JsonSerializable(typeof(Resumption))]
internal sealed partial class ResumptionContext : JsonSerializerContext;
