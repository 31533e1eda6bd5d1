// SPDX-License-Identifier: MIT
// The interpreter that runs in the kernel against the one that runs in the build: the same data over the same memory must
// give the same verdict, the same difference and the same values. The C one is built as a program, with the sanitizers.
using System.Runtime.InteropServices;
using CliWrap;
using CliWrap.Buffered;
using CsCheck;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Differencing;
using Ksplice.Build.Matching;
using Ksplice.Build.Matching.Interpreter;
using Ksplice.Build.Tests.Kernel;

namespace Ksplice.Build.Tests.Matching;

public sealed class InterpreterTests : IAsyncLifetime
{
    private readonly DirectoryInfo _work = Directory.CreateTempSubdirectory("ksplice-match-");

    private string Program => Path.Combine(_work.FullName, "interpreter");

    private string Kernel => Path.Combine(_work.FullName, "kernel");

    public async ValueTask InitializeAsync()
    {
        string c = Repository.At("src", "Ksplice.Kernel");
        var built = await Cli.Wrap("gcc")
            .WithArguments([
                "-g",
                "-O1",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-fsanitize=address,undefined",
                "-fno-sanitize-recover=all",
                "-I",
                Path.Combine(c, "include"),
                Repository.At("tests", "Ksplice.Build.Tests", "Matching", "interpreter.c"),
                Repository.At("tests", "Ksplice.Build.Tests", "Matching", "dumped.c"),
                Repository.At("tests", "Ksplice.Build.Tests", "Matching", "shown.c"),
                .. Directory.GetFiles(Path.Combine(c, "match"), "*.c"),
                "-o",
                Program,
            ])
            .WithValidation(CommandResultValidation.None)
            .ExecuteBufferedAsync();
        Assert.True(built.ExitCode == 0, built.StandardError);
        DumpedKernel.Write(Kernel, KernelUnderTest.Image, new ImageMemory(KernelUnderTest.Image));
    }

