// SPDX-License-Identifier: MIT
// Debian's own update stream as a corpus: every .c file that is built into the kernel and differs between two source
// packages is one patch against the kernel of the older one.
// dotnet run -c Release --project benchmarks/Ksplice.Corpus -- --release R --older TARBALL --newer TARBALL --output docs/results/corpus.csv
using System.Collections.Concurrent;
using System.CommandLine;
using CliWrap;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Targets;
using Ksplice.Corpus;
using Ksplice.Corpus.Witness;
using Microsoft.Extensions.Logging.Abstractions;
using Spectre.Console;

Option<string> release = new("--release") { Description = "The kernel to update: of the older source package", Required = true };
Option<string> older = new("--older") { Description = "Its source tarball", Required = true };
Option<string> newer = new("--newer") { Description = "The source tarball with the fixes", Required = true };
Option<string> work = new("--work")
{
    Description = "Where patches, objects and finished rows are kept; a run goes on from there",
    DefaultValueFactory = _ => Path.Combine(Path.GetTempPath(), "ksplice-corpus"),
};
Option<string> output = new("--output") { Description = "The table to write", DefaultValueFactory = _ => "corpus.csv" };
Option<string?> only = new("--only") { Description = "Run this source file's patch again and print its row" };
Option<int> every = new("--every") { Description = "Build each N-th patch only, by path", DefaultValueFactory = _ => 1 };
RootCommand command = new("Builds every one-file patch between two source packages") { release, older, newer, work, output, only, every };
var measure = new System.CommandLine.Command("measure", "Show what differencing costs on the objects that a run left in --work") { work };
measure.SetAction(
    async (arguments, cancellation) =>
    {
        string folder = Path.GetFullPath(arguments.GetRequiredValue(work));
        await Measurement.RunAsync(Path.Combine(folder, "patches"), Path.Combine(folder, "linked"), cancellation);
    }
);
command.Add(measure);
Argument<string> pre = new("PRE"),
    post = new("POST");
