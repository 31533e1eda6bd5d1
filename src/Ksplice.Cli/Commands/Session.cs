// SPDX-License-Identifier: MIT
// What the commands share: the machine they work on, where they write, and the steps that apply and undo both take.
using System.Diagnostics;
using System.Globalization;
using Ksplice.Build.Reporting;
using Ksplice.Cli.Machines;
using Spectre.Console;

namespace Ksplice.Cli.Commands;

/// <summary>A command's surroundings.</summary>
/// <param name="Machine">The machine.</param>
/// <param name="Out">Results.</param>
/// <param name="Error">Progress and errors.</param>
public sealed record Session(Machine Machine, IAnsiConsole Out, IAnsiConsole Error)
{
    private static readonly TimeSpan s_pollEvery = TimeSpan.FromMilliseconds(20);

    private const int NanosecondsInTick = 1_000_000_000 / (int)TimeSpan.TicksPerSecond;

    public const string CoreModule = "ksplice",
        NotUndone = "was not undone";

    /// <summary>What became of an update that the kernel refused.</summary>
    public string NotApplied { get; init; } = "was not applied";

    /// <summary>Time beyond the tries themselves that the core may take, hooks included.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(60);

    public void RequireRoot()
    {
        if (!Machine.IsRoot)
            throw new CommandException(ExitCode.NotRoot, "must be root: updates are kernel modules");
    }

    /// <summary>Where the command goes on; null at its start, and once that place is reached.</summary>
    public Resumption? Resumption { get; set; }

    /// <summary>Where restore is.</summary>
    public RestorePosition? Restoring { get; set; }

    /// <summary>Where <c>undo --all</c> is.</summary>
    public UndoPosition? Undoing { get; set; }

    /// <summary>Where <c>apply --replace</c> is; null for a mere <c>apply</c>.</summary>
    public ReplacePosition? Replacing { get; set; }

    /// <summary>When a command that began now has waited for so long.</summary>
    public long Until(TimeSpan wait) => Resumption is { Point: not WaitPoint.Lock } resumption ? resumption.Until : After(wait);

    private static long After(TimeSpan time) => Stopwatch.GetTimestamp() + (time.Ticks * NanosecondsInTick);

    private static TimeSpan Left(long until) => TimeSpan.FromTicks((until - Stopwatch.GetTimestamp()) / NanosecondsInTick);

    /// <summary>Waits for any other ksplice command that changes the kernel to end.</summary>
    public async Task<LockFile> LockAsync(CancellationToken cancellation)
    {
        LockFile file;
        if (Resumption is { } resumption)
        {
            file = LockFile.Adopt(resumption.Lock);
            if (resumption.Point == WaitPoint.Lock)
                Reached(resumption);
        }
        else
        {
            file = LockFile.Open(Machine.LockPath);
        }

        if (file.TryTake())
            return file;
        Error.MarkupLine("waiting for another ksplice command to end");
        await WaitAsync(WaitPoint.Lock, Wait.ForLock, file, null, long.MaxValue, 0, [], cancellation);
        while (!file.TryTake())
            await Task.Delay(s_pollEvery, cancellation);
        return file;
    }

    /// <summary>Waits for the core to end what it is at; throws if it still works at <paramref name="until"/>.</summary>
    public async Task IdleAsync(
        Update update,
        LockFile file,
        long until,
        IReadOnlyCollection<string> loaded,
        CancellationToken cancellation
    )
    {
        if (Resumption is { Point: WaitPoint.Request })
            return;
        if (Resumption is { } resumption)
        {
            Reached(resumption);
        }
        else if (update.IsBusy && Left(until) > TimeSpan.Zero)
        {
            Error.MarkupLineInterpolated($"waiting for the kernel, which is at work on update {update.Id}");
            await WaitAsync(WaitPoint.Idle, Wait.ForIdle, file, update, until, until, loaded, cancellation);
            while (update.IsBusy && Left(until) > TimeSpan.Zero)
                await Task.Delay(s_pollEvery, cancellation);
        }

        if (update.IsBusy)
            throw AtWork(update);
    }

    /// <summary>The core works on somebody else's request.</summary>
    public static CommandException AtWork(Update update) =>
        new(ExitCode.WrongStage, $"the kernel is at work on update {update.Id}; see 'ksplice view {update.Id}'");