    public ValueTask DisposeAsync()
    {
        _work.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    private Task CompareAsync(IReadOnlyList<byte[]> vectors) => CompareAsync(vectors, Kernel, new ImageMemory(KernelUnderTest.Image));

    private async Task CompareAsync(IReadOnlyList<byte[]> vectors, string kernel, IMatchMemory memory)
    {
        foreach (var chunk in vectors.Select((bytes, index) => (bytes, index)).Chunk(200))
        {
            foreach (var (bytes, index) in chunk)
                await File.WriteAllBytesAsync(Path.Combine(_work.FullName, $"{index}.bin"), bytes, TestContext.Current.CancellationToken);
            var result = await Cli.Wrap(Program)
                .WithArguments([kernel, .. chunk.Select(vector => Path.Combine(_work.FullName, $"{vector.index}.bin"))])
                .WithValidation(CommandResultValidation.None)
                .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
            Assert.True(result.ExitCode == 0, result.StandardError);
            // A damaged name may hold a newline: results end with a zero.
            string[] lines = result.StandardOutput.TrimEnd('\0').Split('\0');
            Assert.Equal(chunk.Length, lines.Length);
            for (int i = 0; i < chunk.Length; i++)
                Assert.Equal(DumpedKernel.Show(MatchInterpreter.Match(chunk[i].bytes, memory)), lines[i]);
        }
    }

    private static async Task<List<byte[]>> VectorsAsync(params string[] units)
    {
        List<byte[]> vectors = [];
        foreach (string unit in units)
        {
            var pre = await KernelObjects.CompileAsync(unit);
            foreach (var function in UnitMatch.Functions(pre))
            {
                // What a patched function could need: everything that this one refers to in its own unit.
                DiagnosticBag diagnostics = [];
                RunSymbol[] exports =
                [
                    .. function
                        .References.Select(reference => reference.Target)
                        .OfType<ObjectNode>()
                        .Distinct()
                        .Where(node =>
                            node
                                is {
                                    Kind: NodeKind.Function or NodeKind.Data,
                                    IsAnonymous: false,
                                    IsGlobal: false,
                                    Role: SectionRole.Code or SectionRole.Data
                                }
                        )
                        .Select(node => new LocalSymbol(unit, node.Name, node.Section.Index, node.Start)),
                ];
                if (UnitMatch.Build(pre, unit, function, exports, diagnostics) is { } data)
                    vectors.Add(data.Bytes);
            }
        }
        return vectors;
    }

    [Fact]
    public async Task Both_interpreters_say_the_same_of_real_functions()
    {
        var vectors = await VectorsAsync(
            "fs/proc/task_mmu.c",
            "kernel/printk/printk.c",
            "mm/mmap.c",
            "arch/x86/kernel/process.c",
            "kernel/sys.c"
        );
        Assert.True(vectors.Count > 300);
        await CompareAsync(vectors);
    }

    [Fact]
    public async Task Both_interpreters_refuse_another_entry_of_a_trap_or_a_fault()
    {
        List<byte[]> changed = [];
        foreach (byte[] vector in await VectorsAsync("kernel/printk/printk.c", "fs/readdir.c"))
        {
            var header = MemoryMarshal.Read<MatchHeader>(vector);
            for (int i = 0; i < header.OpCount; i++)
            {
                byte[] copy = [.. vector];
                ref var op = ref MemoryMarshal.Cast<byte, MatchOp>(copy.AsSpan((int)header.Ops))[i];
                if (op.Op == OpCode.Exception || (op.Op == OpCode.Bug && op.Kind == (byte)BugKind.Long))
                {
                    op.Value ^= 1; // the handler, the line
                    changed.Add(copy);
                }
                if (op.Op == OpCode.Exception)
                {
                    // The entry that the kernel has is now one too many.
                    byte[] without = [.. vector];
                    MemoryMarshal.Cast<byte, MatchOp>(without.AsSpan((int)header.Ops))[i] = new MatchOp
                    {
                        Op = OpCode.Nops,
                        Symbol = MatchFormat.None,
                    };
                    changed.Add(without);
                }
            }
        }
        Assert.True(changed.Count > 20, $"{changed.Count} entries");
        ImageMemory memory = new(KernelUnderTest.Image);
        Assert.All(changed, data => Assert.False(MatchInterpreter.Match(data, memory).IsMatch));
        await CompareAsync(changed);
    }

    // K22: each function is once called directly by new code, and once handed out.
    [Fact]
    public async Task Both_interpreters_refuse_an_address_at_which_an_indirect_call_would_fault()
    {
        const string Unit = "fs/open.c";
        var (_, image) = await NewerKernel.PreparedAsync();
        var (_, sites) = await NewerKernel.CompileAsync(Unit);
        ImageMemory memory = new(image);
        string kernel = Path.Combine(_work.FullName, "newer");
        DumpedKernel.Write(kernel, image, memory);
        List<byte[]> vectors = [];
        int refused = 0,
            taken = 0;
        foreach (var function in UnitMatch.Functions(sites))
        {
            foreach (
                var called in function
                    .References.Where(reference =>
                        reference is { IsBranch: true, Target: { Kind: NodeKind.Function, Role: SectionRole.Code } }
                        && reference.Target != function
                    )
                    .Select(reference => reference.Target!)
                    .Distinct()
            )
            {
                RunSymbol symbol = called.IsGlobal
                    ? new GlobalSymbol(called.Name)
                    : new LocalSymbol(Unit, called.Name, called.Section.Index, called.Start);
                var results = new[] { true, false }
                    .Select(isBranch =>
                    {
                        byte[] data = MatchDataBuilder
                            .Build([UnitMatch.Using(UnitMatch.Diff(sites, Unit, [function]), symbol, isBranch)], [symbol], [])!
                            .Bytes;
                        vectors.Add(data);
                        return MatchInterpreter.Match(data, memory);
                    })
                    .ToArray();
                if (!results[0].IsMatch)
                    continue;
                bool callable = image.HasEndbr(results[0].Exports[0]);
                Assert.Equal(callable, results[1].IsMatch);
                if (callable)
                    taken++;
                else
                    Assert.Equal(
                        (MatchReason.Sealed, called.Name, results[0].Exports[0], refused++),
                        (results[1].Failure!.Reason, results[1].Failure!.Symbol, results[1].Failure!.Address, refused - 1)
                    );
            }
        }
        Assert.True(refused > 10 && taken > 5, $"{refused} refused, {taken} taken");
        await CompareAsync(vectors, kernel, memory);
        await CompareSealsAsync(vectors[0], kernel, memory);
    }

    // K29: as each series overwrites an ENDBR, and otherwise.
    private async Task CompareSealsAsync(byte[] data, string kernel, IMatchMemory memory)
    {
        string path = Path.Combine(_work.FullName, "sealed.bin");
        await File.WriteAllBytesAsync(path, data, TestContext.Current.CancellationToken);
        ulong start = MatchInterpreter.Match(data, memory).Functions[0].Start;
        string[] spellings = ["660f1f00", "0f1f40d6", "0f1f4000", "f30f1efb"];
        var shown = await Cli.Wrap(Program)
            .WithArguments([kernel, .. spellings.Select(spelling => $"@{start:x}:{spelling}@{path}")])
            .ExecuteBufferedAsync(TestContext.Current.CancellationToken);
        ChangedMemory changed = new(memory);
        string[] expected =
        [
            .. spellings.Select(spelling =>
            {
                changed.Write(start, Convert.FromHexString(spelling));
                return DumpedKernel.Show(MatchInterpreter.Match(data, changed));
            }),
        ];
        Assert.Equal(expected, shown.StandardOutput.TrimEnd('\0').Split('\0'));
        Assert.Equal([true, true, false, false], expected.Select(result => result.StartsWith("0 ", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task Both_interpreters_say_the_same_of_damaged_data_and_read_nothing_outside_of_it()
    {
        var whole = (await VectorsAsync("fs/proc/task_mmu.c")).OrderBy(bytes => bytes.Length).Skip(5).First();
        List<byte[]> damaged =
        [
            [],
            .. Enumerable.Range(0, 64).Select(cut => whole[..(whole.Length * cut / 64)]),
        ];
        // Every byte of header and tables takes other values, alone; then several at once.
        for (int at = 0; at < whole.Length; at++)
        {
            foreach (byte value in (byte[])[0xff, (byte)(whole[at] + 1), (byte)(whole[at] ^ 0x80)])
            {
                byte[] copy = [.. whole];
                copy[at] = value;
                damaged.Add(copy);
            }
        }
        Gen.Select(Gen.Int[0, whole.Length - 1], Gen.Byte)
            .Array[2, 12]
            .Sample(
                changes =>
                {
                    byte[] copy = [.. whole];
                    foreach (var (at, value) in changes)
                        copy[at] = value;
                    lock (damaged)
                        damaged.Add(copy);
                },
                iter: 2000
            );
        await CompareAsync(damaged);
    }
}
