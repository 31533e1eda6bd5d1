// Debian's own update stream as a corpus: every .c file that is built into the kernel and differs between two source
// packages is one patch against the kernel of the older one.
// dotnet run -c Release --project benchmarks/Ksplice.Corpus -- --release R --older TARBALL --newer TARBALL --output docs/results/corpus.csv
using System.CommandLine;
using CliWrap;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Kernel;
using Ksplice.Corpus;
using Microsoft.Extensions.Logging.Abstractions;
using Spectre.Console;

Option<string> release = new("--release") { Description = "The kernel to update: of the older source package", Required = true };
Option<string> older = new("--older") { Description = "Its source tarball", Required = true };
Option<string> newer = new("--newer") { Description = "The source tarball with the fixes", Required = true };
Option<string> work = new("--work") { Description = "Where patches, objects and finished rows are kept; a run goes on from there", DefaultValueFactory = _ => Path.Combine(Path.GetTempPath(), "ksplice-corpus") };
Option<string> output = new("--output") { Description = "The table to write", DefaultValueFactory = _ => "corpus.csv" };
Option<string?> only = new("--only") { Description = "Run this source file's patch again and print its row" };
RootCommand command = new("Builds every one-file patch between two source packages") { release, older, newer, work, output, only };
var measure = new System.CommandLine.Command("measure", "Show what differencing costs on the objects that a run left in --work") { work };
measure.SetAction(async (arguments, cancellation) =>
{
    string folder = Path.GetFullPath(arguments.GetRequiredValue(work));
    await Measurement.RunAsync(Path.Combine(folder, "patches"), Path.Combine(folder, "linked"), cancellation);
});
command.Add(measure);
command.SetAction(async (arguments, cancellation) =>
{
    DiagnosticBag diagnostics = [];
    var resolved = await KernelReleaseResolver.ResolveAsync(
        new() { Release = arguments.GetRequiredValue(release), Source = arguments.GetRequiredValue(older) }, diagnostics, cancellation);
    var kernel = resolved is null ? null : await new KernelCache(KernelCache.DefaultRoot, NullLogger.Instance).PrepareAsync(resolved, diagnostics, cancellation);
    var image = kernel is null ? null : KernelImage.Open(kernel.Release.Image, diagnostics);
    if (kernel is null || image is null)
    {
        await Console.Error.WriteLineAsync(string.Join('\n', diagnostics));
        return 1;
    }
    string folder = Path.GetFullPath(arguments.GetRequiredValue(work));
    string tree = await UnpackAsync(arguments.GetRequiredValue(newer), Path.Combine(folder, "newer"), cancellation);
    string rows = Directory.CreateDirectory(Path.Combine(folder, "rows")).FullName;
    PatchBuild build = new(kernel, image, tree, Path.Combine(folder, "patches"));
    var changed = Changed(kernel, tree);
    if (arguments.GetValue(only) is { } one)
    {
        if (!changed.Contains(one))
        {
            await Console.Error.WriteLineAsync($"{one} is not among the {changed.Count} changed files that are built into the kernel");
            return 1;
        }
        File.Delete(RowOf(rows, one));
    }
    await AnsiConsole.Progress().StartAsync(async progress =>
    {
        string[] todo = [.. changed.Where(source => !File.Exists(RowOf(rows, source)) && (arguments.GetValue(only) ?? source) == source)];
        var task = progress.AddTask("patches", maxValue: todo.Length);
        await Parallel.ForEachAsync(todo, new ParallelOptions { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount }, async (source, token) =>
        {
            (await build.RunAsync(source, token)).Save(RowOf(rows, source));
            task.Increment(1);
        });
    });
    var table = changed.Select(source => CorpusRow.Load(RowOf(rows, source))).OfType<CorpusRow>().ToList();
    if (arguments.GetValue(only) is { } shown)
    {
        var row = table.Single(row => row.Patch == shown);
        Console.WriteLine($"{row}");
    }
    await File.WriteAllTextAsync(arguments.GetRequiredValue(output), CorpusRow.ToCsv(table), cancellation);
    foreach (var group in table.GroupBy(row => $"{row.Result} {row.Diagnostic}".TrimEnd()).OrderByDescending(group => group.Count()))
        Console.WriteLine($"{group.Count(),5} {group.Key}");
    return 0;
});
return await command.Parse(args).InvokeAsync();

static string RowOf(string rows, string source) => Path.Combine(rows, source.Replace('/', '!') + ".json");

static async Task<string> UnpackAsync(string tarball, string folder, CancellationToken cancellation)
{
    if (Directory.Exists(folder))
        return folder;
    string partial = Directory.CreateDirectory(folder + ".partial").FullName;
    await Cli.Wrap("tar").WithArguments(["-xf", tarball, "-C", partial, "--strip-components=1", "--wildcards", "*.c"]).ExecuteAsync(cancellation);
    Directory.Move(partial, folder);
    return folder;
}

static List<string> Changed(PreparedKernel kernel, string newer) =>
    [.. kernel.Units.Units.Where(unit => unit.Module is null && !unit.IsAssembly).Select(unit => unit.Source).Distinct(StringComparer.Ordinal)
        .Where(source => File.Exists(Path.Combine(newer, source))
            && !File.ReadAllBytes(Path.Combine(newer, source)).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(kernel.SourceDirectory, source))))];
