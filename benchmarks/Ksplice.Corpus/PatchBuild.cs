// SPDX-License-Identifier: MIT
using System.Diagnostics;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Analysis;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Elf;
using Ksplice.Build.Generation;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Patching;
using Ksplice.Build.Targets;
using Ksplice.Build.Tests.Analysis;
using Ksplice.Build.Updates;
using Ksplice.Corpus.Witness;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Corpus;

/// <summary>The stages of an update's build, up to offline run-pre matching, for patches of one source file.</summary>
/// <param name="kernel">The kernel to update.</param>
/// <param name="image">Its shipped image.</param>
/// <param name="exports">What it and its modules export.</param>
/// <param name="newer">The tree with the patched files.</param>
/// <param name="work">A folder for objects and patches.</param>
internal sealed class PatchBuild(PreparedKernel kernel, KernelImage image, KernelExports exports, string newer, string work)
{
    private readonly RunningKernel _running = new(image, exports.ModuleOf, KernelConfiguration.Read(kernel.Release.Config));
    private readonly ExportedSymbols _exported = exports.BesideTarget(null);

    /// <summary>Builds the update that changes <paramref name="source"/> alone, and asks the witnesses.</summary>
    public async Task<CorpusRow> RunAsync(string source, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        DiagnosticBag diagnostics = [];
        var diff = await BuildAsync(source, diagnostics, cancellation).ConfigureAwait(false);
        double seconds = clock.Elapsed.TotalSeconds;
        var errors = diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error).ToList();
        string result =
            errors.Count != 0
                ? errors[0].Id == KernelDiagnostics.CompilerError.Id
                    ? "not_alone"
                    : "refused"
                : diff is { IsEmpty: true }
                    ? "unchanged"
                    : "updated";
        var (replaced, brought) = Functions(result == "updated" ? diff : null);
        var (confirmed, objections) =
            result == "not_alone"
                ? new Testimony("gcc", [])
                : await AskAsync(
                        Path.Combine(Folder(source), "pre.o"),
                        Path.Combine(Folder(source), "post.o"),
                        errors,
                        replaced,
                        brought,
                        cancellation
                    )
                    .ConfigureAwait(false);
        return new CorpusRow(
            source,
            objections.Count == 0 ? result : "wrong",
            errors.FirstOrDefault()?.Id ?? "",
            string.Join('\n', errors.Select(error => error.ToString()).Concat(objections.Select(objection => "witness: " + objection))),
            confirmed,
            replaced,
            brought,
            Pins(result == "updated" ? diff : null),
            result == "updated" && diff!.Pinned,
            seconds
        );
    }

    /// <summary>The functions that an update of one unit replaces, with the reasons, and those that it brings.</summary>
    public static (SortedDictionary<string, string> Replaced, List<string> New) Functions(ObjectDiff? diff)
    {
        SortedDictionary<string, string> replaced = new(StringComparer.Ordinal);
        foreach (var function in diff?.Replaced ?? [])
            replaced.TryAdd(function.Name, $"{function.Why.Kind} in {function.Why.Part}: {function.Why.Detail}");
        return (replaced, [.. diff?.NewFunctions.Select(function => function.Name) ?? []]);
    }

    private static SortedDictionary<PinKind, int> Pins(ObjectDiff? diff) =>
        new((diff?.Pins ?? []).CountBy(pin => pin.Kind).ToDictionary(count => count.Key, count => count.Value));

    /// <summary>The patch, written into the folder of <paramref name="source"/>; null if it is none.</summary>
    public async Task<SourcePatch?> PatchAsync(string source, DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        string patchFile = Path.Combine(Directory.CreateDirectory(Folder(source)).FullName, "fix.patch");
        var diff = await Cli.Wrap("diff")
            .WithArguments([
                "-u",
                "--label",
                "a/" + source,
                "--label",
                "b/" + source,
                Path.Combine(kernel.SourceDirectory, source),
                Path.Combine(newer, source),
            ])
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync(System.Text.Encoding.Latin1, cancellation)
            .ConfigureAwait(false);
        await File.WriteAllTextAsync(patchFile, diff.StandardOutput, System.Text.Encoding.Latin1, cancellation).ConfigureAwait(false);
        return SourcePatch.Read(patchFile, diagnostics);
    }

    /// <summary>Where patch and objects of <paramref name="source"/> are.</summary>
    public string Folder(string source) => Path.Combine(work, source);

    private async Task<ObjectDiff?> BuildAsync(string source, DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        string folder = Folder(source);
        if (
            await PatchAsync(source, diagnostics, cancellation).ConfigureAwait(false) is not { } patch
            || PostTree.Write(kernel.SourceDirectory, Path.Combine(folder, "post"), [patch], diagnostics, cancellationToken: cancellation)
                is not { } tree
        )
            return null;
        UnitCompiler compiler = new(kernel, NullLogger.Instance);
        var unit = kernel.Units.Find(source)!;
        string pre = Path.Combine(folder, "pre.o"),
            post = Path.Combine(folder, "post.o");
        foreach (var (root, output) in ((string, string)[])[(kernel.SourceDirectory, pre), (tree.Root, post)])
        {
            if (await compiler.CompileAsync(unit, root, output, [], diagnostics, cancellation).ConfigureAwait(false) is null)
                return null;
        }
        UpdateBuild build = new(
            new()
            {
                UpdateId = "00000000",
                Units = [new UnitObjects(source, null, pre, post)],
                Release = kernel.Release,
                Kernel = _running,
                Patches = [patch],
                SourceRoot = kernel.SourceDirectory,
            }
        );
        foreach (var diagnostic in build.Judgement(cancellation).Diagnostics)
            diagnostics.Add(diagnostic);
        if (diagnostics.HasErrors)
            return null;
        var diff = build.Differences(cancellation).Value?[0];
        foreach (var diagnostic in diff is { IsEmpty: false } ? build.Matches(cancellation).Diagnostics : [])
            diagnostics.Add(diagnostic);
        return diff;
    }

    /// <summary>What of one unit differs, types included; null after errors.</summary>
    public static ObjectDiff? Compare(string source, ElfObject pre, ElfObject post, DiagnosticBag diagnostics)
    {
        var diff = UpdateJudgement.Compare(new AnalyzedUnit(source, null, pre, post), diagnostics);
        if (diff is not { IsEmpty: true })
            TypeVerdict.Compare(pre, post, source, diagnostics);
        return diagnostics.HasErrors ? null : diff;
    }

    /// <summary>Matches an update's units against the image.</summary>
    public void Match(IReadOnlyList<ObjectDiff> diffs, DiagnosticBag diagnostics)
    {
        if (diffs.Count == 0 || MatchDataBuilder.Build(diffs, _exported.SymbolsToResolve(diffs), diagnostics) is not { } data)
            return;
        ImageMatch.Check(data, image, diagnostics);
        StaticKeyCheck.Check(diffs, image, diagnostics);
    }

    /// <summary>Asks the witnesses about the verdict on a unit: its errors, or what it replaces and brings.</summary>
    public static async Task<Testimony> AskAsync(
        string pre,
        string post,
        IReadOnlyList<Diagnostic> errors,
        IReadOnlyDictionary<string, string> replaced,
        IReadOnlyList<string> brought,
        CancellationToken cancellation
    )
    {
        if (!File.Exists(pre) || !File.Exists(post))
            return new("", ["there are no objects"]);
        var objects = await ObjectWitness.ReadAsync(pre, post, cancellation).ConfigureAwait(false);
        var types = await TypeWitness.ReadAsync(pre, post, cancellation).ConfigureAwait(false);
        if (errors.Count == 0)
        {
            var objections = objects.Object(replaced, brought);
            // Object code that does not change is an update of nothing, whatever the types are called.
            if (replaced.Count + brought.Count != 0)
                objections.AddRange(types.Changed.Select(name => $"{name} differs"));
            return new(objections.Count == 0 ? "readelf objdump pahole" : "", objections);
        }
        var witnesses = errors
            .Select(error => (error, seen: objects.Confirm(error.Id, error.Message) ?? types.Confirm(error.Id, error.Message)))
            .ToList();
        List<string> unseen = [.. witnesses.Where(witness => witness.seen is null).Select(witness => "does not see " + witness.error)];
        List<string> seen = [.. witnesses.Select(witness => witness.seen!).Distinct()];
        const int Named = 3;
        return new(
            unseen.Count != 0 ? "" : string.Join(' ', seen.Take(Named)) + (seen.Count > Named ? $" +{seen.Count - Named}" : ""),
            unseen
        );
    }

    /// <summary>Reads an object.</summary>
    public static ElfObject Read(string path) => ElfObject.Read(File.ReadAllBytes(path), path);
}
