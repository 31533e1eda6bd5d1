// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>Warns where a function acquires and releases otherwise than before, KSP5015.</summary>
public sealed class PairAnalyzer : UpdateAnalyzer
{
    /// <inheritdoc/>
    public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics { get; } = [CodeDiagnostics.PairsDiffer];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        context.RegisterFunctionChangeAction(Check);
    }

    private static void Check(ActionContext<ChangedFunction> context)
    {
        var changes = context.Unit!.Changes;
        foreach (var pair in PairBalance.Find(context.Subject, changes.PreFunctions, changes.PostFunctions))
            context.Report(
                CodeDiagnostics.PairsDiffer,
                context.Unit.Locate(context.Subject),
                context.Subject.Name,
                pair.Kind,
                pair.Before,
                pair.After
            );
    }
}
