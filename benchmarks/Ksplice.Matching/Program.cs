// SPDX-License-Identifier: MIT
// Run-pre matching on whole kernels.
// dotnet run -c Release --project benchmarks/Ksplice.Matching -- units --release R --output docs/results/matching.csv
// dotnet run -c Release --project benchmarks/Ksplice.Matching -- units --release R --memory DUMP --output docs/results/matching-dump.csv
// dotnet run -c Release --project benchmarks/Ksplice.Matching -- vectors, guest: for tests/long/match-guest
// dotnet run -c Release --project benchmarks/Ksplice.Matching -- mutations --release R --output docs/results/mutations.csv
// dotnet run --project benchmarks/Ksplice.Matching -- write-vectors: tests/vectors, for which no kernel is needed
using System.CommandLine;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Matching;
using Ksplice.Matching;
using Microsoft.Extensions.Logging.Abstractions;

Option<string> release = new("--release") { Description = "The kernel to match against", Required = true };
Option<string?> source = new("--source") { Description = "Its source tarball or tree, where it is not where the distribution puts it" };
Option<string> work = new("--work")
{
    Description = "Where objects and finished rows are kept; a run goes on from there",
    DefaultValueFactory = _ => Path.Combine(Path.GetTempPath(), "ksplice-matching"),
};
Option<string?> dump = new("--memory")
{
    Description = "The memory of a kernel that ran, a dump or /proc/kcore, to match against instead of the image",
};
Option<int> perPart = new("--per-part") { Description = "How many units of each part of the tree", DefaultValueFactory = _ => 40 };
Option<string> output = new("--output") { Description = "The table to write", Required = true };
Option<int> count = new("--count") { Description = "How many changes to try", DefaultValueFactory = _ => 10_000 };
Option<int> seed = new("--seed") { Description = "The seed of the random numbers", DefaultValueFactory = _ => 1 };

var units = new Command("units", "Match every function of the chosen units against the shipped image")
{
    release,
    source,
    work,
    perPart,
    dump,
    output,
};
units.SetAction(
    async (arguments, cancellation) =>
    {
        if (await OpenAsync(arguments, cancellation) is not var (kernel, memory, run))
            return 1;
        var rows = await run.RunAsync(UnitChoice.Choose(kernel, arguments.GetValue(perPart)), cancellation);
        await File.WriteAllTextAsync(arguments.GetRequiredValue(output), UnitRow.ToCsv(rows), cancellation);
        int functions = rows.Sum(row => row.Functions),
            matched = rows.Sum(row => row.Matched);
        Console.WriteLine(
            $"{rows.Count} units, {functions} functions, {matched} matched ({100.0 * matched / functions:f3} %), "
                + $"{rows.Sum(row => row.TextBytes)} bytes of text"
        );
        foreach (var group in rows.SelectMany(row => row.Rest).GroupBy(rest => rest.Kind).OrderByDescending(group => group.Count()))
            Console.WriteLine($"{group.Count(), 6} {group.Key}");
        return 0;
    }
);

var mutations = new Command("mutations", "Change matched functions in the image at random; none of them may match then")
{
    release,
    source,
    work,
    perPart,
    dump,
    count,
    seed,
    output,
};
mutations.SetAction(
    async (arguments, cancellation) =>
    {
        if (await OpenAsync(arguments, cancellation) is not var (kernel, memory, run))
            return 1;
        string csv = await new MutationRun(run, memory, arguments.GetValue(seed)).RunAsync(
            UnitChoice.Choose(kernel, arguments.GetValue(perPart)),
            arguments.GetValue(count),
            cancellation
        );
        await File.WriteAllTextAsync(arguments.GetRequiredValue(output), csv, cancellation);
        Console.Write(csv);
        return 0;
    }
);

