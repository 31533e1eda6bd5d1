// SPDX-License-Identifier: MIT
// Runs analyzers side by side. Every call of an action has a list of its own for what it reports, and the lists are joined
// and sorted at the end, so the result does not depend on the order of their running. An analyzer that throws has not
// judged the update: that is an error, and the others go on.
using System.Collections.Concurrent;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;

namespace Ksplice.Build.Analysis;

/// <summary>Runs analyzers over an update.</summary>
public static class AnalyzerDriver
{
    /// <summary>The project's own analyzers.</summary>
    public static IReadOnlyList<UpdateAnalyzer> BuiltIn { get; } =
    [
        new TypeAnalyzer(),
        new DataAnalyzer(),
        new QuiescenceAnalyzer(),
        new PairAnalyzer(),
        new SymbolAnalyzer(),
        new HookAnalyzer(),
        new HookSleepAnalyzer(),
    ];

    /// <summary>What <paramref name="analyzers"/> find in <paramref name="update"/>, by place and rule.</summary>
    public static IReadOnlyList<Diagnostic> Run(
        IReadOnlyList<UpdateAnalyzer> analyzers,
        AnalyzedUpdate update,
        CancellationToken cancellation = default
    )
    {
        ArgumentNullException.ThrowIfNull(analyzers);
        ConcurrentBag<Diagnostic> found = [];
        ParallelOptions options = new() { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount };
        List<(UpdateAnalyzer Analyzer, HashSet<string> Rules, Action<Action<Diagnostic>> Call)> calls = [];
        foreach (var analyzer in analyzers)
            Guard(analyzer, found.Add, () => calls.AddRange(Register(analyzer, update, cancellation)));
        Parallel.ForEach(calls, options, call => Guard(call.Analyzer, found.Add, () => call.Call(diagnostic =>
                {
                    if (!call.Rules.Contains(diagnostic.Id))
                        throw new InvalidOperationException($"it reported {diagnostic.Id}, which is not among its SupportedDiagnostics");
                    found.Add(diagnostic);
                })));
        return
        [
            .. found
                .OrderBy(diagnostic => diagnostic.Location?.Path ?? "", StringComparer.Ordinal)
                .ThenBy(diagnostic => diagnostic.Location?.Line ?? 0)
                .ThenBy(diagnostic => diagnostic.Location?.Column ?? 0)
                .ThenBy(diagnostic => diagnostic.Id, StringComparer.Ordinal)
                .ThenBy(diagnostic => diagnostic.Message, StringComparer.Ordinal)
                .DistinctBy(diagnostic => (diagnostic.Id, diagnostic.Location, diagnostic.Message)),
        ];
    }

    private static IEnumerable<(UpdateAnalyzer, HashSet<string>, Action<Action<Diagnostic>>)> Register(
        UpdateAnalyzer analyzer,
        AnalyzedUpdate update,
        CancellationToken cancellation
    )
    {
        AnalysisContext context = new();
        analyzer.Initialize(context);
        ActionList list = new(update, cancellation);
        foreach (var registration in context.Registrations)
            registration(update, list);
        HashSet<string> rules = [.. analyzer.SupportedDiagnostics.Select(rule => rule.Id)];
        return list.Calls.Select(call => (analyzer, rules, call));
    }

    private static void Guard(UpdateAnalyzer analyzer, Action<Diagnostic> report, Action call)
    {
        try
        {
            call();
        }
        catch (ElfFormatException problem)
        {
            report(Diagnostic.Create(ProjectDiagnostics.MalformedObject, new SourceLocation(problem.FileName), problem.Message));
        }
#pragma warning disable CA1031 // Analyzers are anybody's code.
        catch (Exception problem) when (problem is not OperationCanceledException)
#pragma warning restore CA1031
        {
            string at = problem.StackTrace?.Split('\n').FirstOrDefault()?.Trim() ?? "";
            report(
                Diagnostic.Create(
                    AnalysisDiagnostics.AnalyzerFailed,
                    null,
                    analyzer.GetType().FullName,
                    problem.GetType().Name,
                    problem.Message,
                    at
                )
            );
        }
    }
}
