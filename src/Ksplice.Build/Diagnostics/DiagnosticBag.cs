// SPDX-License-Identifier: MIT
using System.Collections;

namespace Ksplice.Build.Diagnostics;

/// <summary>
/// Collects what the stages report, in order. A stage that cannot go on reports an error and returns null; its caller
/// stops there. What a person has acknowledged comes in as information instead of as an error. Safe to share between threads.
/// </summary>
public sealed class DiagnosticBag : IReadOnlyCollection<Diagnostic>
{
    private readonly List<Diagnostic> _diagnostics = [];
    private readonly List<Acknowledgement> _acknowledgements = [];
    private readonly HashSet<Acknowledgement> _used = [];
    private readonly Lock _lock = new();

    /// <inheritdoc/>
    public int Count
    {
        get
        {
            lock (_lock)
                return _diagnostics.Count;
        }
    }

    /// <summary>True once an error has been reported.</summary>
    public bool HasErrors
    {
        get
        {
            lock (_lock)
                return _diagnostics.Exists(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error);
        }
    }

    /// <summary>The acknowledgements that a report has met, in order.</summary>
    public IReadOnlyList<Acknowledgement> UsedAcknowledgements
    {
        get
        {
            lock (_lock)
                return [.. _acknowledgements.Where(_used.Contains)];
        }
    }

    /// <summary>The acknowledgements that no report has met yet, in order.</summary>
    public IReadOnlyList<Acknowledgement> UnusedAcknowledgements
    {
        get
        {
            lock (_lock)
                return [.. _acknowledgements.Where(acknowledgement => !_used.Contains(acknowledgement))];
        }
    }

    /// <summary>From here on, the errors that <paramref name="acknowledgement"/> names are information.</summary>
    public void Acknowledge(Acknowledgement acknowledgement)
    {
        lock (_lock)
        {
            if (!_acknowledgements.Contains(acknowledgement))
                _acknowledgements.Add(acknowledgement);
        }
    }

    /// <summary>Reports <paramref name="descriptor"/> at <paramref name="location"/>.</summary>
    public void Report(DiagnosticDescriptor descriptor, SourceLocation? location, params object?[] arguments) =>
        Add(Diagnostic.Create(descriptor, location, arguments));

    /// <summary>Adds a finished diagnostic; returns it as it counts, which is as information if it is acknowledged.</summary>
    public Diagnostic Add(Diagnostic diagnostic)
    {
        ArgumentNullException.ThrowIfNull(diagnostic);
        lock (_lock)
        {
            if (
                diagnostic.Severity == DiagnosticSeverity.Error
                && _acknowledgements.Find(candidate => candidate.Covers(diagnostic)) is { } acknowledged
            )
            {
                _used.Add(acknowledged);
                diagnostic = diagnostic with
                {
                    Severity = DiagnosticSeverity.Info,
                    Message = $"{diagnostic.Message} (acknowledged: {acknowledged.Reason})",
                };
            }
            _diagnostics.Add(diagnostic);
        }
        return diagnostic;
    }

    /// <inheritdoc/>
    public IEnumerator<Diagnostic> GetEnumerator()
    {
        lock (_lock)
            return _diagnostics.ToList().GetEnumerator();
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
