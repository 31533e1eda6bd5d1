// SPDX-License-Identifier: MIT
// ksplice apply: the core, the helpers of all targets, the data module and the primaries are loaded in this order, then the core is
// asked to apply. Matching happens while a helper loads. What was loaded here is taken out again when a later step fails.
using Ksplice.Build.Generation;
using Ksplice.Build.Reporting;
using Ksplice.Cli.Machines;
using Ksplice.Cli.Packages;
using Spectre.Console;

namespace Ksplice.Cli.Commands;

/// <summary>Applies the update of a package.</summary>
public static class ApplyCommand
{
    private const int Exists = 17,
        NotPermitted = 1,
        NoKey = 126,
        KeyRejected = 129,
        Canceled = 125,
        BadFormat = 8;

    /// <summary>Applies it; in the place of all that are applied if <paramref name="replace"/> says so.</summary>
    public static async Task RunAsync(Session session, string path, bool replace, TimeSpan wait, CancellationToken cancellation)
    {
        session.RequireRoot();
        if (session.Resumption is { Point: not WaitPoint.Lock } resumption)
        {
            session.Replacing = resumption.Replacing;
            await ResumeAsync(session, resumption, cancellation);
            return;
        }

        var machine = session.Machine;
        var package = PackageFile.Open(path, machine.Trusted);
        DemandKernel(machine, package.Manifest);
        using var guard = await session.LockAsync(cancellation);
        string[] others = [.. machine.Updates().Where(update => update.Stage == Update.Applied).Select(update => update.Id)];
        if (others.Contains(package.Manifest.Id))
        {
            if (replace && others.Length > 1)
                throw new CommandException(
                    ExitCode.WrongStage,
                    $"update {package.Manifest.Id} is applied already, and so are others: it cannot take their place",
                    [.. others.Where(id => id != package.Manifest.Id).Select(id => $"ksplice undo {id}")]
                );
            session.Out.MarkupLineInterpolated($"update [bold]{package.Manifest.Id}[/] is applied already: unchanged");
            return;
        }

        session.Replacing = replace ? new ReplacePosition(others) : null;
        var loaded = new Stack<string>();
        await OrTakeOutAsync(machine, package.Manifest.Id, loaded, async () =>
        {
            LoadCore(session, package, loaded);
            foreach (var target in package.Manifest.Targets)
                LoadHelper(session, package, target, loaded);
            LoadData(session, package, loaded);
            foreach (var target in package.Manifest.Targets)
                Load(session, package, Path.GetFileNameWithoutExtension(target.Primary), loaded);
            machine.Applied.Add(package);
            await RequestAsync(session, package.Manifest.Id, guard, session.Until(wait), loaded, cancellation);
        });
    }

    /// <summary>Matches the update as <see cref="RunAsync"/> does, by its helpers, and takes all out again.</summary>
    public static async Task CheckAsync(Session session, string path, CancellationToken cancellation)
    {
        session.RequireRoot();
        session = session with { NotApplied = "cannot be applied" };
        var machine = session.Machine;
        var package = PackageFile.Open(path, machine.Trusted);
        DemandKernel(machine, package.Manifest);
        using var guard = await session.LockAsync(cancellation);
        var id = package.Manifest.Id;
        if (machine.Find(id) is { Stage: Update.Applied })
        {
            session.Out.MarkupLineInterpolated($"update [bold]{id}[/] is applied already");
            return;
        }

        var loaded = new Stack<string>();
        await OrTakeOutAsync(machine, id, loaded, () =>
        {
            LoadCore(session, package, loaded);
            foreach (var target in package.Manifest.Targets)
                LoadHelper(session, package, target, loaded);
            var update = Loaded(machine, id);
            var functions = update.Functions;
            session.Out.MarkupLineInterpolated(
                $"update [bold]{id}[/] matches this kernel: {Words.Count(functions.Count, "function")} would be replaced"
            );
            foreach (var function in functions)
                session.Out.MarkupLineInterpolated($"  {function.Name} ({function.Target})");
            TellWaiting(session, update);
            return Task.CompletedTask;
        });
        if (TakeOut(machine, loaded) is { } left)
            session.Out.MarkupLineInterpolated($"  {left}");
    }

    private static void DemandKernel(Machine machine, UpdateManifest manifest)
    {
        if (manifest.Kernel.Release != machine.KernelRelease)
            throw new CommandException(
                ExitCode.WrongKernel,
                $"update {manifest.Id} is for kernel {manifest.Kernel.Release}, and {machine.KernelRelease} is running"
            );
    }

    private static Update Loaded(Machine machine, string id) =>
        machine.Find(id) ?? throw new CommandException(ExitCode.Unexpected, $"{machine.UpdatesDirectory}/{id} did not appear");

    // The request was made, from modules that are loaded: the package is not needed any more, and may be gone.
    private static async Task ResumeAsync(Session session, Resumption resumption, CancellationToken cancellation)
    {
        using var guard = await session.LockAsync(cancellation);
        Stack<string> loaded = new(resumption.Loaded);
        await OrTakeOutAsync(session.Machine, resumption.Id!, loaded, () =>
            RequestAsync(session, resumption.Id!, guard, resumption.Until, loaded, cancellation)
        );
    }

    private static async Task RequestAsync(
        Session session,
        string id,
        LockFile guard,
        long until,
        Stack<string> loaded,
        CancellationToken cancellation
    )
    {
        var update = Loaded(session.Machine, id);
        await session.ReachAsync(update, Update.Applied, guard, until, [.. loaded.Reverse()], cancellation);
        Report(session, update);
        UndoCommand.TakeOut(session, session.Replacing?.Ids ?? []);
    }

