// SPDX-License-Identifier: MIT
// ksplice undo: the redirects go first, then the modules, last loaded first, each as far as it is safe. What has addresses that may
// outlive the undo stays loaded, a primary or the data module: the core holds on to it and the kernel refuses to unload it.
using System.Globalization;
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
        var machine = session.Machine;
        using var guard = await session.LockAsync(cancellation);
        var update = machine.Find(id) ?? throw new CommandException(ExitCode.Unknown, $"no update {id} is loaded", Known(machine));
        var until = session.Until(wait);
        await session.IdleAsync(update, guard, until, [], cancellation);
        if (update.Stage == Update.Preparing)
        {
            // An apply that was killed left it half loaded; nothing of the kernel is changed.
            session.Out.MarkupLineInterpolated($"update [bold]{id}[/] was loaded and not applied");
            Unload(session, id);
            session.UnloadIdleCore();
            return;
        }

        if (update.Stage != Update.Applied && session.Resumption is null)
            throw new CommandException(ExitCode.WrongStage, $"update {id} is not applied: it is {update.Stage}");

        await session.ReachAsync(update, Update.Reversed, guard, until, [], cancellation);
        session.Out.MarkupLine(
            string.Create(
                CultureInfo.InvariantCulture,
                $"update [bold]{Markup.Escape(id)}[/] undone, "
                    + $"the machine stood still for {Session.Pause(update).ToString(CultureInfo.InvariantCulture)}"
            )
        );

        Unload(session, id);
        session.UnloadIdleCore();
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
    }

    private static string Known(Machine machine) =>
        machine.Updates() is { Count: > 0 } updates ? "loaded: " + string.Join(", ", updates.Select(u => u.Id)) : "none is loaded at all";
}