var witness = new System.CommandLine.Command("witness", "Show what the witnesses see of two objects") { pre, post };
witness.SetAction(
    async (arguments, cancellation) =>
    {
        var seen = await ObjectWitness.ReadAsync(arguments.GetRequiredValue(pre), arguments.GetRequiredValue(post), cancellation);
        foreach (string function in seen.Changed)
            Console.WriteLine($"{function} differs\n{string.Join("", seen.Lines(function))}");
        foreach (string function in seen.New)
            Console.WriteLine($"{function} is new");
        foreach (string objection in seen.Object(new Dictionary<string, string>(), []))
            Console.WriteLine(objection);
    }
);
command.Add(witness);
var rules = new System.CommandLine.Command("rules", "Run the rules over the objects that a run left in --work") { release, older, work };
rules.SetAction(
    async (arguments, cancellation) =>
    {
        if (await OpenAsync(arguments.GetRequiredValue(release), arguments.GetRequiredValue(older), cancellation) is not { } opened)
            return 1;
        var (kernel, image, exports) = opened;
        RuleRun.Run(kernel, image, exports, Path.Combine(Path.GetFullPath(arguments.GetRequiredValue(work)), "patches"), cancellation);
        return 0;
    }
);
command.Add(rules);
Option<string?> dependencies = new("--dependencies")
{
    Description = "Dependency files of the kernel's units; without it, say where its tree is",
};
Option<int> files = new("--files") { Description = "How many files to ask for", DefaultValueFactory = _ => 200 };
Option<int> seed = new("--seed") { Description = "Chooses them" };
var reach = new System.CommandLine.Command("reach", "Compare which units the engine says that a file reaches with dependency files")
{
    release,
    dependencies,
    files,
    seed,
    output,
};
reach.SetAction(
    async (arguments, cancellation) =>
    {
        if (await OpenAsync(arguments.GetRequiredValue(release), null, cancellation) is not { Kernel: var kernel })
            return 1;
        if (arguments.GetValue(dependencies) is not { } folder)
            Console.WriteLine($"{Path.GetDirectoryName(kernel.OutputDirectory)} {kernel.Release.Compiler}");
        else
            await new ReachRun(kernel, folder).RunAsync(
                arguments.GetValue(files),
                arguments.GetValue(seed),
                arguments.GetRequiredValue(output),
                cancellation
            );
        return 0;
    }
);
command.Add(reach);
Option<string> changelog = new("--changelog") { Description = "The newer package's changelog", Required = true };
Option<string> since = new("--since") { Description = "The older package's version", Required = true };
Option<int> first = new("--first") { Description = "How many fixes to take", DefaultValueFactory = _ => 100 };
Option<string> into = new("--into") { Description = "The folder for the patches and fixes.csv", Required = true };
var fixes = new System.CommandLine.Command("fixes", "Find the fixes with a CVE that the changelog names, and write each as a patch")
{
    release,
    older,
    newer,
    work,
    changelog,
    since,
    first,
    into,
};
fixes.SetAction(
    async (arguments, cancellation) =>
    {
        if (
            await OpenAsync(arguments.GetRequiredValue(release), arguments.GetRequiredValue(older), cancellation)
            is not { Kernel: var kernel }
        )
            return 1;
        string tree = await UnpackAsync(
            arguments.GetRequiredValue(newer),
            Path.Combine(Path.GetFullPath(arguments.GetRequiredValue(work)), "newer"),
            cancellation
        );
        FixList list = new(kernel, tree);
        string text = await File.ReadAllTextAsync(arguments.GetRequiredValue(changelog), cancellation);
        var found = await list.FindAsync(text, arguments.GetRequiredValue(since), cancellation);
        Console.WriteLine($"{found.Count} fixes are found as the difference of one to five files");
        await list.WriteAsync([.. found.Take(arguments.GetValue(first))], arguments.GetRequiredValue(into), cancellation);
        return 0;
    }
);
command.Add(fixes);
var evaluate = new System.CommandLine.Command("evaluate", "Write evaluation.csv and evaluation.svg of what benchmarks/evaluation left")
{
    release,
    older,
    into,
};
evaluate.SetAction(
    async (arguments, cancellation) =>
    {
        if (
            await OpenAsync(arguments.GetRequiredValue(release), arguments.GetRequiredValue(older), cancellation)
            is not { Image: var image }
        )
            return 1;
        string folder = arguments.GetRequiredValue(into);
        var all = EvaluationRow.Read(folder, image);
        await File.WriteAllTextAsync(Path.Combine(folder, "evaluation.csv"), EvaluationRow.ToCsv(all), cancellation);
        await File.WriteAllTextAsync(Path.Combine(folder, "evaluation.svg"), EvaluationRow.ToSvg(all), cancellation);
        foreach (var group in all.GroupBy(row => $"{row.Result} {row.Diagnostic}".TrimEnd()).OrderByDescending(group => group.Count()))
            Console.WriteLine($"{group.Count(), 5} {group.Key}");
        Console.WriteLine(
            $"{all.Count(row => row.Guest == "ok")} applied and undone; "
                + $"{all.Count(row => row.Modules.Length != 0)} of {all.Count} in modules"
        );
        return 0;
    }
);
command.Add(evaluate);
Option<bool> proof = new("--line-proof")
{
    Description = "After the table, show for each patch that no function is replaced for a line number alone",
};
Option<bool> headers = new("--headers") { Description = "Build five changed headers, chosen by a rule, instead of the files" };
command.Add(proof);
command.Add(headers);
command.SetAction(
    async (arguments, cancellation) =>
    {
        if (await OpenAsync(arguments.GetRequiredValue(release), arguments.GetRequiredValue(older), cancellation) is not { } opened)
            return 1;
        var (kernel, image, exports) = opened;
        string folder = Path.GetFullPath(arguments.GetRequiredValue(work)),
            table = arguments.GetRequiredValue(output);
        string tree = await UnpackAsync(arguments.GetRequiredValue(newer), Path.Combine(folder, "newer"), cancellation);
        PatchBuild build = new(kernel, image, exports, tree, Path.Combine(folder, "patches"));
        if (arguments.GetValue(headers))
        {
            var includes = await IncludeIndex.OpenAsync(kernel, NullLogger.Instance, cancellation);
            DiagnosticBag diagnostics = [];
            if (await HeaderBuild.ChooseAsync(kernel, includes, tree, diagnostics, cancellation) is not { } chosen)
            {
                await Console.Error.WriteLineAsync(string.Join('\n', diagnostics));
                return 1;
            }
            HeaderBuild headerBuild = new(kernel, includes, build, Path.Combine(folder, "headers"));
            List<HeaderRow> built = [];
            foreach (var (header, units) in chosen)
            {
                Console.WriteLine($"{header}: {units} units");
                var row = await FinishedRows.ResumeAsync(Path.Combine(folder, "header-rows"), header, () =>
                    headerBuild.RunAsync(header, cancellation)
                );
                Console.WriteLine($"{row}");
                built.Add(row);
                await File.WriteAllTextAsync(table, HeaderBuild.ToCsv(built), cancellation);
            }
            return 0;
        }
        int step = arguments.GetValue(every);
        List<string> changed = [.. Changed(kernel, tree).Where((_, i) => i % step == 0)];
        string rows = Path.Combine(folder, "rows");
        if (arguments.GetValue(only) is { } one)
        {
            if (!changed.Contains(one))
            {
                await Console.Error.WriteLineAsync($"{one} is not among the {changed.Count} changed files that are built into the kernel");
                return 1;
            }
            FinishedRows.Forget(rows, one);
            Console.WriteLine($"{await FinishedRows.ResumeAsync(rows, one, () => build.RunAsync(one, cancellation))}");
            changed.RemoveAll(source => !FinishedRows.Has(rows, source));
        }
        var all = await InParallelAsync(
            "patches",
            changed,
            source => FinishedRows.ResumeAsync(rows, source, () => build.RunAsync(source, cancellation)),
            cancellation
        );
        await File.WriteAllTextAsync(table, CorpusRow.ToCsv(all), cancellation);
        foreach (var group in all.GroupBy(row => $"{row.Result} {row.Diagnostic}".TrimEnd()).OrderByDescending(group => group.Count()))
            Console.WriteLine($"{group.Count(), 5} {group.Key}");
        Console.Write(CorpusRow.PinSummary(all));
        foreach (var row in all.Where(row => row.Result == "wrong"))
            Console.WriteLine($"{row.Patch}: {row.Message}");
        if (arguments.GetValue(proof))
        {
            LineProof lines = new(kernel, build, tree);
            string[] compiled = [.. all.Where(row => row.Result != "not_alone").Select(row => row.Patch)];
            var proved = (
                await InParallelAsync(
                    "lines",
                    compiled,
                    source =>
                        FinishedRows.ResumeAsync(Path.Combine(folder, "line-rows"), source, () => lines.RunAsync(source, cancellation)),
                    cancellation
                )
            )
                .OfType<LineRow>()
                .ToList();
            await File.WriteAllTextAsync(Path.ChangeExtension(table, null) + "-lines.csv", LineProof.ToCsv(proved), cancellation);
            Console.WriteLine(
                $"{proved.Sum(row => row.Changed)} functions of {proved.Count} patches differ, "
                    + $"{proved.Sum(row => row.OnlyLines.Count)} of them for a line number alone; "
                    + $"without #line {proved.Sum(row => row.Without.Count)} more would, "
                    + $"in {proved.Count(row => row.Without.Count != 0)} patches"
            );
        }
        return all.Any(row => row.Result == "wrong") ? 2 : 0;
    }
);
return await command.Parse(args).InvokeAsync();

