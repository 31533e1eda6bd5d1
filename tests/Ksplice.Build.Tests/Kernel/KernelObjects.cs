// SPDX-License-Identifier: MIT
using System.Collections.Concurrent;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Ksplice.Build.Tests.Kernel;

/// <summary>Pre objects of the stock kernel, each compiled once a test run.</summary>
public static class KernelObjects
{
    private static readonly ConcurrentDictionary<string, Lazy<Task<ElfObject>>> Compiled = new();
    private static readonly DirectoryInfo Folder = Directory.CreateTempSubdirectory("ksplice-objects-");

    static KernelObjects() => AppDomain.CurrentDomain.ProcessExit += (_, _) => Folder.Delete(recursive: true);

    public static Task<ElfObject> CompileAsync(string source) => Compiled.GetOrAdd(source, _ => new(() => CompileNowAsync(source))).Value;

    /// <summary>The units of assembly that are built into the kernel, or those of the modules with ciphers and hashes.</summary>
    public static async Task<IReadOnlyList<string>> AssemblyAsync(bool ofModules = false)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        return
        [
            .. kernel
                .Units.Units.Where(unit =>
                    unit.IsAssembly
                    && (
                        ofModules
                            ? unit.Module is not null && unit.Source.StartsWith("arch/x86/crypto/", StringComparison.Ordinal)
                            : unit.Module is null
                    )
                )
                .Select(unit => unit.Source)
                .Where(source => AffectedUnits.IsKernelCode(kernel, source)),
        ];
    }

    private static async Task<ElfObject> CompileNowAsync(string source)
    {
        var kernel = await KernelUnderTest.PreparedAsync();
        var diagnostics = new DiagnosticBag();
        var unit = kernel.Units.Find(source) ?? throw new InvalidOperationException($"{source} is not compiled");
        var compiled = await new UnitCompiler(kernel, NullLogger.Instance).CompileAsync(
            unit,
            kernel.SourceDirectory,
            Path.Combine(Folder.FullName, unit.Object),
            [],
            diagnostics
        );
        return ElfObject.Read(
            File.ReadAllBytes(compiled?.Object ?? throw new InvalidOperationException(string.Join('\n', diagnostics))),
            source
        );
    }
}