    private static async Task OrTakeOutAsync(Machine machine, string id, Stack<string> loaded, Func<Task> work)
    {
        try
        {
            await work();
        }
        catch (CommandException e) when (machine.Find(id) is not { IsBusy: true })
        {
            if (TakeOut(machine, loaded) is { } left)
                throw new CommandException(e.Code, e.Message, [.. e.Details, left]);
            if (machine.ModulesOf(id).Count == 0)
                machine.Applied.Remove(id);
            throw;
        }
    }

    // What could not be taken out, in a sentence; null if all could.
    private static string? TakeOut(Machine machine, Stack<string> loaded)
    {
        while (loaded.TryPop(out var module))
        {
            if (machine.IsLoaded(module) && machine.Unload(module) is var error and not 0)
                return $"{module} stays loaded: {Machine.Describe(error)}";
        }

        return null;
    }

    // Modules and core speak one version of their interface; the kernel's loader would only say that a symbol does not fit.
    private static void LoadCore(Session session, UpdatePackage package, Stack<string> loaded)
    {
        if (
            session.Machine.IsLoaded(Session.CoreModule)
            && session.Machine.VersionOf(Session.CoreModule) is var running
            && CoreVersion.Of(package.Module(Session.CoreModule)) is var brought
            && running != brought
        )
        {
            throw new CommandException(
                ExitCode.Refused,
                $"update {package.Manifest.Id} {session.NotApplied}: its modules are for a core of {Version(brought)}, "
                    + $"and the one that is loaded is of {Version(running)}",
                "'ksplice undo --all' takes off what is applied, and that core with it; then apply this update",
                "where a module of an undone update has to stay, that core stays too: enable this update, and reboot"
            );
        }

        Load(session, package, Session.CoreModule, loaded);
    }

    private static string Version(string? version) => version is null ? "an old version" : $"version {version}";

    private static void LoadHelper(Session session, UpdatePackage package, ManifestTarget target, Stack<string> loaded)
    {
        try
        {
            Load(session, package, Path.GetFileNameWithoutExtension(target.Helper), loaded, session.Replacing is null ? "" : "replace=1");
        }
        catch (CommandException) when (session.Machine.Find(package.Manifest.Id) is { AbortCause: "target_not_loaded" })
        {
            throw new CommandException(
                ExitCode.Refused,
                $"update {package.Manifest.Id} {session.NotApplied}: it changes module {target.Name}, which is not loaded",
                $"modprobe {target.Name}, then try again"
            );
        }
    }

    // One that an undo left is taken up, if it is this package's: the kernel may hold addresses in it, and the primaries bind to no other.
    private static void LoadData(Session session, UpdatePackage package, Stack<string> loaded)
    {
        if (package.Manifest.Data is not { } data)
            return;
        if (session.Machine.DataOf(package.Manifest.Id) is { } there && there.Digest != data.Digest)
        {
            throw new CommandException(
                ExitCode.Refused,
                $"update {package.Manifest.Id} was not applied: {there.Module} is loaded, and its content is not this package's",
                "it stays loaded until reboot; apply the package that it came with"
            );
        }

        Load(session, package, Path.GetFileNameWithoutExtension(data.Module), loaded);
    }

    private static void Load(Session session, UpdatePackage package, string module, Stack<string> loaded, string parameters = "")
    {
        var machine = session.Machine;
        if (machine.IsLoaded(module))
            return;
        var error = machine.Load(module, package.Module(module).Span, parameters);
        if (error == 0)
        {
            loaded.Push(module);
            return;
        }

        if (error == Exists && machine.IsLoaded(module))
            return;
        // A helper that did not match says why in sysfs.
        if (machine.Find(package.Manifest.Id) is { } update && update.AbortCause is not ("ok" or ""))
            throw Session.Failure(update, session.NotApplied);
        if (error == Canceled && module == Session.CoreModule)
            throw new CommandException(
                ExitCode.KeptOut,
                "the core is kept out: noksplice or ksplice.off is on the kernel's command line",
                "to apply updates, boot without this word"
            );
        throw new CommandException(
            ExitCode.Refused,
            $"the kernel does not load {module}.ko: {Machine.Describe(error)}",
            error switch
            {
                NotPermitted => "modules may be locked (kernel.modules_disabled), must be signed (lockdown), "
                    + "or this one is kept out (module_blacklist)",
                NoKey or KeyRejected =>
                    "this kernel loads signed modules only: build the update with UpdateSigningKey and UpdateSigningCertificate, "
                        + "a certificate that the kernel trusts",
                BadFormat => "it was built for another kernel, or is no module",
                _ => "see the kernel's log",
            }
        );
    }

    private static void Report(Session session, Update update)
    {
        var functions = update.Functions;
        var place = session.Replacing is { Ids: [_, ..] ids } ? $" in the place of {string.Join(", ", ids)}" : "";
        session.Out.MarkupLine(
            $"update [bold]{Markup.Escape(update.Id)}[/] applied{place}: {Words.Count(functions.Count, "function")} replaced, "
                + $"the machine stood still for {update.Look().Pause}"
        );
        foreach (var function in functions)
            session.Out.MarkupLineInterpolated($"  {function.Name} ({function.Target})");
        TellWaiting(session, update);
    }

    private static void TellWaiting(Session session, Update update)
    {
        foreach (var target in update.Targets.Where(target => target.IsWaiting))
            session.Out.MarkupLineInterpolated($"  {target.Name} is not loaded, and will be changed when it is");
    }
}
