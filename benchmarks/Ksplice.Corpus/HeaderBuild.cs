// SPDX-License-Identifier: MIT
// A changed header as a patch: every unit that reads it is compiled before and after and compared, those of modules too; what
// differs in units of the kernel itself is one update, matched as such. Which headers: of those that differ and that some
// unit reads, in the order of how many do, the ones at 10, 30, 50, 70 and 80
// percent. The witnesses are asked about each unit that differs or is refused, and about every tenth of the others.
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Kernel;
using Ksplice.Build.Patching;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Corpus;

/// <summary>What became of one header.</summary>
/// <param name="Header">The header.</param>
/// <param name="Units">Units that read it, of the kernel and of modules.</param>
/// <param name="OfModules">Those of modules.</param>
/// <param name="Failed">Units that do not compile with the new header.</param>
/// <param name="Differing">Units of the kernel whose code differs.</param>
/// <param name="ModulesDiffering">Units of modules whose code differs; they are compared and not matched.</param>
/// <param name="Result">As in the table of files.</param>
/// <param name="Diagnostic">The ids of all errors.</param>
/// <param name="Functions">Replaced and new functions of the kernel, distinct.</param>
/// <param name="Wrong">Units of which a witness objects.</param>
/// <param name="Seconds">Wall time.</param>
internal sealed record HeaderRow(
    string Header,
    int Units,
    int OfModules,
    int Failed,
    int Differing,
    int ModulesDiffering,
    string Result,
    string Diagnostic,
    int Functions,
    int Wrong,
    double Seconds
);

/// <summary>Builds updates that change one header.</summary>
internal sealed class HeaderBuild(PreparedKernel kernel, IncludeIndex includes, PatchBuild build, string work)
{
    private sealed record UnitVerdict(
        CompilationUnit Unit,
        ObjectDiff? Diff,
        IReadOnlyList<Diagnostic> Errors,
        IReadOnlyList<string> Objections
    );

    /// <summary>The headers to build, with the number of units that read each; null after an error.</summary>
    public static async Task<IReadOnlyList<(string Header, int Units)>?> ChooseAsync(
        PreparedKernel kernel,
        IncludeIndex includes,
        string newer,
        DiagnosticBag diagnostics,
        CancellationToken cancellation
    )
    {
        var headers = Directory
            .EnumerateFiles(newer, "*.h", SearchOption.AllDirectories)
            .Select(path => Path.GetRelativePath(newer, path))
            .Where(header =>
                File.Exists(Path.Combine(kernel.SourceDirectory, header))
                && !File.ReadAllBytes(Path.Combine(newer, header))
                    .AsSpan()
                    .SequenceEqual(File.ReadAllBytes(Path.Combine(kernel.SourceDirectory, header)))
            )
            .ToList();
        List<(string Header, int Units)> changed = [];
        foreach (string header in headers)
        {
            if (await includes.UsersOfAsync(header, diagnostics, cancellation).ConfigureAwait(false) is not { } users)
                return null;
            if (users.Count(unit => unit.Apart is null) is > 0 and var units)
                changed.Add((header, units));
        }
        changed = [.. changed.OrderBy(pair => pair.Units).ThenBy(pair => pair.Header, StringComparer.Ordinal)];
        Console.WriteLine($"{changed.Count} changed headers are read by units: {string.Join(' ', changed.Select(pair => pair.Units))}");
        return [.. new[] { 10, 30, 50, 70, 80 }.Select(percent => changed[(changed.Count - 1) * percent / 100])];
    }

