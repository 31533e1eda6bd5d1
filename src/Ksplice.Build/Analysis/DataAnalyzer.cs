// SPDX-License-Identifier: MIT
using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;

namespace Ksplice.Build.Analysis;

/// <summary>Tells what data an update brings along, KSP3051. What changes of the kernel's own data differencing refuses.</summary>
public sealed class DataAnalyzer : UpdateAnalyzer
{
    /// <inheritdoc/>
    public override IReadOnlyList<DiagnosticDescriptor> SupportedDiagnostics { get; } = [DataDiagnostics.NewData];

    /// <inheritdoc/>
    public override void Initialize(AnalysisContext context)
    {
        ArgumentNullException.ThrowIfNull(context);
        context.RegisterDataChangeAction(Check);
    }

    private static void Check(ActionContext<ChangedVariable> context)
    {
        if (context.Subject is not { Pre: null, Post: { IsWritable: true } post } || IsBookkeeping(post.Section))
            return;
        string value = post.Bytes.IsEmpty ? "of zeros" : "of " + post.Section;
        context.Report(
            DataDiagnostics.NewData,
            context.Unit!.Locate(context.Subject),
            context.Subject.Name,
            context.Unit.Source,
            post.Range.Size.ToString(CultureInfo.InvariantCulture),
            value
        );
    }

    // Flags of WARN_ONCE and descriptors of messages come with the code.
    private static bool IsBookkeeping(string section) =>
        section is ".data.once" or ".data..once" or ".data.unlikely"
        || SectionCatalog.ListsMessages(section)
        || section.StartsWith("__", StringComparison.Ordinal);
}
