// SPDX-License-Identifier: MIT
// ksplice enable, disable, restore: which updates are applied at every boot, and applying them.
using Ksplice.Cli.Machines;
using Ksplice.Cli.Packages;
using Spectre.Console;

namespace Ksplice.Cli.Commands;

/// <summary>Updates that outlast a reboot.</summary>
public static class EnableCommand
{
    /// <summary>Stores a package; applies nothing.</summary>
    public static async Task EnableAsync(Session session, string path, CancellationToken cancellation)
    {
        session.RequireRoot();
        var package = PackageFile.Open(path, session.Machine.Trusted);
        using var guard = await session.LockAsync(cancellation);
        var isNew = session.Machine.Enabled.Add(package, Environment.ProcessPath ?? "ksplice");
        string applied = isNew ? "will be applied" : "is applied";
        session.Out.MarkupLineInterpolated(
            $"update [bold]{package.Manifest.Id}[/] {applied} at every boot of {package.Manifest.Kernel.Release}"
        );
    }

    /// <summary>Forgets a package; undoes nothing.</summary>
    public static async Task DisableAsync(Session session, string id, CancellationToken cancellation)
    {
        session.RequireRoot();
        using var guard = await session.LockAsync(cancellation);
        if (!session.Machine.Enabled.Remove(id))
            throw new CommandException(ExitCode.Unknown, $"update {id} is not applied at boot");
        session.Out.MarkupLineInterpolated($"update [bold]{id}[/] is not applied at boot any more");
    }

    /// <summary>
    /// Applies all that are stored for this kernel, in order; one that fails stops none of the others. Where the core is kept out nothing
    /// is applied, and that is no failure.
    /// </summary>
    public static async Task<int> RestoreAsync(Session session, CancellationToken cancellation)
    {
        session.RequireRoot();
        var worst = session.Resumption?.Restoring is { } position ? position.Worst : ExitCode.Ok;
        var first = session.Resumption?.Restoring?.Entry;
        foreach (var update in session.Machine.Enabled.All.SkipWhile(update => string.CompareOrdinal(update.Entry, first) < 0))
        {
            session.Restoring = new RestorePosition(update.Entry, worst);
            try
            {
                if (session.Resumption is { Point: not WaitPoint.Lock })
                {
                    await ApplyCommand.RunAsync(session, update.Folder, replace: false, TimeSpan.Zero, cancellation);
                    continue;
                }

                if (PackageFile.Open(update.Folder, session.Machine.Trusted).Manifest is var manifest && manifest.Id != update.Id)
                    throw new CommandException(ExitCode.Damaged, $"{update.Folder} holds update {manifest.Id}");
                if (manifest.Kernel.Release != session.Machine.KernelRelease)
                {
                    session.Out.MarkupLineInterpolated($"update [bold]{update.Id}[/] is for kernel {manifest.Kernel.Release}: left out");
                    continue;
                }

                await ApplyCommand.RunAsync(session, update.Folder, replace: false, TimeSpan.Zero, cancellation);
            }
            catch (CommandException e) when (e.Code == ExitCode.KeptOut)
            {
                session.Out.MarkupLineInterpolated($"nothing is restored: {e.Message}");
                return (int)ExitCode.Ok;
            }
            catch (CommandException e)
            {
                worst = e.Code;
                session.Tell(e);
            }
        }

        return (int)worst;
    }
}
