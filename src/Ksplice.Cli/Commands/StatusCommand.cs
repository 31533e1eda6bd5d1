// SPDX-License-Identifier: MIT
// ksplice status: is this machine as it should be? For monitoring: one line for each thing, or JSON, and an exit code.
using System.Text.Json;
using Ksplice.Cli.Machines;
using Spectre.Console;

namespace Ksplice.Cli.Commands;

/// <summary>Compares what is loaded with what is to be applied at boot.</summary>
public static class StatusCommand
{
    /// <summary>
    /// Prints the state; <see cref="ExitCode.Refused"/> if an update that is enabled for the running kernel is not applied, or
    /// one that is applied is not in force.
    /// </summary>
    public static ExitCode Run(Session session, bool json)
    {
        session.RequireRoot();
        var machine = session.Machine;
        var updates = machine.Updates();
        EnabledState[] enabled = [.. machine.Enabled.All.Select(update => State(machine, update))];
        if (json)
            session.Out.Profile.Out.Writer.WriteLine(Json(machine, updates, enabled));
        else
            Show(session, updates, enabled);
        return enabled.Any(update => update.IsMissing) || updates.Any(update => ViewCommand.Troubles(update).Any())
            ? ExitCode.Refused
            : ExitCode.Ok;
    }

    private static EnabledState State(Machine machine, EnabledUpdate update)
    {
        var release = update.Release;
        var isMissing = (release is null || release == machine.KernelRelease) && machine.Find(update.Id) is not { Stage: Update.Applied };
        return new EnabledState(update.Id, release, isMissing);
    }

    private static void Show(Session session, IReadOnlyList<Update> updates, EnabledState[] enabled)
    {
        var (console, machine) = (session.Out, session.Machine);
        console.MarkupLineInterpolated($"kernel:     {machine.KernelRelease}");
        console.MarkupLineInterpolated($"core:       {(machine.IsLoaded(Session.CoreModule) ? "loaded" : "not loaded")}");
        console.MarkupLineInterpolated($"signatures: {(machine.Trusted.AreDemanded ? "demanded" : "not looked at")}");
        foreach (var update in updates)
        {
            string busy = update.IsBusy ? ", the kernel is at work on it" : "";
            string last = update.AbortCause == "ok" ? "" : ", last request: " + update.AbortCause;
            console.MarkupLineInterpolated($"update:     {update.Id} {update.Stage}{busy}{last}");
            foreach (var target in update.Targets.Where(target => target.IsWaiting))
                console.MarkupLineInterpolated($"            waits for module {target.Name}");
            foreach (var trouble in ViewCommand.Troubles(update))
                console.MarkupLineInterpolated($"            NOT IN FORCE: {trouble}");
        }

        foreach (var data in machine.DataModules())
            console.MarkupLineInterpolated($"data:       {data.Module}, strings and constants that stay loaded after an undo");
        if (machine.Tracer == "dead")
            console.MarkupLine("tracer:     dead; what is applied through it stays in force, and its modules stay loaded after an undo");
        foreach (var (id, release, isMissing) in enabled)
            console.MarkupLineInterpolated(
                $"at boot:    {id} for {release ?? "a kernel that its damaged manifest does not tell"}{(isMissing ? ", NOT APPLIED" : "")}"
            );
    }

    private static string Json(Machine machine, IReadOnlyList<Update> updates, EnabledState[] enabled) =>
        JsonText.Write(writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("kernel", machine.KernelRelease);
            writer.WriteBoolean("coreLoaded", machine.IsLoaded(Session.CoreModule));
            writer.WriteBoolean("signaturesDemanded", machine.Trusted.AreDemanded);
            if (machine.Tracer is { } tracer)
                writer.WriteString("ftrace", tracer);
            writer.WriteStartArray("updates");
            foreach (var update in updates)
                ViewCommand.Write(writer, update);
            writer.WriteEndArray();
            writer.WriteStartArray("dataModules");
            foreach (var data in machine.DataModules())
            {
                writer.WriteStartObject();
                writer.WriteString("id", data.Id);
                writer.WriteString("module", data.Module);
                writer.WriteString("digest", data.Digest);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteStartArray("enabled");
            foreach (var (id, release, isMissing) in enabled)
            {
                writer.WriteStartObject();
                writer.WriteString("id", id);
                writer.WriteString("kernel", release);
                writer.WriteBoolean("missing", isMissing);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        });

    private sealed record EnabledState(string Id, string? Release, bool IsMissing);
}
