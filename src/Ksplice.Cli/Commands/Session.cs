// What the commands share: the machine they work on, where they write, and the steps that apply and undo both take.
using System.Diagnostics;
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

    public const string CoreModule = "ksplice";

    /// <summary>Time beyond the tries themselves that the core may take, hooks included.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(60);

    public void RequireRoot()
    {
        if (!Machine.IsRoot)
            throw new CommandException(ExitCode.NotRoot, "must be root: updates are kernel modules");
    }

    /// <summary>Waits for any other ksplice command that changes the kernel to end.</summary>
    public async Task<IDisposable> LockAsync(CancellationToken cancellation)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Machine.LockPath)!);
        for (var told = false; ; told = true)
        {
            try
            {
                return new FileStream(Machine.LockPath, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException)
            {
                if (!told)
                    Error.MarkupLine("waiting for another ksplice command to end");
            }

            await Task.Delay(s_pollEvery, cancellation);
        }
    }

    /// <summary>Waits for the core to end what it is at; throws if it still works when <paramref name="wait"/> is over.</summary>
    public async Task IdleAsync(Update update, TimeSpan wait, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        if (update.IsBusy && wait > TimeSpan.Zero)
        {
            Error.MarkupLineInterpolated($"waiting for the kernel, which is at work on update {update.Id}");
            while (update.IsBusy && clock.Elapsed < wait)
                await Task.Delay(s_pollEvery, cancellation);
        }

        if (update.IsBusy)
            throw new CommandException(ExitCode.WrongStage, $"the kernel is at work on update {update.Id}; see 'ksplice view {update.Id}'");
    }

    /// <summary>
    /// Asks for a stage and waits until the core is done, showing each try; throws unless the stage is reached. While
    /// <paramref name="wait"/> lasts it asks again where threads were in the code, and lets the core end what it is at.
    /// </summary>
    public async Task ReachAsync(Update update, string stage, TimeSpan wait, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        await IdleAsync(update, wait, cancellation);
        while (update.Stage != stage)
        {
            update.Ask(stage);
            await EndAsync(update, cancellation);
            if (update.Stage == stage)
                return;
            var failure = Failure(update, stage);
            var left = wait - clock.Elapsed;
            if (failure.Code != ExitCode.Busy || left <= TimeSpan.Zero)
                throw failure;
            Error.MarkupLineInterpolated($"in use by {update.Conflicts.FirstOrDefault("a thread")}; trying for another {Math.Ceiling(left.TotalSeconds):F0} s");
            await Task.Delay(TimeSpan.FromMilliseconds(Math.Min(update.RetryMilliseconds, left.TotalMilliseconds)), cancellation);
        }
    }

    private async Task EndAsync(Update update, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        var shown = 1;
        while (update.IsBusy)
        {
            var (tries, most) = (update.Tries, update.MaxTries);
            if (tries > shown)
            {
                Error.MarkupLineInterpolated($"try {tries} of {most}: the code was in use");
                shown = tries;
            }

            if (clock.Elapsed > Patience + TimeSpan.FromMilliseconds((double)most * update.RetryMilliseconds))
            {
                throw new CommandException(
                    ExitCode.Unexpected, $"the kernel is still at work on update {update.Id} after {clock.Elapsed.TotalSeconds:F0} s",
                    "its modules stay loaded; see 'ksplice view' and the kernel's log");
            }

            await Task.Delay(s_pollEvery, cancellation);
        }
    }

    /// <summary>Why the core refused, from its own words.</summary>
    public static CommandException Failure(Update update, string stage)
    {
        var cause = update.AbortCause;
        var reason = update.Reason;
        var what = stage == Update.Applied ? "applied" : "undone";
        if (cause == "code_busy")
        {
            return new CommandException(
                ExitCode.Busy, $"update {update.Id} was not {what}: code_busy, after {update.Tries} tries", [reason, .. update.ConflictsWithStacks]);
        }

        return new CommandException(
            cause is "ok" or "" or "unexpected" ? ExitCode.Unexpected : ExitCode.Refused, $"update {update.Id} was not {what}: {cause}", reason);
    }

    /// <summary>The time that the machine stood still, for people.</summary>
    public static FormattableString Pause(Update update) => $"{update.PauseNanoseconds / 1e6:F3} ms";

    /// <summary>Unloads the core if no update is left that needs it.</summary>
    public void UnloadIdleCore()
    {
        if (Machine.IsLoaded(CoreModule) && !Machine.Updates().Any(update => Machine.ModulesOf(update.Id).Count > 0))
            Machine.Unload(CoreModule); // in use after all: then it stays
    }
}
