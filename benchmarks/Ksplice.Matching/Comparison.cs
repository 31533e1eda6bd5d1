// SPDX-License-Identifier: MIT
// The C interpreter beside the C# one: the same data over the same memory, and how long each takes.
using System.Diagnostics;
using System.Globalization;
using CliWrap;
using CliWrap.Buffered;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Matching;

namespace Ksplice.Matching;

/// <summary>Runs both; the C program and its files are made in <paramref name="work"/>.</summary>
internal sealed class Comparison(string root, string work, string kernel, IMatchMemory memory, IReadOnlyList<Vector> vectors)
{
    private const int Chunk = 400;

    private string Program(string name) => Path.Combine(work, name);

    private string File(int vector) => Path.Combine(work, "vectors", $"{vector}.bin");

    /// <summary>Writes the vectors and compiles the C interpreter, with and without the sanitizers.</summary>
    public async Task PrepareAsync(CancellationToken cancellation)
    {
        Directory.CreateDirectory(Path.Combine(work, "vectors"));
        for (int i = 0; i < vectors.Count; i++)
            await System.IO.File.WriteAllBytesAsync(File(i), vectors[i].Data, cancellation);
        string c = Path.Combine(root, "src", "Ksplice.Kernel"),
            tests = Path.Combine(root, "tests", "Ksplice.Build.Tests", "Matching");
        foreach (
            var (name, options) in new[] { ("checked", "-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all"), ("fast", "-O2") }
        )
        {
            await Cli.Wrap("gcc")
                .WithArguments([
                    .. options.Split(' '),
                    "-I",
                    Path.Combine(c, "include"),
                    Path.Combine(tests, "interpreter.c"),
                    Path.Combine(tests, "dumped.c"),
                    Path.Combine(tests, "shown.c"),
                    .. Directory.GetFiles(Path.Combine(c, "match"), "*.c"),
                    "-o",
                    Program(name),
                ])
                .ExecuteAsync(cancellation);
        }
    }

    /// <summary>Compares all vectors, and as many mutations of what they match; returns how many differ.</summary>
    public async Task<(int Tried, int Differing)> CompareAsync(
        IReadOnlyList<(int Vector, Mutation? Change)> cases,
        CancellationToken cancellation
    )
    {
        int differing = 0;
        ChangedMemory changed = new(memory);
        foreach (var chunk in cases.Chunk(Chunk))
        {
            var arguments = chunk.Select(one =>
                one.Change is null
                    ? File(one.Vector)
                    : $"@{one.Change.Address:x}:{Convert.ToHexString(one.Change.Bytes)}@{File(one.Vector)}"
            );
            var result = await Cli.Wrap(Program("checked")).WithArguments([kernel, .. arguments]).ExecuteBufferedAsync(cancellation);
            string[] lines = result.StandardOutput.TrimEnd('\0').Split('\0');
            for (int i = 0; i < chunk.Length; i++)
            {
                if (chunk[i].Change is { } change)
                    changed.Write(change.Address, change.Bytes);
                string mine = DumpedKernel.Show(MatchInterpreter.Match(vectors[chunk[i].Vector].Data, changed));
                changed.Restore();
                if (i < lines.Length && lines[i] == mine)
                    continue;
                differing++;
                Console.WriteLine(
                    $"{vectors[chunk[i].Vector].Function} ({vectors[chunk[i].Vector].Unit}), {chunk[i].Change?.Kind}:\n"
                        + $"  C# {mine}\n  C  {(i < lines.Length ? lines[i] : "nothing")}"
                );
            }
        }
        return (cases.Count, differing);
    }

    /// <summary>Seconds of processor time that each takes for all vectors, on one core.</summary>
    public async Task<(double Managed, double Native)> MeasureAsync(CancellationToken cancellation)
    {
        const int Times = 5;
        foreach (var vector in vectors)
            MatchInterpreter.Match(vector.Data, memory);
        var from = Process.GetCurrentProcess().TotalProcessorTime;
        for (int i = 0; i < Times; i++)
        {
            foreach (var vector in vectors)
                MatchInterpreter.Match(vector.Data, memory);
        }
        double managed = (Process.GetCurrentProcess().TotalProcessorTime - from).TotalSeconds / Times,
            native = 0;
        for (int start = 0; start < vectors.Count; start += Chunk)
        {
            var files = Enumerable.Range(start, Math.Min(Chunk, vectors.Count - start)).Select(File);
            var result = await Cli.Wrap(Program("fast"))
                .WithArguments([kernel, "-t", Times.ToString(CultureInfo.InvariantCulture), .. files])
                .ExecuteBufferedAsync(cancellation);
            native += double.Parse(result.StandardOutput, CultureInfo.InvariantCulture) / Times;
        }
        return (managed, native);
    }
}
