// SPDX-License-Identifier: MIT
using System.Text;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Ksplice.Build.Targets;

namespace Ksplice.Build.Updates;

/// <summary>Describes a built update.</summary>
/// <param name="preRoot">The tree that the objects before are made from, for the text of lines.</param>
/// <param name="postRoot">The tree that the objects after are made from.</param>
public sealed class UpdateDescriber(string preRoot, string postRoot)
{
    private readonly FunctionSource _before = new(preRoot),
        _now = new(postRoot);
    private readonly Dictionary<string, IReadOnlyDictionary<(string Name, int Number), string>> _files = new(StringComparer.Ordinal);

    /// <summary>The description of <paramref name="build"/>, whose stages have all succeeded.</summary>
    /// <param name="build">The build.</param>
    /// <param name="image">The shipped image.</param>
    /// <param name="matches">What matching found.</param>
    /// <param name="data">The data module; null if the update has none.</param>
    /// <param name="judgement">What was acknowledged.</param>
    /// <param name="diagnostics">What the judgement said, as it is to be shown.</param>
    /// <exception cref="Elf.ElfFormatException">The debug data of an object is malformed.</exception>
    public UpdateDescription Describe(
        UpdateBuild build,
        KernelImage image,
        IReadOnlyList<TargetMatch> matches,
        DataSource? data,
        Judgement judgement,
        IReadOnlyList<ReportedDiagnostic> diagnostics
    )
    {
        ArgumentNullException.ThrowIfNull(build);
        ArgumentNullException.ThrowIfNull(image);
        ArgumentNullException.ThrowIfNull(matches);
        ArgumentNullException.ThrowIfNull(judgement);
        var diffs = build.Differences().Value!;
        // Assembly may have two local functions of one name in a unit: then the first is shown.
        var places = matches
            .SelectMany(PlacesOf)
            .DistinctBy(place => (place.Unit, place.Name))
            .ToDictionary(place => (place.Unit, place.Name), place => place.Range);
        return new()
        {
            Id = build.Inputs.UpdateId,
            Kernel = new ManifestKernel(image.Release, image.Banner),
            Targets = [.. matches.Select(match => TargetOf(match.Program.Diffs))],
            Pinned = diffs.Any(diff => diff.Pinned),
            Data = data is null ? null : new ManifestData(data.Module + ".ko", data.Digest),
            Units = [.. diffs.Select(diff => Describe(diff, places))],
            Diagnostics = diagnostics,
            Acknowledged =
            [
                .. judgement.Acknowledged.Select(used => new ManifestAcknowledgement(used.Id, used.Object, used.Reason, used.Source)),
            ],
        };
    }

    /// <summary>The description of <paramref name="diff"/>, each replaced function with its code.</summary>
    /// <param name="diff">What differs in a unit.</param>
    /// <param name="places">Where matching found functions, by unit and name.</param>
    /// <exception cref="Elf.ElfFormatException">The debug data of an object is malformed.</exception>
    public UnitDescription Describe(ObjectDiff diff, IReadOnlyDictionary<(string Unit, string Name), MatchedRange> places)
    {
        ArgumentNullException.ThrowIfNull(diff);
        ArgumentNullException.ThrowIfNull(places);
        return UnitDescription.Of(diff, [.. FunctionExplanation.List(diff).Select(listing => Describe(diff.Unit, listing, places))]);
    }

    private static IEnumerable<(string Unit, string Name, MatchedRange Range)> PlacesOf(TargetMatch match) =>
        match.Result.IsMatch
            ? match.Program.Data.Functions.Zip(match.Result.Functions, (function, found) =>
                (function.Unit, function.Name, new MatchedRange(found.Start, found.End - found.Start))
            )
            : [];

    private static ManifestTarget TargetOf(TargetDiffs target) =>
        new(
            target.Target.Name,
            target.Target.Helper + ".ko",
            target.Target.Primary + ".ko",
            [
                .. from diff in target.Diffs
                from function in diff.Replaced
                select new ManifestFunction(function.Name, diff.Unit, function.Why.Detail),
            ]
        )
        {
            Late = target.Target.IsLate,
        };

    private DifferenceDescription Describe(string unit, FunctionListing listing, IReadOnlyDictionary<(string, string), MatchedRange> places)
    {
        var function = listing.Explanation.Function;
        return DifferenceDescription.Of(listing.Explanation) with
        {
            Code = new(
                places.GetValueOrDefault((unit, function.Name)),
                function.Pre.Sum(range => (long)range.Size),
                function.Post.Sum(range => (long)range.Size),
                [.. listing.Pre.Select(part => Instructions(part, preRoot))],
                [.. listing.Post.Select(part => Instructions(part, postRoot))]
            )
            {
                SourceBefore = _before.Find(function.Name, Head(listing.Pre)),
                SourceNow = _now.Find(function.Name, Head(listing.Post)),
            },
        };
    }

    private static SourceLocation? Head(IReadOnlyList<IReadOnlyList<InstructionText>> parts) =>
        parts.FirstOrDefault()?.FirstOrDefault()?.Source;

    private List<InstructionDescription> Instructions(IReadOnlyList<InstructionText> listed, string root) =>
        [
            .. listed
                .Select(instruction => (instruction, described: InstructionDescription.Of(instruction)!))
                .Select(both =>
                    both.instruction.Source is { } place && both.described.Source is { } line
                        ? both.described with
                        {
                            Source = line with { Text = TextOf(place, root) },
                        }
                        : both.described
                ),
        ];

    private string? TextOf(SourceLocation place, string root)
    {
        string name = LineDirectives.PathOf(place.Path),
            path = Path.Combine(root, name);
        if (!_files.TryGetValue(path, out var lines))
            _files.Add(path, lines = LineDirectives.Read(name, File.Exists(path) ? File.ReadAllLines(path, Encoding.Latin1) : []));
        return lines.GetValueOrDefault((place.Path, place.Line))?.Trim();
    }
}