var compare = new Command(
    "compare",
    "The C interpreter and the C# one over the same functions and the same changes to them, and the speed of both"
)
{
    release,
    source,
    work,
    perPart,
    dump,
    count,
    seed,
};
compare.SetAction(
    async (arguments, cancellation) =>
    {
        if (await OpenAsync(arguments, cancellation) is not var (kernel, memory, run))
            return 1;
        string folder = Path.Combine(Path.GetFullPath(arguments.GetRequiredValue(work)), kernel.Release.Release, "compare");
        Directory.CreateDirectory(folder);
        run.WriteKernel(Path.Combine(folder, "kernel"));
        var vectors = await Vector.OfAsync(run, UnitChoice.Choose(kernel, arguments.GetValue(perPart)), cancellation);
        Comparison comparison = new(RepositoryRoot(), folder, Path.Combine(folder, "kernel"), memory, vectors);
        await comparison.PrepareAsync(cancellation);
        var (tried, differing) = await comparison.CompareAsync(
            [.. Enumerable.Range(0, vectors.Count).Select(vector => (vector, (Mutation?)null))],
            cancellation
        );
        Console.WriteLine($"{tried} functions, {differing} with another result");
        (tried, differing) = await comparison.CompareAsync(
            Vector.MutationsOf(vectors, memory, arguments.GetValue(count), arguments.GetValue(seed)),
            cancellation
        );
        Console.WriteLine($"{tried} changes, {differing} with another result");
        var (managed, native) = await comparison.MeasureAsync(cancellation);
        double megabytes =
            vectors.Sum(vector => MatchInterpreter.Match(vector.Data, memory).Ranges.Sum(range => (long)(range.End - range.Start))) / 1e6;
        Console.WriteLine(
            $"{megabytes:f2} MB of text: C# {managed:f3} s, {megabytes / managed:f1} MB/s; C {native:f3} s, {megabytes / native:f1} MB/s"
        );
        return 0;
    }
);

var vectors = new Command("vectors", "Write the functions' match data into a file, each behind its size")
{
    release,
    source,
    work,
    perPart,
    output,
};
vectors.SetAction(
    async (arguments, cancellation) =>
    {
        if (await OpenAsync(arguments, cancellation) is not var (kernel, memory, run))
            return 1;
        var all = await Vector.OfAsync(run, UnitChoice.Choose(kernel, arguments.GetValue(perPart)), cancellation);
        await using BinaryWriter writer = new(File.Create(arguments.GetRequiredValue(output)));
        foreach (var vector in all)
        {
            writer.Write(vector.Data.Length);
            writer.Write(vector.Data);
        }
        return 0;
    }
);

Option<string> results = new("--results")
{
    Description = "What a guest said of the file that vectors wrote, a line each",
    Required = true,
};
var guest = new Command("guest", "What the C interpreter said in a guest, held against the C# one's over the guest's memory")
{
    release,
    source,
    work,
    perPart,
    dump,
    results,
    output,
};
guest.SetAction(
    async (arguments, cancellation) =>
    {
        if (await OpenAsync(arguments, cancellation) is not var (kernel, memory, run))
            return 1;
        var all = await Vector.OfAsync(run, UnitChoice.Choose(kernel, arguments.GetValue(perPart)), cancellation);
        GuestRun compared = new(
            kernel.Release.Release,
            memory,
            all,
            await File.ReadAllLinesAsync(arguments.GetRequiredValue(results), cancellation)
        );
        await File.WriteAllTextAsync(arguments.GetRequiredValue(output), compared.ToCsv(), cancellation);
        Console.Write(compared.Summary());
        return compared.Differing == 0 ? 0 : 1;
    }
);

