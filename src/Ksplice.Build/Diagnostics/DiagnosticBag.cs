using System.Collections;

namespace Ksplice.Build.Diagnostics;

/// <summary>
/// Collects what the stages report, in order. A stage that cannot go on reports an error and returns null; its caller
/// stops there. Safe to share between threads.
/// </summary>
public sealed class DiagnosticBag : IReadOnlyCollection<Diagnostic>
{
    private readonly List<Diagnostic> _diagnostics = [];
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

    /// <summary>Reports <paramref name="descriptor"/> at <paramref name="location"/>.</summary>
    public void Report(DiagnosticDescriptor descriptor, SourceLocation? location, params object?[] arguments) =>
        Add(Diagnostic.Create(descriptor, location, arguments));

    /// <summary>Adds a finished diagnostic.</summary>
    public void Add(Diagnostic diagnostic)
    {
        lock (_lock)
            _diagnostics.Add(diagnostic);
    }

    /// <inheritdoc/>
    public IEnumerator<Diagnostic> GetEnumerator()
    {
        lock (_lock)
            return _diagnostics.ToList().GetEnumerator();
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
}
