// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;

namespace Ksplice.Build.Differencing;

/// <summary>
/// Something that differencing found and that an update cannot bring, or that its author should know of: the severity of the rule tells
/// which. Differencing names things as the object does; <see cref="Analysis.RefusalDetails"/> says them in the words of the source.
/// </summary>
/// <param name="Rule">The rule.</param>
/// <param name="Unit">The unit.</param>
/// <param name="Object">The name by which a person can acknowledge it; null if nobody can take it over.</param>
/// <param name="Arguments">What the rule's message is made with.</param>
public sealed record Refusal(DiagnosticDescriptor Rule, string Unit, string? Object, IReadOnlyList<object?> Arguments)
{
    /// <summary>The refusal as a report about the unit as a whole.</summary>
    public Diagnostic ToDiagnostic() => Diagnostic.Create(Rule, new SourceLocation(Unit), [.. Arguments]) with { Object = Object };
}
