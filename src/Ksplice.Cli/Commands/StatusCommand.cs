// SPDX-License-Identifier: MIT
// ksplice status: is this machine as it should be? For monitoring: one line for each thing, JSON (docs/status.schema.json) or the text
// format of Prometheus, and an exit code.
using System.Globalization;
using System.Text;
using System.Text.Json;
using Ksplice.Cli.Machines;
using Spectre.Console;

namespace Ksplice.Cli.Commands;

/// <summary>Compares what is loaded with what is to be applied at boot.</summary>
public static class StatusCommand
{
    /// <summary>How the state is printed.</summary>
    public enum Form
    {
        /// <summary>For people.</summary>
        Text,

        /// <summary>JSON.</summary>
        Json,

        /// <summary>The text format of Prometheus.</summary>
        Prometheus,
    }

    /// <summary>
    /// Prints the state; <see cref="ExitCode.Refused"/> if an update that is enabled for the running kernel is not applied, or
    /// one that is applied is not in force; else <see cref="ExitCode.NotRoot"/> if this user does not see all of it.
    /// </summary>
    public static ExitCode Run(Session session, Form form)
    {
        var state = MachineState.Of(session.Machine);
        var output = session.Out.Profile.Out.Writer;
        if (form == Form.Json)
            output.WriteLine(Json(session, state));
        else if (form == Form.Prometheus)
            output.Write(Metrics(state));
        else
            Show(session, state);
        if (form != Form.Json && !state.IsWhole)
            session.Error.MarkupLine("this is not all: the kernel and the store of enabled updates show root more");
        return state.IsWrong ? ExitCode.Refused
            : state.IsWhole ? ExitCode.Ok
            : ExitCode.NotRoot;
    }