    /// <summary>
    /// Asks for a stage and waits until the core is done, showing each try; throws unless the stage is reached. Until
    /// <paramref name="until"/> it asks again where threads were in the code, and lets the core end what it is at.
    /// </summary>
    public async Task ReachAsync(
        Update update,
        string stage,
        LockFile file,
        long until,
        IReadOnlyCollection<string> loaded,
        CancellationToken cancellation
    )
    {
        await IdleAsync(update, file, until, loaded, cancellation);
        var request = Replacing is null ? stage : Update.Replacing;
        while (Resumption is not null || update.Stage != stage)
        {
            if (Resumption is { } resumption)
            {
                Reached(resumption);
                if (int.TryParse(resumption.End, NumberStyles.None, CultureInfo.InvariantCulture, out var error))
                    throw update.NotTaken(stage, Machine.Describe(error));
                if (update.IsBusy)
                    throw StillAtWork(update);
            }
            else
            {
                var patience = Patience + TimeSpan.FromMilliseconds((double)update.MaxTries * update.RetryMilliseconds);
                await WaitAsync(WaitPoint.Request, request, file, update, After(patience), until, loaded, cancellation);
                update.Ask(request);
                await EndAsync(update, patience, cancellation);
            }

            if (update.Stage == stage)
                return;
            var failure = Failure(update, stage == Update.Applied ? NotApplied : NotUndone);
            var left = Left(until);
            if (failure.Code != ExitCode.Busy || left <= TimeSpan.Zero)
                throw failure;
            Error.MarkupLineInterpolated(
                CultureInfo.InvariantCulture,
                $"in use by {update.Conflicts.FirstOrDefault("a thread")}; trying for another {Math.Ceiling(left.TotalSeconds):F0} s"
            );
            await Task.Delay(TimeSpan.FromMilliseconds(Math.Min(update.RetryMilliseconds, left.TotalMilliseconds)), cancellation);
        }
    }

    /// <summary>
    /// K30: has the process wait as a program that is in no update's way. This ends only where that cannot be; then the caller waits, and
    /// its own threads may be in the way.
    /// </summary>
    private async Task WaitAsync(
        WaitPoint point,
        string what,
        LockFile file,
        Update? update,
        long giveUp,
        long until,
        IReadOnlyCollection<string> loaded,
        CancellationToken cancellation
    )
    {
        cancellation.ThrowIfCancellationRequested();
        var descriptor = file.PassOn();
        Resumption state = new(point, descriptor, update?.Id, until, [.. loaded], Restoring, Undoing, Replacing);
        foreach (var console in (IAnsiConsole[])[Out, Error])
            console.Profile.Out.Writer.Flush();
        var error = await Machine.BecomeWaiterAsync(new Wait(what, update?.Directory ?? "-", giveUp, descriptor), state.ToJson());
        file.TakeBack(descriptor);
        Error.MarkupLineInterpolated(
            $"[yellow]ksplice: warning:[/] the command waits as it is, and may be in the update's way itself: {Machine.Describe(error)}"
        );
    }

    /// <summary>The command is where it was before the wait.</summary>
    private void Reached(Resumption resumption)
    {
        Resumption = null;
        if (resumption.End == "interrupted")
            throw new OperationCanceledException();
    }

    private async Task EndAsync(Update update, TimeSpan patience, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var shown = 1;
        while (update.IsBusy)
        {
            var (tries, most) = (update.Tries, update.MaxTries);
            if (tries > shown)
            {
                Error.MarkupLineInterpolated(CultureInfo.InvariantCulture, $"try {tries} of {most}: the code was in use");
                shown = tries;
            }

            if (clock.Elapsed > patience)
                throw StillAtWork(update);
            await Task.Delay(s_pollEvery, cancellation);
        }
    }

    private static CommandException StillAtWork(Update update) =>
        new(
            ExitCode.Unexpected,
            $"the kernel is still at work on update {update.Id}, beyond all its tries",
            "its modules stay loaded; see 'ksplice view' and the kernel's log"
        );

    /// <summary>Why the core refused, from its own words.</summary>
    public static CommandException Failure(Update update, string what)
    {
        var cause = update.AbortCause;
        var reason = update.Reason;
        if (cause == "code_busy")
        {
            return new CommandException(
                ExitCode.Busy,
                $"update {update.Id} {what}: code_busy, after {Words.Count(update.Tries, "try", "tries")}",
                [reason, .. update.ConflictsWithStacks]
            );
        }

        return new CommandException(
            cause is "ok" or "" or "unexpected" ? ExitCode.Unexpected : ExitCode.Refused,
            $"update {update.Id} {what}: {cause}",
            reason
        );
    }

    /// <summary>Tells an error as every command does.</summary>
    public void Tell(CommandException problem)
    {
        Error.MarkupLineInterpolated($"[red]ksplice: error:[/] {problem.Message}");
        foreach (var detail in problem.Details.Where(detail => detail.Length > 0))
            Error.MarkupLineInterpolated($"  {detail}");
    }

    /// <summary>Unloads the core if no update is left that needs it.</summary>
    public void UnloadIdleCore()
    {
        if (Machine.IsLoaded(CoreModule) && !Machine.Updates().Any(update => Machine.ModulesOf(update.Id).Count > 0))
            Machine.Unload(CoreModule); // in use after all: then it stays
    }
}
