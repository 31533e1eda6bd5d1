// SPDX-License-Identifier: MIT
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace KspliceAnalyzer1;

/// <summary>An example: finds code that newly writes to the kernel's log.</summary>
public sealed class LogAnalyzer : UpdateAnalyzer
{
    private static readonly DiagnosticDescriptor NewLog = new(
        "RULE_ID",
        "New code writes to the log",
        "{0} calls _printk {1} times, {2} before the patch",
        DiagnosticSeverity.Warning
    );

    /// <inheritdoc/>
    public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics => [NewLog];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context) => context.RegisterFunctionChangeAction(Check);

    // printk and the pr_… macros are calls of _printk in the object.
    private static void Check(ActionContext<ChangedFunction> context)
    {
        int before = Count(context.Subject.Pre);
        int after = Count(context.Subject.Post);
        if (after > before)
            context.Report(NewLog, context.Unit!.Locate(context.Subject), context.Subject.Name, after, before);
    }

    private static int Count(ObjectFunction? function) => function?.Calls.Count(name => name == "_printk") ?? 0;
}
