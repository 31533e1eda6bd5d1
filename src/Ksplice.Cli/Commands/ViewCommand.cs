// SPDX-License-Identifier: MIT
// ksplice view: what the core module shows, for people as a table, for programs as JSON.
using System.Globalization;
using System.Text.Json;
using Ksplice.Cli.Machines;
using Spectre.Console;

namespace Ksplice.Cli.Commands;

/// <summary>Shows one update or all.</summary>
public static class ViewCommand
{
    public static void Run(Session session, string? id, bool json)
    {
        var machine = session.Machine;
        IReadOnlyList<Update> updates = id is null
            ? machine.Updates()
            : [machine.Find(id) ?? throw new CommandException(ExitCode.Unknown, $"no update {id} is loaded")];
        if (json)
            session.Out.Profile.Out.Writer.WriteLine(Json(updates));
        else if (id is not null)
            Show(session.Out, updates[0]);
        else
            List(session.Out, updates);
    }

    private static void List(IAnsiConsole console, IReadOnlyList<Update> updates)
    {
        if (updates.Count == 0)
        {
            console.MarkupLine("no updates are loaded");
            return;
        }

        var table = new Table().Border(TableBorder.None).AddColumns("id", "stage", "functions", "pause", "last request");
        foreach (var update in updates)
        {
            table.AddRow(
                Markup.Escape(update.Id),
                Markup.Escape(update.Stage),
                update.Functions.Count.ToString(CultureInfo.InvariantCulture),
                PauseText(update),
                Markup.Escape(update.AbortCause)
            );
        }

        console.Write(table);
    }

    private static void Show(IAnsiConsole console, Update update)
    {
        console.MarkupLineInterpolated($"id:        {update.Id}");
        console.MarkupLineInterpolated($"stage:     {update.Stage}{(update.IsBusy ? ", the kernel is at work on it" : "")}");
        console.MarkupLineInterpolated($"pause:     {PauseText(update)}");
        console.MarkupLineInterpolated(
            CultureInfo.InvariantCulture,
            $"tries:     {update.Tries} of {update.MaxTries}, {update.RetryMilliseconds} ms apart"
        );
        if (update.AbortCause is var cause and not "ok")
            console.MarkupLineInterpolated($"failed:    {cause}: {update.Reason}");
        foreach (var conflict in update.Conflicts)
            console.MarkupLineInterpolated($"in use by: {conflict}");
        foreach (var target in update.Targets)
            console.MarkupLineInterpolated($"target:    {target.Name} {target.State}");
        foreach (var function in update.Functions)
        {
            string way = function.NeedsTracer ? ", through the function tracer" : "";
            console.MarkupLineInterpolated(
                $"function:  {function.Name} {function.OldAddress} -> {function.NewAddress} ({function.Target}{way})"
            );
        }
        foreach (var trouble in Troubles(update))
            console.MarkupLineInterpolated($"NOT IN FORCE: {trouble}");
    }

    /// <summary>What keeps new code of an applied update from running, a sentence each.</summary>
    internal static IEnumerable<string> Troubles(Update update) =>
        update.Stage != Update.Applied
            ? []
            : (update.Overridden ?? []).Select(function => $"{function} is overridden by a livepatch that came later");

    private static string PauseText(Update update) => Session.Pause(update).ToString(CultureInfo.InvariantCulture);

    private static string Json(IReadOnlyList<Update> updates) =>
        JsonText.Write(writer =>
        {
            writer.WriteStartArray();
            foreach (var update in updates)
                Write(writer, update);
            writer.WriteEndArray();
        });

    /// <summary>Writes an update as an object.</summary>
    internal static void Write(Utf8JsonWriter writer, Update update)
    {
        writer.WriteStartObject();
        writer.WriteString("id", update.Id);
        writer.WriteString("stage", update.Stage);
        writer.WriteBoolean("busy", update.IsBusy);
        writer.WriteString("abortCause", update.AbortCause);
        writer.WriteString("reason", update.Reason);
        writer.WriteNumber("tries", update.Tries);
        writer.WriteNumber("pauseNanoseconds", update.PauseNanoseconds);
        writer.WriteStartArray("conflicts");
        foreach (var conflict in update.Conflicts)
            writer.WriteStringValue(conflict);
        writer.WriteEndArray();
        writer.WriteStartArray("targets");
        foreach (var target in update.Targets)
        {
            writer.WriteStartObject();
            writer.WriteString("name", target.Name);
            writer.WriteString("state", target.State);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        writer.WriteStartArray("functions");
        foreach (var function in update.Functions)
        {
            writer.WriteStartObject();
            writer.WriteString("name", function.Name);
            writer.WriteString("oldAddress", function.OldAddress);
            writer.WriteString("newAddress", function.NewAddress);
            writer.WriteString("target", function.Target);
            if (function.Way is { } way)
                writer.WriteString("way", way);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
        if (update.Overridden is { } overridden)
            WriteNames(writer, "overridden", overridden);
        writer.WriteEndObject();
    }

    private static void WriteNames(Utf8JsonWriter writer, string property, IEnumerable<string> names)
    {
        writer.WriteStartArray(property);
        foreach (var name in names)
            writer.WriteStringValue(name);
        writer.WriteEndArray();
    }
}