Option<string> otherRelease = new("--other") { Description = "The other version's release", Required = true };
Option<string?> otherSource = new("--other-source") { Description = "Its source" };
var versions = new Command("versions", "Objects of another version against this one's image, of those chosen units whose source differs")
{
    release,
    source,
    work,
    perPart,
    otherRelease,
    otherSource,
};
versions.SetAction(
    async (arguments, cancellation) =>
    {
        if (
            await OpenAsync(arguments, cancellation) is not var (kernel, memory, run)
            || await PrepareAsync(arguments.GetRequiredValue(otherRelease), arguments.GetValue(otherSource), cancellation) is not { } other
        )
            return 1;
        OtherVersion result = new(
            run,
            new UnitRun(other, null!, memory, Path.Combine(Path.GetFullPath(arguments.GetRequiredValue(work)), other.Release.Release), ""),
            memory
        );
        foreach (var unit in UnitChoice.Choose(kernel, arguments.GetValue(perPart)))
        {
            string mine = Path.Combine(kernel.SourceDirectory, unit.Source),
                theirs = Path.Combine(other.SourceDirectory, unit.Source);
            if (
                other.Units.Find(unit.Source) is { } old
                && File.Exists(theirs)
                && await File.ReadAllTextAsync(mine, cancellation) != await File.ReadAllTextAsync(theirs, cancellation)
            )
                await result.AddAsync(unit, old, cancellation);
        }
        Console.WriteLine(
            $"{result.Units} units; {result.Differing} functions differ, {result.DifferingMatched} of them match; "
                + $"{result.Gone.Count} are gone, {result.Gone.Matched} match; {result.Same} are the same, {result.SameMatched} match"
        );
        foreach (var (why, functions) in result.Why.OrderByDescending(pair => pair.Value))
            Console.WriteLine($"{functions, 6} {why}");
        return 0;
    }
);

var writeVectors = new Command("write-vectors", "Write the files of tests/vectors");
writeVectors.SetAction(
    async (_, cancellation) =>
    {
        foreach (var (name, text) in SmallVectors.Files())
            await File.WriteAllTextAsync(Path.Combine(RepositoryRoot(), "tests", "vectors", name), text, cancellation);
        return 0;
    }
);
return await new RootCommand("Run-pre matching on whole kernels") { units, mutations, compare, vectors, guest, versions, writeVectors }
    .Parse(args)
    .InvokeAsync();

static string RepositoryRoot()
{
    string? folder = AppContext.BaseDirectory;
    while (folder is not null && !File.Exists(Path.Combine(folder, "Ksplice.sln")))
        folder = Path.GetDirectoryName(folder);
    return folder ?? throw new DirectoryNotFoundException("Ksplice.sln is not above the program");
}

async Task<(PreparedKernel, IMatchMemory, UnitRun)?> OpenAsync(ParseResult arguments, CancellationToken cancellation)
{
    DiagnosticBag diagnostics = [];
    var kernel = await PrepareAsync(arguments.GetRequiredValue(release), arguments.GetValue(source), cancellation);
    if (kernel is null || KernelImage.Open(kernel.Release.Image, diagnostics) is not { } image)
    {
        await Console.Error.WriteLineAsync(string.Join('\n', diagnostics));
        return null;
    }
    IMatchMemory? memory = new ImageMemory(image);
    string rows = "rows";
    if (arguments.GetValue(dump) is { } path)
    {
        memory = RunMemory.Create(KernelMemory.Open(path), image, diagnostics);
        rows = "rows-" + Path.GetFileNameWithoutExtension(path);
    }
    if (memory is null)
    {
        await Console.Error.WriteLineAsync(string.Join('\n', diagnostics));
        return null;
    }
    return (
        kernel,
        memory,
        new UnitRun(kernel, image, memory, Path.Combine(Path.GetFullPath(arguments.GetRequiredValue(work)), kernel.Release.Release), rows)
    );
}

async Task<PreparedKernel?> PrepareAsync(string name, string? from, CancellationToken cancellation)
{
    DiagnosticBag diagnostics = [];
    var resolved = await KernelReleaseResolver.ResolveAsync(new() { Release = name, Source = from }, diagnostics, cancellation);
    var prepared = resolved is null
        ? null
        : await new KernelCache(KernelCache.DefaultRoot, NullLogger.Instance).PrepareAsync(resolved, diagnostics, cancellation);
    if (prepared is null)
        await Console.Error.WriteLineAsync(string.Join('\n', diagnostics));
    return prepared;
}
