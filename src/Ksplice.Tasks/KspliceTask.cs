// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Files;
using Ksplice.Build.Kernel;
using Microsoft.Build.Framework;
using Microsoft.Extensions.Logging;
using ILogger = Microsoft.Extensions.Logging.ILogger;
using MSBuildTask = Microsoft.Build.Utilities.Task;

namespace Ksplice.Tasks;

/// <summary>
/// What every task of the Sdk does: it runs a stage of the engine, passes its log and its diagnostics on, and can be canceled.
/// </summary>
public abstract class KspliceTask : MSBuildTask, ICancelableTask, IDisposable
{
    private readonly CancellationTokenSource _canceled = new();
    private IDisposable? _held;

    /// <summary>The folder, or the https address, with a page for each diagnostic.</summary>
    public string? HelpFolder { get; set; }

    /// <summary>The page of a diagnostic on the web; null if the pages are in a folder.</summary>
    private protected string? PageOf(string id) =>
        HelpAddress?.StartsWith("https://", StringComparison.OrdinalIgnoreCase) == true ? $"{HelpAddress}/{id}.md" : null;

    /// <summary>What <see cref="ReadConfiguration"/> wrote: which diagnostics are shown, and how severe they are.</summary>
    public string? Configuration { get; set; }

    /// <summary>The record that is written last, after the stage ended without errors (<see cref="StageRecord"/>).</summary>
    public string? Record { get; set; }

    /// <summary>Where diagnostics go.</summary>
    protected DiagnosticBag Diagnostics { get; } = [];

    /// <summary>What the project says about severities.</summary>
    private protected DiagnosticConfiguration Severities { get; private set; } = DiagnosticConfiguration.None;

    /// <summary>The engine's log.</summary>
    protected ILogger Logger => field ??= new MSBuildLogger(Log);

    /// <summary>The kernel cache in <paramref name="folder"/>, or in its usual place if the project names none.</summary>
    protected KernelCache OpenCache(string? folder) => new(string.IsNullOrEmpty(folder) ? KernelCache.DefaultRoot : folder, Logger);

    /// <inheritdoc/>
    public void Cancel() => _canceled.Cancel();

    /// <inheritdoc/>
    public override bool Execute()
    {
        try
        {
            return Run();
        }
        finally
        {
            _held?.Dispose();
        }
    }

    private bool Run()
    {
        bool done = false;
        Guard(() =>
        {
            _held = Lock();
            if (ConfigurationFile.Read(Configuration) is { } configuration)
            {
                Severities = configuration.ToConfiguration();
                foreach (var acknowledgement in configuration.Acknowledgements)
                    Diagnostics.Acknowledge(acknowledgement);
            }
            // An error must fail again at the next build: without its record the stage is not taken for done.
            if (RemovesRecord)
                StageRecord.Remove(Record);
            done = RunAsync(_canceled.Token).GetAwaiter().GetResult();
        });
        List<Diagnostic> shown = [.. Diagnostics.Select(Severities.Apply).OfType<Diagnostic>()];
        int known = Diagnostics.Count;
        // What tells the places may be damaged itself: then they stay as they are.
        Guard(() => shown = [.. shown.Select(Locate)]);
        foreach (var diagnostic in shown)
            Report(diagnostic);
        // A warning that the project makes an error comes again as well.
        if (RemovesRecord && (!done || Diagnostics.HasErrors || Log.HasLoggedErrors))
            Guard(() => StageRecord.Remove(Record));
        done = done && !Diagnostics.HasErrors && !Log.HasLoggedErrors;
        if (!_canceled.IsCancellationRequested)
            Guard(() => Ended(done, shown));
        foreach (var diagnostic in Diagnostics.Skip(known))
            Report(diagnostic);
        return done && !Diagnostics.HasErrors;
    }

    /// <summary>Takes notice of how the stage ended, and of what it has shown.</summary>
    private protected virtual void Ended(bool done, IReadOnlyList<Diagnostic> shown) { }

    /// <summary>The folder of intermediate files; null if the task has none.</summary>
    private protected virtual string? IntermediateFolder =>
        Configuration is null ? null : Path.GetDirectoryName(Path.GetFullPath(Configuration));

    // Two builds of one project at once take turns, stage by stage: what one left the other finds.
    private IDisposable? Lock() =>
        IntermediateFolder is { } folder
            ? FileLock
                .TakeAsync(
                    Path.Combine(folder, "lock"),
                    () => Log.LogMessage(MessageImportance.High, "waiting for another build of this project ({0})", folder),
                    _canceled.Token
                )
                .GetAwaiter()
                .GetResult()
            : null;

