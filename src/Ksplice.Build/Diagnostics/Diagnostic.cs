// SPDX-License-Identifier: MIT
using System.Globalization;

namespace Ksplice.Build.Diagnostics;

/// <summary>A place in a text or binary file. Line and column count from 1; 0 means that there is none.</summary>
/// <param name="Path">The file.</param>
/// <param name="Line">Line, from 1, or 0.</param>
/// <param name="Column">Column, from 1, or 0.</param>
public sealed record SourceLocation(string Path, int Line = 0, int Column = 0)
{
    /// <inheritdoc/>
    public override string ToString() =>
        Line == 0 ? Path
        : Column == 0 ? $"{Path}({Line})"
        : $"{Path}({Line},{Column})";
}

/// <summary>A further place that a report speaks of.</summary>
/// <param name="Location">Where.</param>
/// <param name="Message">What is there.</param>
public sealed record RelatedLocation(SourceLocation Location, string Message);

/// <summary>One report of a <see cref="DiagnosticDescriptor"/>.</summary>
/// <param name="Descriptor">The rule.</param>
/// <param name="Location">Where, or null if nowhere in particular.</param>
/// <param name="Message">The formatted message.</param>
public sealed record Diagnostic(DiagnosticDescriptor Descriptor, SourceLocation? Location, string Message)
{
    /// <summary>The rule's id, KSPnnnn.</summary>
    public string Id => Descriptor.Id;

    /// <summary>The severity of this report.</summary>
    public DiagnosticSeverity Severity { get; init; } = Descriptor.Severity;

    /// <summary>The object of the kernel that the report is about, <c>struct foo</c> or <c>some_variable</c>: the name by which an
    /// error can be acknowledged. Null where there is none.</summary>
    public string? Object { get; init; }

    /// <summary>Further places, each use of a changed member, say.</summary>
    public IReadOnlyList<RelatedLocation> Related { get; init; } = [];

    /// <summary>Formats a report of <paramref name="descriptor"/>.</summary>
    public static Diagnostic Create(DiagnosticDescriptor descriptor, SourceLocation? location, params object?[] arguments) =>
        new(descriptor, location, string.Format(CultureInfo.InvariantCulture, descriptor.MessageFormat, arguments));

    /// <summary>MSBuild's canonical form, <c>file(line,col): error KSPnnnn: text</c>.</summary>
    public override string ToString() =>
        $"{(Location is null ? "" : Location + ": ")}{Severity.ToString().ToLowerInvariant()} {Id}: {Message}";
}
