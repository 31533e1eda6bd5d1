// SPDX-License-Identifier: MIT
// Speed, side by side in one run: dotnet run -c Release --project benchmarks/Ksplice.Benchmarks -- --filter '*'
// KSPLICE_OBJECT names the kernel object to read; any object of a patch project's obj folder will do. KSPLICE_IMAGE names a vmlinuz.
using BenchmarkDotNet.Attributes;
using BenchmarkDotNet.Running;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

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

/// <summary>Opening a kernel's image: unpacking it, reading its headers, decoding its symbol table.</summary>
[MemoryDiagnoser]
[ShortRunJob]
public class OpenImage
{
    private readonly string _path = Environment.GetEnvironmentVariable("KSPLICE_IMAGE")
        ?? throw new InvalidOperationException("set KSPLICE_IMAGE to a vmlinuz");

    [Benchmark]
    public KernelImage? Open() => KernelImage.Open(_path, []);
}