    // The one place where exceptions of a stage end. What a person can mend becomes a diagnostic; any other is an error of ours, which
    // MSBuild shows with its stack.
    private void Guard(Action action)
    {
        try
        {
            action();
        }
        catch (Exception problem) when (Canceled(problem))
        {
            Log.LogMessage(MessageImportance.High, "canceled");
        }
        catch (Exception problem) when (Mendable(problem) is { } diagnostics)
        {
            foreach (var diagnostic in diagnostics.Where(diagnostic => !Diagnostics.Contains(diagnostic)))
                Diagnostics.Add(diagnostic);
        }
    }

    private static bool Canceled(Exception problem) =>
        problem is OperationCanceledException
        || (problem is AggregateException several && several.Flatten().InnerExceptions.All(inner => inner is OperationCanceledException));

    // What a person is told of an exception; null if nobody but us can mend it.
    private static IReadOnlyList<Diagnostic>? Mendable(Exception problem) =>
        problem switch
        {
            // Of work that is done side by side.
            AggregateException several => several.Flatten().InnerExceptions.Select(Mendable).ToList() is var each && each.Contains(null)
                ? null
                : [.. each.SelectMany(inner => inner!)],
            ElfFormatException malformed =>
            [
                Diagnostic.Create(ProjectDiagnostics.MalformedObject, new SourceLocation(malformed.FileName), malformed.Message),
            ],
            DamagedFileException damaged =>
            [
                Diagnostic.Create(
                    ProjectDiagnostics.DamagedFile,
                    new SourceLocation(damaged.FileName),
                    damaged.FileName,
                    damaged.Problem,
                    damaged.Remedy
                ),
            ],
            IOException or UnauthorizedAccessException or InvalidDataException =>
            [
                Diagnostic.Create(ProjectDiagnostics.FileProblem, null, problem.Message),
            ],
            _ => null,
        };

    /// <summary>True if the record goes before the stage starts; a stage that finds out by itself what is stale keeps it.</summary>
    protected virtual bool RemovesRecord => true;

    /// <summary>Runs the stage; false after an error.</summary>
    protected abstract Task<bool> RunAsync(CancellationToken cancellation);

    /// <summary>Puts a diagnostic where a person can mend it.</summary>
    protected virtual Diagnostic Locate(Diagnostic diagnostic) => diagnostic;

    /// <summary>The address of <see cref="HelpFolder"/>; null if there is none.</summary>
    private protected string? HelpAddress =>
        HelpFolder is null ? null
        : HelpFolder.StartsWith("https://", StringComparison.OrdinalIgnoreCase) ? HelpFolder.TrimEnd('/')
        : new Uri(Path.GetFullPath(HelpFolder)).AbsoluteUri.TrimEnd('/');

    private void Report(Diagnostic diagnostic) => Show(diagnostic.Severity, diagnostic.Id, diagnostic.Location, diagnostic.Message);

    /// <summary>Passes a diagnostic on as it stands.</summary>
    private protected void Show(DiagnosticSeverity severity, string id, SourceLocation? location, string message)
    {
        var place = location ?? new SourceLocation("");
        string? help = HelpAddress is null ? null : $"{HelpAddress}/{id}.md";
        // A plain log has no links, so the message says the address, as the C# compiler's does. Without arguments it is no format.
        string text = PageOf(id) is { } page ? $"{message} ({page})" : message;
        if (severity == DiagnosticSeverity.Warning && IsErrorOfTheCaller(id))
            severity = DiagnosticSeverity.Error;
        switch (severity)
        {
            case DiagnosticSeverity.Error:
                Log.LogError(null, id, null, help, place.Path, place.Line, place.Column, 0, 0, text);
                break;
            case DiagnosticSeverity.Warning:
                Log.LogWarning(null, id, null, help, place.Path, place.Line, place.Column, 0, 0, text);
                break;
            default:
                Log.LogMessage(null, id, null, place.Path, place.Line, place.Column, 0, 0, MessageImportance.Normal, text);
                break;
        }
    }

    // After -warnaserror MSBuild shows the warning as an error, fails at the end, and runs what depends on the task all the same, the
    // package too. The engine tells a task of those that were named; that all are errors stands on the command line alone, which a node
    // of a parallel build does not have.
    private bool IsErrorOfTheCaller(string id) =>
        (BuildEngine is IBuildEngine8 engine && engine.ShouldTreatWarningAsError(id))
        || Environment
            .GetCommandLineArgs()
            .Any(argument =>
                argument.TrimStart('-', '/') is var name
                && name.Length < argument.Length
                && (
                    name.Equals("warnaserror", StringComparison.OrdinalIgnoreCase) || name.Equals("err", StringComparison.OrdinalIgnoreCase)
                )
            );

    /// <inheritdoc/>
    public void Dispose()
    {
        _canceled.Dispose();
        GC.SuppressFinalize(this);
    }
}
