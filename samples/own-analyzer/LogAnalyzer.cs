// SPDX-License-Identifier: MIT
// An update is no place to debug in: new code must not write to the kernel's log. `printk` and the pr_… macros are calls of
// _printk in the object, so it is the object that is asked, and a macro cannot hide one.
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace OwnAnalyzer;

/// <summary>Finds code that newly writes to the kernel's log.</summary>
public sealed class LogAnalyzer : UpdateAnalyzer
{
    private static readonly DiagnosticDescriptor NewLog = new(
        "OWN0001",
        "New code writes to the log",
        "{0} calls _printk {1} times, {2} before the patch",
        DiagnosticSeverity.Warning
    )
    {
        Category = "House",
        HelpLink = "https://rules.example/OWN0001",
    };

    /// <inheritdoc/>
    public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics => [NewLog];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context) => context.RegisterFunctionChangeAction(Check);

    private static void Check(ActionContext<ChangedFunction> context)
    {
        int before = Count(context.Subject.Pre),
            after = Count(context.Subject.Post);
        if (after > before)
            context.Report(NewLog, context.Unit!.Locate(context.Subject), context.Subject.Name, after, before);
    }

    private static int Count(ObjectFunction? function) => function?.Calls.Count(name => name == "_printk") ?? 0;
}
