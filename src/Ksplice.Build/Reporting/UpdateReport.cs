using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Generation;

namespace Ksplice.Build.Reporting;

/// <summary>A diagnostic as a person sees it.</summary>
/// <param name="Id">The rule.</param>
/// <param name="Level">error, warning or note.</param>
/// <param name="Place">Where, or empty.</param>
/// <param name="Message">The text.</param>
public sealed record ReportedDiagnostic(string Id, string Level, string Place, string Message);

/// <summary>Where matching found a function in the shipped image or module.</summary>
/// <param name="Address">Its address there.</param>
/// <param name="Size">Bytes.</param>
public sealed record MatchedPlace(ulong Address, long Size);

/// <summary>What a report shows.</summary>
/// <param name="Manifest">The package's manifest.</param>
/// <param name="Diffs">The units' differences.</param>
/// <param name="Diagnostics">What the analysis said.</param>
/// <param name="Places">Where functions were found: by <c>name (unit)</c>.</param>
/// <param name="PreText">The text of a line of the unpatched source, or null.</param>
/// <param name="PostText">The text of a line of the patched source, or null.</param>
public sealed partial record UpdateReport(
    UpdateManifest Manifest,
    IReadOnlyList<ObjectDiff> Diffs,
    IReadOnlyList<ReportedDiagnostic> Diagnostics,
    IReadOnlyDictionary<string, MatchedPlace> Places,
    Func<SourceLocation, string?> PreText,
    Func<SourceLocation, string?> PostText
)
{
    [GeneratedRegex(@"^(?<address>[0-9a-f]{16}) (?<name>.+ \(.+\)), (?<size>\d+) bytes$", RegexOptions.Multiline)]
    private static partial Regex Place();

    /// <summary>The places that match.txt tells.</summary>
    public static IReadOnlyDictionary<string, MatchedPlace> ReadPlaces(string text) =>
        Place()
            .Matches(text)
            .DistinctBy(match => match.Groups["name"].Value)
            .ToDictionary(
                match => match.Groups["name"].Value,
                match => new MatchedPlace(
                    ulong.Parse(match.Groups["address"].Value, NumberStyles.HexNumber, CultureInfo.InvariantCulture),
                    long.Parse(match.Groups["size"].Value, CultureInfo.InvariantCulture)
                ),
                StringComparer.Ordinal
            );

    /// <summary>The diagnostics of a SARIF log that <see cref="Analysis.SarifLog"/> wrote.</summary>
    public static IReadOnlyList<ReportedDiagnostic> ReadSarif(ReadOnlyMemory<byte> log)
    {
        using var json = JsonDocument.Parse(log);
        return
        [
            .. json
                .RootElement.GetProperty("runs")[0]
                .GetProperty("results")
                .EnumerateArray()
                .Select(result => new ReportedDiagnostic(
                    result.GetProperty("ruleId").GetString()!,
                    result.GetProperty("level").GetString()!,
                    PlaceOf(result),
                    result.GetProperty("message").GetProperty("text").GetString()!
                )),
        ];
    }

    private static string PlaceOf(JsonElement result)
    {
        if (!result.TryGetProperty("locations", out var locations))
            return "";
        var place = locations[0].GetProperty("physicalLocation");
        string uri = place.GetProperty("artifactLocation").GetProperty("uri").GetString()!;
        // A folder of the machine that built it says nothing to others.
        string path = Uri.TryCreate(uri, UriKind.Absolute, out var file) ? Shorten(file.LocalPath) : Uri.UnescapeDataString(uri);
        return place.TryGetProperty("region", out var region)
            ? string.Create(CultureInfo.InvariantCulture, $"{path}:{region.GetProperty("startLine").GetInt32()}")
            : path;
    }

    private static string Shorten(string path) => path.Split("/post/", 2) is [_, var inside] ? inside : Path.GetFileName(path);
}
