// SPDX-License-Identifier: MIT
// The model is that of Roslyn's DiagnosticAnalyzer: an analyzer names its rules, and registers actions for the things that
// it wants to see. It keeps no state between actions, which run side by side; what an action reports is sorted before
// anybody sees it.
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Patching;

namespace Ksplice.Build.Analysis;

/// <summary>Judges one aspect of an update.</summary>
public abstract class UpdateAnalyzer
{
    /// <summary>The rules that it may report.</summary>
    public abstract IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics { get; }

    /// <summary>Registers the analyzer's actions. Called once for each update.</summary>
    public abstract void Initialize(AnalysisContext context);
}

/// <summary>A name that changed code refers to and that its unit does not define.</summary>
/// <param name="Name">The name.</param>
/// <param name="User">The first changed function that refers to it.</param>
/// <param name="IsNew">True if no code of the unit referred to it before.</param>
public sealed record ReferencedSymbol(string Name, ChangedFunction User, bool IsNew);

/// <summary>Takes an analyzer's actions.</summary>
public sealed class AnalysisContext
{
    internal List<Action<AnalyzedUpdate, ActionList>> Registrations { get; } = [];

    /// <summary>Calls <paramref name="action"/> for each patch.</summary>
    public void RegisterPatchAction(Action<ActionContext<SourcePatch>> action) =>
        Registrations.Add((update, list) => list.AddRange(action, update.Patches.Select(patch => (patch, (AnalyzedUnit?)null))));

    /// <summary>Calls <paramref name="action"/> for each compilation unit.</summary>
    public void RegisterUnitAction(Action<ActionContext<AnalyzedUnit>> action) =>
        Registrations.Add((update, list) => list.AddRange(action, update.Units.Select(unit => (unit, (AnalyzedUnit?)unit))));

    /// <summary>Calls <paramref name="action"/> for each function whose code differs, is new or is gone.</summary>
    public void RegisterFunctionChangeAction(Action<ActionContext<ChangedFunction>> action) =>
        Registrations.Add(
            (update, list) =>
                list.AddRange(
                    action,
                    update.Units.SelectMany(unit => unit.Changes.Functions.Select(change => (change, (AnalyzedUnit?)unit)))
                )
        );

    /// <summary>Calls <paramref name="action"/> for each variable or constant that differs, is new or is gone.</summary>
    public void RegisterDataChangeAction(Action<ActionContext<ChangedVariable>> action) =>
        Registrations.Add(
            (update, list) =>
                list.AddRange(action, update.Units.SelectMany(unit => unit.Changes.Data.Select(change => (change, (AnalyzedUnit?)unit))))
        );

    /// <summary>Calls <paramref name="action"/> for each change of a type: once, with the first unit that has it.</summary>
    public void RegisterTypeChangeAction(Action<ActionContext<TypeChange>> action) =>
        Registrations.Add(
            (update, list) =>
                list.AddRange(
                    action,
                    update
                        .Units.SelectMany(unit => unit.TypeChanges.Select(change => (change, (AnalyzedUnit?)unit)))
                        .DistinctBy(pair => pair.change)
                )
        );

    /// <summary>Calls <paramref name="action"/> for each name outside of the unit that changed code refers to.</summary>
    public void RegisterSymbolAction(Action<ActionContext<ReferencedSymbol>> action) =>
        Registrations.Add((update, list) => list.AddRange(action, update.Units.SelectMany(Symbols)));

    /// <summary>Calls <paramref name="action"/> for the update as a whole.</summary>
    public void RegisterUpdateAction(Action<ActionContext<AnalyzedUpdate>> action) =>
        Registrations.Add((update, list) => list.AddRange(action, [(update, null)]));

    private static IEnumerable<(ReferencedSymbol, AnalyzedUnit?)> Symbols(AnalyzedUnit unit)
    {
        var undefined = unit
            .Post.Symbols.Where(symbol => symbol.IsUndefined && symbol.Name.Length != 0)
            .Select(symbol => symbol.Name)
            .ToHashSet(StringComparer.Ordinal);
        var known = unit.Pre.Symbols.Select(symbol => symbol.Name).ToHashSet(StringComparer.Ordinal);
        var uses =
            from function in unit.Changes.Functions
            where function.Post is not null
            from part in function.Post!.Parts
            from reference in part.References
            where undefined.Contains(reference.Target)
            select new ReferencedSymbol(reference.Target, function, !known.Contains(reference.Target));
        return uses.DistinctBy(symbol => symbol.Name, StringComparer.Ordinal).Select(symbol => (symbol, (AnalyzedUnit?)unit));
    }
}

/// <summary>What an action sees, and where it reports.</summary>
/// <typeparam name="T">What the action is for.</typeparam>
public sealed class ActionContext<T>
{
    private readonly Action<Diagnostic> _report;

    internal ActionContext(
        T subject,
        AnalyzedUnit? unit,
        AnalyzedUpdate update,
        Action<Diagnostic> report,
        CancellationToken cancellation
    ) => (Subject, Unit, Update, _report, Cancellation) = (subject, unit, update, report, cancellation);

    /// <summary>What the action is called for.</summary>
    public T Subject { get; }

    /// <summary>The unit that it is in; null for a patch and for the update as a whole.</summary>
    public AnalyzedUnit? Unit { get; }

    /// <summary>The update.</summary>
    public AnalyzedUpdate Update { get; }

    /// <summary>Asks a long action to end.</summary>
    public CancellationToken Cancellation { get; }

    /// <summary>Reports a finding, of one of the analyzer's own rules.</summary>
    public void Report(Diagnostic diagnostic) => _report(diagnostic);

    /// <summary>Reports a finding, of one of the analyzer's own rules.</summary>
    public void Report(DiagnosticDescriptor rule, SourceLocation? location, params object?[] arguments) =>
        _report(Diagnostic.Create(rule, location, arguments));
}

/// <summary>The calls that an update makes of an analyzer's actions.</summary>
internal sealed class ActionList(AnalyzedUpdate update, CancellationToken cancellation)
{
    public List<Action<Action<Diagnostic>>> Calls { get; } = [];

    public void AddRange<T>(Action<ActionContext<T>> action, IEnumerable<(T Subject, AnalyzedUnit? Unit)> subjects)
    {
        foreach (var (subject, unit) in subjects)
            Calls.Add(report => action(new ActionContext<T>(subject, unit, update, report, cancellation)));
    }
}
