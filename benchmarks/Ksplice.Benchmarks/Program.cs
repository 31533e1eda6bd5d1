// SPDX-License-Identifier: MIT
// Speed, side by side in one run: dotnet run -c Release --project benchmarks/Ksplice.Benchmarks -- --filter '*'
// KSPLICE_OBJECT names the kernel object to read; any object of a patch project's obj folder will do.
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Running;
using Ksplice.Build.Elf;

BenchmarkSwitcher.FromAssembly(typeof(ReadObject).Assembly).Run(args);

/// <summary>Reading an object against merely copying its bytes.</summary>
[MemoryDiagnoser]
[ShortRunJob]
public class ReadObject
{
    private readonly byte[] _bytes = File.ReadAllBytes(
        Environment.GetEnvironmentVariable("KSPLICE_OBJECT") ?? throw new InvalidOperationException("set KSPLICE_OBJECT to a kernel object")
    );

    [Benchmark(Baseline = true)]
    public byte[] Copy() => [.. _bytes];

    [Benchmark]
    public ElfObject Read() => ElfObject.Read(_bytes, "object");

    [Benchmark]
    public byte[] ReadAndWrite() => ElfWriter.Write(ElfObject.Read(_bytes, "object"));
}
