// ksplice undo: the redirects go first, then the modules, last loaded first, each as far as it is safe. The primary of an update whose
// addresses may outlive the undo stays loaded: the core holds on to it and the kernel refuses to unload it.
using System.Globalization;
using Ksplice.Cli.Machines;
using Spectre.Console;

namespace Ksplice.Cli.Commands;

/// <summary>Takes an update off again.</summary>
public static class UndoCommand
{
    private const int InUse = 11;

    public static async Task RunAsync(Session session, string id, CancellationToken cancellation)
    {
        session.RequireRoot();
        var machine = session.Machine;
        using var guard = await session.LockAsync(cancellation);
        var update = machine.Find(id) ?? throw new CommandException(ExitCode.Unknown, $"no update {id} is loaded", Known(machine));
        if (update.Stage != Update.Applied)
            throw new CommandException(ExitCode.WrongStage, $"update {id} is not applied: it is {update.Stage}");

        await session.ReachAsync(update, Update.Reversed, cancellation);
        session.Out.MarkupLine(string.Create(
            CultureInfo.InvariantCulture,
            $"update [bold]{Markup.Escape(id)}[/] undone, the machine stood still for {Session.Pause(update).ToString(CultureInfo.InvariantCulture)}"));

        foreach (var module in machine.ModulesOf(id).Reverse())
        {
            if (machine.Unload(module) is var error and not 0)
            {
                session.Out.MarkupLineInterpolated($"  {module} stays loaded: {(error == InUse ? "the kernel may still hold addresses in it" : Machine.Describe(error))}");
                return;
            }
        }

        session.UnloadIdleCore();
    }

    private static string Known(Machine machine) => machine.Updates() is { Count: > 0 } updates
        ? "loaded: " + string.Join(", ", updates.Select(u => u.Id))
        : "none is loaded at all";
}