    private static void Show(Session session, MachineState state)
    {
        var console = session.Out;
        console.MarkupLineInterpolated($"kernel:     {state.Kernel}");
        console.MarkupLineInterpolated(
            $"core:       {(state.IsCoreLoaded ? "loaded"
                : state.KeptOutBy is { } word ? $"kept out: {word} is on the kernel's command line"
                : "not loaded")}"
        );
        console.MarkupLineInterpolated($"signatures: {(state.AreSignaturesDemanded ? "demanded" : "not looked at")}");
        foreach (var update in state.Updates)
        {
            string busy = update.IsBusy == true ? ", the kernel is at work on it" : "";
            string last = update.AbortCause is null or "ok" ? "" : ", last request: " + update.AbortCause;
            string name = update.Package is { } package ? $" ({package.Manifest.Name})" : "";
            console.MarkupLineInterpolated($"update:     {update.Id} {update.Stage ?? "loaded"}{busy}{last}{name}");
            foreach (var target in (update.Targets ?? []).Where(target => target.IsWaiting))
                console.MarkupLineInterpolated($"            waits for module {target.Name}");
            foreach (var trouble in update.Troubles)
                console.MarkupLineInterpolated($"            NOT IN FORCE: {trouble}");
        }

        foreach (var data in state.Data)
            console.MarkupLineInterpolated($"data:       {data.Module}, strings and constants that stay loaded after an undo");
        if (state.IsTracerDead == true)
            console.MarkupLine("tracer:     dead; what is applied through it stays in force, and its modules stay loaded after an undo");
        foreach (var (id, release, isMissing) in state.Enabled ?? [])
            console.MarkupLineInterpolated(
                $"at boot:    {id} for {release ?? "a kernel that its damaged manifest does not tell"}{(isMissing ? ", NOT APPLIED" : "")}"
            );
    }

    private static string Json(Session session, MachineState state) =>
        JsonText.Write(writer =>
        {
            writer.WriteStartObject();
            writer.WriteString("kernel", state.Kernel);
            writer.WriteBoolean("complete", state.IsWhole);
            writer.WriteBoolean("coreLoaded", state.IsCoreLoaded);
            if (state.KeptOutBy is { } word)
                writer.WriteString("coreKeptOutBy", word);
            writer.WriteBoolean("signaturesDemanded", state.AreSignaturesDemanded);
            if (state.Tracer is { } tracer)
                writer.WriteString("ftrace", tracer);
            writer.WriteStartArray("updates");
            foreach (var update in state.Updates)
                ViewCommand.Write(writer, session, update);
            writer.WriteEndArray();
            writer.WriteStartArray("dataModules");
            foreach (var data in state.Data)
            {
                writer.WriteStartObject();
                writer.WriteString("id", data.Id);
                writer.WriteString("module", data.Module);
                writer.WriteString("digest", data.Digest);
                writer.WriteEndObject();
            }

            writer.WriteEndArray();
            if (state.Enabled is { } enabled)
                WriteEnabled(writer, enabled);
            writer.WriteEndObject();
        });

    private static void WriteEnabled(Utf8JsonWriter writer, IReadOnlyList<EnabledState> enabled)
    {
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
    }

    // What cannot be seen has no sample, and a metric without samples is left out.
    private static string Metrics(MachineState state)
    {
        PrometheusText text = new();
        text.Add("ksplice_core_loaded", "Whether the core module is loaded.", [("", state.IsCoreLoaded)]);
        text.Add(
            "ksplice_core_kept_out",
            "Whether a word on the kernel's command line keeps the core out.",
            [("", state.KeptOutBy is not null)]
        );
        text.Add(
            "ksplice_update_info",
            "An update that is loaded, its stage and its name.",
            state.Updates.Select(update =>
                (
                    PrometheusText.Labels(
                        ("id", update.Id),
                        ("stage", update.Stage ?? ""),
                        ("name", update.Package?.Manifest.Name ?? ""),
                        ("last_request", update.AbortCause ?? "")
                    ),
                    true
                )
            )
        );
        text.Add(
            "ksplice_update_applied",
            "Whether a loaded update is applied.",
            state.Updates.Where(update => update.Stage is not null).Select(update => (Id(update.Id), update.Stage == Update.Applied))
        );
        text.Add(
            "ksplice_update_functions",
            "How many functions an update replaces.",
            state.Updates.Where(update => update.Functions is not null).Select(update => (Id(update.Id), (double)update.Functions!.Count))
        );
        text.Add(
            "ksplice_update_functions_overridden",
            "How many functions of an applied update do not run, because a livepatch that came later takes their calls.",
            state
                .Updates.Where(update => update.Stage == Update.Applied && update.Overridden is not null)
                .Select(update => (Id(update.Id), (double)update.Troubles.Count()))
        );
        text.Add(
            "ksplice_update_pause_seconds",
            "How long the last request stopped the machine.",
            state
                .Updates.Where(update => update.PauseNanoseconds is not null)
                .Select(update =>
                    (Id(update.Id), (double)update.PauseNanoseconds!.Value / TimeSpan.NanosecondsPerTick / TimeSpan.TicksPerSecond)
                )
        );
        text.Add(
            "ksplice_data_module_loaded",
            "A module with strings and constants that stays loaded after an undo.",
            state.Data.Select(data => (Id(data.Id), true))
        );
        text.Add(
            "ksplice_enabled_missing",
            "Whether an update that is enabled for the running kernel is not applied.",
            (state.Enabled ?? []).Select(enabled => (Id(enabled.Id), enabled.IsMissing))
        );
        if (state.IsTracerDead is { } dead)
            text.Add("ksplice_tracer_dead", "Whether the kernel has switched its function tracer off for good.", [("", dead)]);
        if (state.IsWhole)
            text.Add("ksplice_ok", "Whether every enabled update is applied and every applied one is in force.", [("", !state.IsWrong)]);
        return text.ToString();
    }

    private static string Id(string id) => PrometheusText.Labels(("id", id));

    /// <summary>An enabled update.</summary>
    private sealed record EnabledState(string Id, string? Release, bool IsMissing);

    /// <summary>The machine, as far as this user sees it.</summary>
    private sealed record MachineState(
        string Kernel,
        bool IsCoreLoaded,
        string? KeptOutBy,
        bool AreSignaturesDemanded,
        string? Tracer,
        IReadOnlyList<UpdateState> Updates,
        IReadOnlyList<DataModule> Data,
        IReadOnlyList<EnabledState>? Enabled
    )
    {
        public static MachineState Of(Machine machine) =>
            new(
                machine.KernelRelease,
                machine.IsLoaded(Session.CoreModule),
                machine.KeptOutBy,
                machine.Trusted.AreDemanded,
                machine.Tracer,
                [.. machine.Updates().Select(update => update.Look())],
                machine.DataModules(),
                machine.Enabled.IsReadable ? [.. machine.Enabled.All.Select(update => State(machine, update))] : null
            );

        public bool? IsTracerDead => Tracer is null ? null : Tracer == "dead";

        public bool IsWhole => Enabled is not null && Updates.All(update => update.IsWhole);

        public bool IsWrong => (Enabled ?? []).Any(update => update.IsMissing) || Updates.Any(update => update.Troubles.Any());

        private static EnabledState State(Machine machine, EnabledUpdate update)
        {
            var release = update.Release;
            var isMissing =
                (release is null || release == machine.KernelRelease) && machine.Find(update.Id)?.Look().Stage != Update.Applied;
            return new EnabledState(update.Id, release, isMissing);
        }
    }
}