    /// <summary>Builds the update that changes <paramref name="header"/> alone.</summary>
    public async Task<HeaderRow> RunAsync(string header, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        DiagnosticBag diagnostics = [];
        string root = Path.Combine(build.Folder(header), "post");
        if (
            await build.PatchAsync(header, diagnostics, cancellation).ConfigureAwait(false) is not { } patch
            || PostTree.Write(kernel.SourceDirectory, root, [patch], diagnostics, cancellationToken: cancellation) is not { } tree
            || await AffectedUnits.FindAsync(kernel, tree, null, includes, diagnostics, cancellation).ConfigureAwait(false)
                is not { } affected
        )
            return new(
                header,
                0,
                0,
                0,
                0,
                0,
                "refused",
                string.Join(' ', diagnostics.Select(diagnostic => diagnostic.Id).Distinct()),
                0,
                0,
                clock.Elapsed.TotalSeconds
            );
        ConcurrentBag<UnitVerdict> verdicts = [];
        await Parallel
            .ForEachAsync(
                affected.Where(unit => unit.Unit.Apart is null).Index(),
                new ParallelOptions { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount },
                async (unit, token) =>
                    verdicts.Add(await CompareAsync(header, unit.Item.Unit, unit.Index % 10 == 0, tree.Root, token).ConfigureAwait(false))
            )
            .ConfigureAwait(false);

        var diffs = verdicts
            .Where(verdict => verdict.Unit.Module is null && verdict.Diff is { IsEmpty: false })
            .Select(verdict => verdict.Diff!)
            .OrderBy(diff => diff.Unit, StringComparer.Ordinal)
            .ToList();
        var errors = verdicts.SelectMany(verdict => verdict.Errors).ToList();
        if (errors.Count == 0)
        {
            build.Match(diffs, diagnostics);
            errors.AddRange(diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error));
        }
        int failed = verdicts.Count(verdict => verdict.Errors.Any(error => error.Id == KernelDiagnostics.CompilerError.Id));
        int modules = verdicts.Count(verdict => verdict.Unit.Module is not null && verdict.Diff is { IsEmpty: false });
        await File.WriteAllLinesAsync(
                Path.Combine(build.Folder(header), "errors.txt"),
                verdicts
                    .OrderBy(verdict => verdict.Unit.Source, StringComparer.Ordinal)
                    .SelectMany(verdict =>
                        verdict
                            .Errors.Select(error => error.ToString())
                            .Concat(verdict.Objections.Select(objection => $"{verdict.Unit.Source}: witness: {objection}"))
                    ),
                cancellation
            )
            .ConfigureAwait(false);
        string result =
            failed != 0 ? "not_alone"
            : errors.Count != 0 ? "refused"
            : diffs.Count + modules != 0 ? "updated"
            : "unchanged";
        return new(
            header,
            affected.Count,
            affected.Count(unit => unit.Unit.Module is not null),
            failed,
            diffs.Count,
            modules,
            result,
            string.Join(' ', errors.Select(error => error.Id).Distinct().Order(StringComparer.Ordinal)),
            diffs
                .SelectMany(diff =>
                    diff.Replaced.Select(function => function.Name).Concat(diff.NewFunctions.Select(function => function.Name))
                )
                .Distinct()
                .Count(),
            verdicts.Count(verdict => verdict.Objections.Count != 0),
            clock.Elapsed.TotalSeconds
        );
    }

    // Objects before the patch serve all headers.
    private async Task<UnitVerdict> CompareAsync(
        string header,
        CompilationUnit unit,
        bool askAnyway,
        string root,
        CancellationToken cancellation
    )
    {
        DiagnosticBag diagnostics = [];
        UnitCompiler compiler = new(kernel, NullLogger.Instance);
        string pre = Path.Combine(work, "pre", unit.Source + ".o"),
            post = Path.Combine(build.Folder(header), "objects", unit.Source + ".o");
        if (
            await compiler.CompileAsync(unit, root, post, [], diagnostics, cancellation).ConfigureAwait(false) is null
            || (
                !File.Exists(pre)
                && await compiler.CompileAsync(unit, kernel.SourceDirectory, pre, [], diagnostics, cancellation).ConfigureAwait(false)
                    is null
            )
        )
            return Verdict(null, []);
        var diff = PatchBuild.Compare(unit.Source, PatchBuild.Read(pre), PatchBuild.Read(post), diagnostics);
        var errors = Errors();
        if (!askAnyway && diff is { IsEmpty: true })
            return Verdict(diff, []);
        var (replaced, brought) = PatchBuild.Functions(diff);
        return Verdict(
            diff,
            (await PatchBuild.AskAsync(pre, post, errors, replaced, brought, cancellation).ConfigureAwait(false)).Objections
        );

        List<Diagnostic> Errors() => [.. diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error)];

        UnitVerdict Verdict(ObjectDiff? diff, IReadOnlyList<string> objections)
        {
            // Equal objects of thousands of units need no room.
            if (diff is { IsEmpty: true })
                File.Delete(post);
            return new(unit, diff, Errors(), objections);
        }
    }

    /// <summary>The table.</summary>
    public static string ToCsv(IEnumerable<HeaderRow> rows) =>
        "header,result,diagnostic,units,of_modules,not_compiled,differing,modules_differing,functions,wrong,seconds\n"
        + string.Concat(
            rows.Select(row =>
                string.Create(
                    CultureInfo.InvariantCulture,
                    $"{row.Header},{row.Result},{row.Diagnostic},{row.Units},{row.OfModules},{row.Failed},{row.Differing},"
                        + $"{row.ModulesDiffering},{row.Functions},{row.Wrong},{row.Seconds:f0}\n"
                )
            )
        );
}
