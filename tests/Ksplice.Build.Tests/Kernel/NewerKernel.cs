// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>A kernel whose objects objtool does not see before the link (K2): the newest of 6.12, prepared once a test run.</summary>
internal static class NewerKernel
{
    private static readonly ConcurrentDictionary<string, Lazy<Task<(ElfObject, ElfObject)>>> Compiled = new();
    private static readonly DirectoryInfo Folder = Directory.CreateTempSubdirectory("ksplice-newer-");

    private static readonly Lazy<Task<(PreparedKernel, KernelImage)>> Prepared = new(async () =>
    {
        DiagnosticBag diagnostics = [];
        var release = await KernelReleaseResolver.ResolveAsync(new() { Release = await NewerSeries.ReleaseAsync() }, diagnostics);
        var kernel = release is null
            ? null
            : await new KernelCache(KernelUnderTest.CacheRoot, NullLogger.Instance).PrepareAsync(release, diagnostics);
        var image = kernel is null ? null : KernelImage.Open(kernel.Release.Image, diagnostics);
        return kernel is not null && image is not null
            ? (kernel, image)
            : throw new InvalidOperationException(string.Join('\n', diagnostics));
    });

    static NewerKernel() => AppDomain.CurrentDomain.ProcessExit += (_, _) => Folder.Delete(recursive: true);

    public static Task<(PreparedKernel Kernel, KernelImage Image)> PreparedAsync() => Prepared.Value;

    /// <summary>What the compiler makes of a unit, and the copy with objtool's tables.</summary>
    public static Task<(ElfObject Pre, ElfObject WithTables)> CompileAsync(string source) =>
        Compiled.GetOrAdd(source, _ => new(() => CompileNowAsync(source))).Value;

    private static async Task<(ElfObject Pre, ElfObject WithTables)> CompileNowAsync(string source)
    {
        var (kernel, _) = await PreparedAsync();
        DiagnosticBag diagnostics = [];
        var unit = kernel.Units.Find(source) ?? throw new InvalidOperationException($"{source} is not compiled");
        var compiled = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
            unit,
            kernel.SourceDirectory,
            Path.Combine(Folder.FullName, unit.Object),
            [],
            diagnostics
        );
        Assert.True(compiled?.WithTables is not null, string.Join('\n', diagnostics));
        return (ElfObject.Read(File.ReadAllBytes(compiled.Object), source), ElfObject.Read(File.ReadAllBytes(compiled.WithTables), source));
    }
}
