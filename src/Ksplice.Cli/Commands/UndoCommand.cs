// SPDX-License-Identifier: MIT
// ksplice undo: the redirects go first, then the modules, last loaded first, each as far as it is safe. What has addresses that may
// outlive the undo stays loaded, a primary or the data module: the core holds on to it and the kernel refuses to unload it.
using Ksplice.Cli.Machines;
using Spectre.Console;

namespace Ksplice.Cli.Commands;

/// <summary>Takes an update off again.</summary>
public static class UndoCommand
{
    private const int InUse = 11;
    private const string Primary = "_primary",
        Helper = "_helper";

    public static async Task RunAsync(Session session, string id, TimeSpan wait, CancellationToken cancellation)
    {
        session.RequireRoot();
        using var guard = await session.LockAsync(cancellation);
        var update = session.Machine.Find(id)
            ?? throw new CommandException(ExitCode.Unknown, $"no update {id} is loaded", Known(session.Machine));
        await UndoAsync(session, update, guard, session.Until(wait), cancellation);
    }

    /// <summary>
    /// Takes all updates off. One on which another stands is refused until that one is off, so each that goes gives those that were refused
    /// another chance. What stays at the end is told with the core's reason; the exit code is that of the last one told.
    /// </summary>
    public static async Task<int> AllAsync(Session session, TimeSpan wait, CancellationToken cancellation)
    {
        session.RequireRoot();
        using var guard = await session.LockAsync(cancellation);
        var until = session.Until(wait);
        List<string> refused = [.. session.Resumption?.Undoing?.Refused ?? []];
        if (session.Resumption is null && !session.Machine.Updates().Any(IsToGo))
            session.Out.MarkupLine("no updates are applied");
        while (Next(session, refused) is { } update)
        {
            session.Undoing = new UndoPosition([.. refused]);
            try
            {
                await UndoAsync(session, update, guard, until, cancellation);
                refused.Clear();
            }
            catch (CommandException problem) when (problem.Code is ExitCode.Refused or ExitCode.Busy or ExitCode.WrongStage)
            {
                refused.Add(update.Id);
            }
        }

        var worst = ExitCode.Ok;
        foreach (var update in refused.Select(session.Machine.Find).OfType<Update>())
        {
            var problem = update.IsBusy ? Session.AtWork(update) : Session.Failure(update, Session.NotUndone);
            session.Tell(problem);
            worst = problem.Code;
        }

        return (int)worst;
    }

    private static bool IsToGo(Update update) => update.Stage is Update.Applied or Update.Preparing;

    // A command that was the waiter goes on with the update that it waited for, whatever its stage is now.
    private static Update? Next(Session session, List<string> refused) =>
        session.Resumption?.Id is { } id
            ? session.Machine.Find(id)
            : session.Machine.Updates().FirstOrDefault(update => !refused.Contains(update.Id) && IsToGo(update));

    private static async Task UndoAsync(Session session, Update update, LockFile guard, long until, CancellationToken cancellation)
    {
        var id = update.Id;
        await session.IdleAsync(update, guard, until, [], cancellation);
        if (update.Stage == Update.Preparing)
        {
            // An apply that was killed left it half loaded; nothing of the kernel is changed.
            session.Out.MarkupLineInterpolated($"update [bold]{id}[/] was loaded and not applied");
            Unload(session, id);
            return;
        }

        if (update.Stage != Update.Applied && session.Resumption is null)
            throw new CommandException(ExitCode.WrongStage, $"update {id} is not applied: it is {update.Stage}");

        await session.ReachAsync(update, Update.Reversed, guard, until, [], cancellation);
        session.Out.MarkupLine($"update [bold]{Markup.Escape(id)}[/] undone, the machine stood still for {update.Look().Pause}");
        TakeOut(session, id);
    }

    /// <summary>
    /// Unloads updates that are not in place any more. One may hold modules of another: as long as some go, the others get another chance.
    /// What is left at the end is told.
    /// </summary>
    internal static void TakeOut(Session session, IReadOnlyList<string> ids)
    {
        var machine = session.Machine;
        while (ids.Sum(id => machine.ModulesOf(id).Reverse().Count(module => machine.Unload(module) == 0)) != 0)
            continue;
        foreach (var id in ids)
            TakeOut(session, id);
    }

    // As far as that is safe; says what is left of it.
    private static void TakeOut(Session session, string id)
    {
        Unload(session, id);
        if (session.Machine.Enabled.All.Any(enabled => enabled.Id == id))
            session.Out.MarkupLineInterpolated(
                $"  update {id} is still enabled and comes back at the next boot; 'ksplice disable {id}' ends that"
            );
    }

    /// <summary>Every target by itself: where a primary stays, its helper has to.</summary>
    private static void Unload(Session session, string id)
    {
        HashSet<string> staying = [];
        var modules = session.Machine.ModulesOf(id).Reverse().ToLookup(module => module.EndsWith(Primary, StringComparison.Ordinal));
        var data = session.Machine.DataOf(id)?.Module;
        foreach (var module in modules[true].Concat(data is null ? [] : [data]).Concat(modules[false]))
        {
            var isPrimary = module.EndsWith(Primary, StringComparison.Ordinal);
            if (!isPrimary && module != data && staying.Contains(module[..^Helper.Length]))
            {
                session.Out.MarkupLineInterpolated($"  {module} stays loaded with it");
                continue;
            }

            if (session.Machine.Unload(module) is not (var error and not 0))
                continue;
            if (isPrimary)
                staying.Add(module[..^Primary.Length]);
            var why =
                error != InUse ? Machine.Describe(error)
                : session.Machine.IsUsedByModule(module) ? "another module uses it"
                : isPrimary || module == data ? "the kernel may still hold addresses in it"
                : "another module uses it";
            session.Out.MarkupLineInterpolated($"  {module} stays loaded: {why}");
        }

        if (session.Machine.ModulesOf(id).Count == 0)
            session.Machine.Applied.Remove(id);
        session.UnloadIdleCore();
    }

    private static string Known(Machine machine) =>
        machine.Updates() is { Count: > 0 } updates ? "loaded: " + string.Join(", ", updates.Select(u => u.Id)) : "no updates are loaded";
}
