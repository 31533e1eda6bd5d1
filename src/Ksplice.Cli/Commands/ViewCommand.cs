// SPDX-License-Identifier: MIT
// ksplice view: what the core module shows, for people as a table, for programs as JSON. Who is not root sees what the kernel lets them.
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
        UpdateState[] updates = id is null
            ? [.. machine.Updates().Select(update => update.Look())]
            : [machine.Find(id)?.Look() ?? throw new CommandException(ExitCode.Unknown, $"no update {id} is loaded")];
        if (json)
            session.Out.Profile.Out.Writer.WriteLine(Json(session, updates));
        else if (id is not null)
            Show(session, updates[0]);
        else
            List(session.Out, updates);
        if (!json && updates.Any(update => !update.IsWhole))
            session.Error.MarkupLine("the kernel shows root more of an update");
    }

    private static void List(IAnsiConsole console, UpdateState[] updates)
    {
        if (updates.Length == 0)
        {
            console.MarkupLine("no updates are loaded");
            return;
        }

        var table = new Table().Border(TableBorder.None).AddColumns("id", "stage", "functions", "pause", "last request", "name");
        foreach (var update in updates)
        {
            table.AddRow(
                Markup.Escape(update.Id),
                Markup.Escape(update.Stage ?? "-"),
                update.Functions?.Count.ToString(CultureInfo.InvariantCulture) ?? "-",
                update.Pause,
                Markup.Escape(update.AbortCause ?? "-"),
                Markup.Escape(update.Package?.Manifest.Name ?? "-")
            );
        }

        console.Write(table);
    }

    private static void Show(Session session, UpdateState update)
    {
        var console = session.Out;
        void Line(string name, string? text)
        {
            if (text is not null)
                console.MarkupLineInterpolated($"{name, -10} {text}");
        }

        Line("id:", update.Id);
        if (update.Package is { } package)
        {
            foreach (var (name, text) in InfoCommand.Identity(package.Manifest))
                Line(name + ":", text);
            Line("signature:", InfoCommand.Signature(session.Machine.Trusted.Judge(package)));
        }

        if (update.Stage is { } stage)
            Line("stage:", $"{stage}{(update.IsBusy == true ? ", the kernel is at work on it" : "")}");
        if (update.PauseNanoseconds is not null)
            Line("pause:", update.Pause);
        if (update.Tries is { } tries)
            Line(
                "tries:",
                update.MaxTries is { } most
                    ? string.Create(CultureInfo.InvariantCulture, $"{tries} of {most}, {update.RetryMilliseconds} ms apart")
                    : tries.ToString(CultureInfo.InvariantCulture)
            );
        if (update.AbortCause is { } cause and not "ok")
            Line("failed:", update.Reason is { } reason ? $"{cause}: {reason}" : cause);
        foreach (var conflict in update.Conflicts ?? [])
            Line("in use by:", conflict);
        foreach (var target in update.Targets ?? [])
            Line("target:", $"{target.Name} {target.State}");
        foreach (var function in update.Functions ?? [])
        {
            string way = function.NeedsTracer ? ", through the function tracer" : "";
            Line("function:", $"{function.Name} {function.OldAddress} -> {function.NewAddress} ({function.Target}{way})");
        }

        foreach (var trouble in update.Troubles)
            console.MarkupLineInterpolated($"NOT IN FORCE: {trouble}");
    }

    private static string Json(Session session, UpdateState[] updates) =>
        JsonText.Write(writer =>
        {
            writer.WriteStartArray();
            foreach (var update in updates)
                Write(writer, session, update);
            writer.WriteEndArray();
        });

    /// <summary>Writes an update as an object; what cannot be seen is left out.</summary>
    internal static void Write(Utf8JsonWriter writer, Session session, UpdateState update)
    {
        writer.WriteStartObject();
        writer.WriteString("id", update.Id);
        if (update.Package is { } package)
            InfoCommand.WriteIdentity(writer, package, session.Machine.Trusted);
        WriteText(writer, "stage", update.Stage);
        if (update.IsBusy is { } busy)
            writer.WriteBoolean("busy", busy);
        WriteText(writer, "abortCause", update.AbortCause);
        WriteText(writer, "reason", update.Reason);
        if (update.Tries is { } tries)
            writer.WriteNumber("tries", tries);
        if (update.PauseNanoseconds is { } pause)
            writer.WriteNumber("pauseNanoseconds", pause);
        JsonText.WriteNames(writer, "conflicts", update.Conflicts);
        if (update.Targets is { } targets)
            WriteTargets(writer, targets);
        if (update.Functions is { } functions)
            WriteFunctions(writer, functions);
        JsonText.WriteNames(writer, "overridden", update.Overridden);
        writer.WriteEndObject();
    }

    private static void WriteTargets(Utf8JsonWriter writer, IReadOnlyList<TargetState> targets)
    {
        writer.WriteStartArray("targets");
        foreach (var target in targets)
        {
            writer.WriteStartObject();
            writer.WriteString("name", target.Name);
            writer.WriteString("state", target.State);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteFunctions(Utf8JsonWriter writer, IReadOnlyList<FunctionState> functions)
    {
        writer.WriteStartArray("functions");
        foreach (var function in functions)
        {
            writer.WriteStartObject();
            writer.WriteString("name", function.Name);
            writer.WriteString("oldAddress", function.OldAddress);
            writer.WriteString("newAddress", function.NewAddress);
            writer.WriteString("target", function.Target);
            WriteText(writer, "way", function.Way);
            writer.WriteEndObject();
        }

        writer.WriteEndArray();
    }

    private static void WriteText(Utf8JsonWriter writer, string property, string? text)
    {
        if (text is not null)
            writer.WriteString(property, text);
    }
}