static async Task<IReadOnlyList<T>> InParallelAsync<T>(
    string what,
    IReadOnlyCollection<string> sources,
    Func<string, Task<T>> make,
    CancellationToken cancellation
)
{
    ConcurrentBag<T> made = [];
    await AnsiConsole
        .Progress()
        .StartAsync(async progress =>
        {
            var task = progress.AddTask(what, maxValue: sources.Count);
            await Parallel.ForEachAsync(
                sources,
                new ParallelOptions { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount },
                async (source, _) =>
                {
                    made.Add(await make(source));
                    task.Increment(1);
                }
            );
        });
    return [.. made];
}

// The prepared kernel, its image and what it exports; null after errors, which are shown.
static async Task<(PreparedKernel Kernel, KernelImage Image, KernelExports Exports)?> OpenAsync(
    string release,
    string? source,
    CancellationToken cancellation
)
{
    DiagnosticBag diagnostics = [];
    if (
        await KernelReleaseResolver.ResolveAsync(new() { Release = release, Source = source }, diagnostics, cancellation) is { } resolved
        && await new KernelCache(KernelCache.DefaultRoot, NullLogger.Instance).PrepareAsync(resolved, diagnostics, cancellation)
            is { } kernel
        && KernelImage.Open(resolved.Image, diagnostics) is { } image
        && KernelExports.Read(resolved.ModuleSymvers, diagnostics) is { } exports
    )
        return (kernel, image, exports);
    await Console.Error.WriteLineAsync(string.Join('\n', diagnostics));
    return null;
}

static async Task<string> UnpackAsync(string tarball, string folder, CancellationToken cancellation)
{
    if (Directory.Exists(folder))
        return folder;
    string partial = Directory.CreateDirectory(folder + ".partial").FullName;
    await Cli.Wrap("tar")
        .WithArguments(["-xf", tarball, "-C", partial, "--strip-components=1", "--wildcards", "*.c", "*.h"])
        .ExecuteAsync(cancellation);
    Directory.Move(partial, folder);
    return folder;
}

static List<string> Changed(PreparedKernel kernel, string newer) =>
    [
        .. kernel
            .Units.Units.Where(unit => unit.Module is null && !unit.IsAssembly)
            .Select(unit => unit.Source)
            .Distinct(StringComparer.Ordinal)
            .Where(source =>
                File.Exists(Path.Combine(newer, source))
                && !File.ReadAllBytes(Path.Combine(newer, source))
                    .AsSpan()
                    .SequenceEqual(File.ReadAllBytes(Path.Combine(kernel.SourceDirectory, source)))
            ),
    ];
