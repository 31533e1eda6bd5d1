// SPDX-License-Identifier: MIT
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Ksplice.Build.Matching;
using Ksplice.Build.Tests.Matching;
using Microsoft.Extensions.Logging.Abstractions;
using Spectre.Console;

namespace Ksplice.Matching;

/// <summary>
/// Compiles units and matches their functions against <paramref name="memory"/>; objects stay in <paramref name="work"/>, rows in
/// its folder <paramref name="rows"/>.
/// </summary>
internal sealed class UnitRun(PreparedKernel kernel, KernelImage image, IMatchMemory memory, string work, string rows)
{
    public async Task<List<UnitRow>> RunAsync(IReadOnlyList<CompilationUnit> units, CancellationToken cancellation)
    {
        var todo = units.Where(unit => !File.Exists(RowOf(unit))).ToList();
        await AnsiConsole
            .Progress()
            .StartAsync(async progress =>
            {
                var task = progress.AddTask("units", maxValue: todo.Count);
                await Parallel.ForEachAsync(
                    todo,
                    new ParallelOptions { CancellationToken = cancellation, MaxDegreeOfParallelism = Environment.ProcessorCount },
                    async (unit, token) =>
                    {
                        (await OneAsync(unit, token)).Save(RowOf(unit));
                        task.Increment(1);
                    }
                );
            });
        return [.. units.Select(unit => UnitRow.Load(RowOf(unit))).OfType<UnitRow>()];
    }

    /// <summary>Writes the kernel as the C interpreter's program reads it.</summary>
    public void WriteKernel(string path) =>
        DumpedKernel.Write(path, (memory as RunMemory)?.Kernel.Image ?? image, memory, (memory as RunMemory)?.FtraceSites);

    private string RowOf(CompilationUnit unit) => Path.Combine(work, rows, unit.Source.Replace('/', '!') + ".json");

    /// <summary>The unit's object as matching reads it, compiled if no run before did.</summary>
    public async Task<ElfObject?> CompileAsync(CompilationUnit unit, DiagnosticBag diagnostics, CancellationToken cancellation)
    {
        string path = Path.Combine(work, "objects", unit.Object);
        if (
            !File.Exists(path)
            && await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
                unit,
                kernel.SourceDirectory,
                path,
                [],
                diagnostics,
                cancellation
            )
                is null
        )
            return null;
        string withTables = UnitCompiler.WithTablesOf(path);
        return ElfObject.Read(await File.ReadAllBytesAsync(File.Exists(withTables) ? withTables : path, cancellation), unit.Source);
    }

    private async Task<UnitRow> OneAsync(CompilationUnit unit, CancellationToken cancellation)
    {
        DiagnosticBag diagnostics = [];
        var pre = await CompileAsync(unit, diagnostics, cancellation);
        if (pre is null)
            return new UnitRow(
                kernel.Release.Release,
                unit.Source,
                0,
                0,
                0,
                [new Unmatched("", "does not compile", string.Join(' ', diagnostics))]
            );
        List<Unmatched> rest = [];
        int functions = 0,
            matched = 0;
        long bytes = 0;
        foreach (var function in ObjectMatch.Run(pre, unit.Source, memory))
        {
            functions++;
            if (function.Result is { IsMatch: true } result)
            {
                matched++;
                bytes += result.Ranges.Sum(range => (long)(range.End - range.Start));
                if (!function.HasRoom)
                    rest.Add(new Unmatched(function.Name, NoRoom, ""));
            }
            else if (
                function.IsWeak
                && image.Symbols.Find(function.Name).Any()
                && image.Symbols.Find(function.Name).All(symbol => symbol.Type is not ('W' or 'w'))
            )
            {
                // Its symbol in the image is a strong one: the linker took another file's definition.
                functions--;
                rest.Add(new Unmatched(function.Name, Overridden, function.Result?.Failure?.ToString() ?? ""));
            }
            else
            {
                rest.Add(Explain(function));
            }
        }
        return new UnitRow(kernel.Release.Release, unit.Source, functions, matched, bytes, rest);
    }

    private const string NoRoom = "matched, no room for a redirect";
    private const string Overridden = "not counted, weak and overridden by another file";

    private static Unmatched Explain(FunctionMatch function)
    {
        if (function.Result?.Failure is not { } failure)
            return new Unmatched(
                function.Name,
                string.Join(' ', function.Problems.Select(problem => problem.Id)),
                string.Join(' ', function.Problems)
            );
        return new Unmatched(function.Name, failure.Reason.ToString(), failure.ToString());
    }
}
