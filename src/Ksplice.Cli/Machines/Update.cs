// SPDX-License-Identifier: MIT
// An update as the core module shows it: a directory in sysfs (docs/design.md, "sysfs"). Every property is read from
// the kernel when it is asked for.
using System.Globalization;

namespace Ksplice.Cli.Machines;

/// <summary>
/// A replaced function: its name, where it was and where its code is now, whose it is, and how calls are led on, as the kernel prints them.
/// Older cores don't tell the last.
/// </summary>
public sealed record FunctionState(string Name, string OldAddress, string NewAddress, string Target, string? Way)
{
    /// <summary>True if the function tracer leads calls on, and not a jump.</summary>
    public bool NeedsTracer => Way == "tracer";
}

/// <summary>What an update changes, <c>vmlinux</c> or a module, and how far its modules are.</summary>
public sealed record TargetState(string Name, string State)
{
    /// <summary>True if it is a module that is changed when it is loaded.</summary>
    public bool IsWaiting => State == "waiting";
}

/// <summary>An update that the core module knows.</summary>
public sealed class Update(Machine machine, string directory)
{
    public const string Preparing = "preparing",
        Applied = "applied",
        Reversed = "reversed";

    /// <summary>What is asked for to have it applied in the place of all that are.</summary>
    public const string Replacing = "replacing";

    public string Id { get; } = Path.GetFileName(directory);

    /// <summary>Where it is in sysfs.</summary>
    public string Directory => directory;

    public string Stage => Read("stage");

    public bool IsBusy => Read("busy") == "1";

    public string AbortCause => Read("abort_cause");

    public string Reason => Read("reason");

    /// <summary>The threads that were in the way: name, thread id, function, address.</summary>
    public IReadOnlyList<string> Conflicts => Lines("conflicts");

    /// <summary>The same, behind each where the thread is now.</summary>
    public IReadOnlyList<string> ConflictsWithStacks =>
        [.. Conflicts.SelectMany(conflict => Stack(conflict).Select(function => "    " + function).Prepend(conflict))];

    // A thread's name may have blanks.
    private IReadOnlyList<string> Stack(string conflict) =>
        conflict.Split(' ') is { Length: > 3 } words
        && int.TryParse(words[^3], NumberStyles.None, CultureInfo.InvariantCulture, out int thread)
            ? machine.StackOf(thread)
            : [];

    public int Tries => (int)Number("tries");

    public int MaxTries => (int)Number("max_tries");

    public int RetryMilliseconds => (int)Number("retry_ms");

    public long PauseNanoseconds => Number("pause_ns");

    public IReadOnlyList<FunctionState> Functions =>
        [.. Table("functions", 4).Select(words => new FunctionState(words[0], words[1], words[2], words[3], words.ElementAtOrDefault(4)))];

    /// <summary>
    /// The functions of an applied update that a livepatch which came later leads away from it; null if the core does not tell.
    /// </summary>
    public IReadOnlyList<string>? Overridden => File.Exists(Path.Combine(directory, "overridden")) ? Lines("overridden") : null;

    public IReadOnlyList<TargetState> Targets => [.. Table("targets", 2).Select(words => new TargetState(words[0], words[1]))];

    /// <summary>What the kernel lets this user see of it.</summary>
    public UpdateState Look() =>
        new(Id)
        {
            Stage = Machine.Allowed(() => Stage),
            IsBusy = Machine.Allowed<bool?>(() => IsBusy),
            AbortCause = Machine.Allowed(() => AbortCause),
            Reason = Machine.Allowed(() => Reason),
            Conflicts = Machine.Allowed(() => Conflicts),
            Tries = Machine.Allowed<int?>(() => Tries),
            MaxTries = Machine.Allowed<int?>(() => MaxTries),
            RetryMilliseconds = Machine.Allowed<int?>(() => RetryMilliseconds),
            PauseNanoseconds = Machine.Allowed<long?>(() => PauseNanoseconds),
            Targets = Machine.Allowed(() => Targets),
            Functions = Machine.Allowed(() => Functions),
            Overridden = Machine.Allowed(() => Overridden),
            Package = machine.Applied.Find(Id) ?? machine.Enabled.Find(Id),
        };

    /// <summary>False once the core module has dropped it.</summary>
    public bool Exists => System.IO.Directory.Exists(directory);

    /// <summary>Asks the core for another stage; it works on its own thread and this returns at once.</summary>
    public void Ask(string stage)
    {
        try
        {
            machine.Write(Path.Combine(directory, "stage"), stage + "\n");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw NotTaken(stage, e.Message);
        }
    }

    /// <summary>The core takes no request.</summary>
    public CommandException NotTaken(string stage, string why) =>
        new(ExitCode.Unexpected, $"the kernel does not take the request to make update {Id} {stage}", why);

    private string Read(string file) => machine.Read(Path.Combine(directory, file));

    private string[] Lines(string file) => Read(file).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);

    private IEnumerable<string[]> Table(string file, int columns) =>
        Lines(file)
            .Select(line => line.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries))
            .Where(words => words.Length >= columns);

    private long Number(string file) =>
        long.TryParse(Read(file), NumberStyles.Integer, CultureInfo.InvariantCulture, out var value) ? value : 0;
}
