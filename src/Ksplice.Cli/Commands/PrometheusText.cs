// SPDX-License-Identifier: MIT
// The text format that Prometheus reads, also from files (node exporter's textfile collector): for each metric a line of help, its type,
// and a line for each sample.
using System.Globalization;
using System.Text;

namespace Ksplice.Cli.Commands;

/// <summary>Writes gauges.</summary>
internal sealed class PrometheusText
{
    private readonly StringBuilder _text = new();

    /// <summary>Labels as they stand behind a metric's name.</summary>
    public static string Labels(params (string Name, string Value)[] labels) =>
        "{" + string.Join(',', labels.Select(label => $"{label.Name}=\"{Escape(label.Value)}\"")) + "}";

    /// <summary>A metric that is true or false.</summary>
    public void Add(string name, string help, IEnumerable<(string Labels, bool Value)> samples) =>
        Add(name, help, samples.Select(sample => (sample.Labels, sample.Value ? 1.0 : 0.0)));

    /// <summary>A metric; without samples it is left out.</summary>
    public void Add(string name, string help, IEnumerable<(string Labels, double Value)> samples)
    {
        bool first = true;
        foreach (var (labels, value) in samples)
        {
            if (first)
                _text.Append(CultureInfo.InvariantCulture, $"# HELP {name} {help}\n# TYPE {name} gauge\n");
            first = false;
            _text.Append(CultureInfo.InvariantCulture, $"{name}{labels} {value}\n");
        }
    }

    public override string ToString() => _text.ToString();

    private static string Escape(string value) =>
        value
            .Replace("\\", "\\\\", StringComparison.Ordinal)
            .Replace("\"", "\\\"", StringComparison.Ordinal)
            .Replace("\n", "\\n", StringComparison.Ordinal);
}
